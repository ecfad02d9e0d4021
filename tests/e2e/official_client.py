"""Talks to the proxy as an application would, with the official client; prints what it saw as one line of JSON."""
import json
import sys

from openai import OpenAI

client = OpenAI(base_url=sys.argv[1] + "/v1", api_key="client-key", max_retries=0, timeout=10,
                default_headers={"x-tenant": "acme", "x-workload": sys.argv[2]})
ask = {"model": "m", "max_tokens": 6, "messages": [{"role": "user", "content": "Hello"}]}
whole = client.chat.completions.create(**ask)
chunks = list(client.chat.completions.create(stream=True, **ask))
print(json.dumps({
    "whole": whole.choices[0].message.content,
    "usage": whole.usage.completion_tokens,
    "streamed": "".join(c.choices[0].delta.content or "" for c in chunks if c.choices),
    "chunks": len(chunks),
}))
