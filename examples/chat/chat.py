"""A chat through the demo's Envoy with the official OpenAI client, and what Berth said of it.

    make up                                       # prints where Envoy listens
    python3 -m venv venv && venv/bin/pip install openai
    venv/bin/python examples/chat/chat.py http://127.0.0.1:PORT
"""

import sys

from openai import APIStatusError, OpenAI

if len(sys.argv) != 2:
    sys.exit(__doc__)

HELLO = [{"role": "user", "content": "Hello"}]


def ask(tenant, data, stream=False):
    client = OpenAI(
        base_url=sys.argv[1] + "/v1",
        api_key="none",
        max_retries=0,
        default_headers={"x-tenant": tenant, "x-data-class": data, "x-workload": "chat"},
    )
    try:
        raw = client.chat.completions.with_raw_response.create(
            model="llama-3.3-70b", messages=HELLO, max_tokens=8, stream=stream
        )
        if stream:
            answer = "".join(chunk.choices[0].delta.content or "" for chunk in raw.parse() if chunk.choices)
        else:
            answer = raw.parse().choices[0].message.content
        status, headers = 200, raw.headers
    except APIStatusError as refused:
        answer, status, headers = refused.response.json()["detail"], refused.status_code, refused.response.headers
    decision = headers.get("x-placement-decision", "-")
    told = dict(part.split("=", 1) for part in decision.split(", ") if "=" in part)
    print(f"{tenant:<8} {data:<9} {'stream' if stream else 'answer':<7} {status}  "
          f"{told.get('substrate', '-'):<12} {told.get('binding', '-'):<36} {answer!r}")


print(f"{'tenant':<8} {'data':<9} {'':<7} {'':<4} {'ran on':<12} {'because of':<36} said")
ask("acme", "personal")
ask("acme", "personal", stream=True)
ask("initech", "public")
ask("nobody", "public")
