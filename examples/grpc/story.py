"""A gRPC client and gRPC servers with Berth between them: deadlines that are shared out, refusals in gRPC's own words.

    make wasm cli
    python3 -m venv venv && venv/bin/pip install grpcio
    venv/bin/python examples/grpc/story.py

Messages are plain bytes, so that nothing has to be generated from a .proto file.
"""

import concurrent.futures
import pathlib
import sys
import time

import grpc

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from running import Running, eventually, table, told

METHOD = "/inference.Inference/Generate"
STREAM = "/inference.Inference/GenerateStream"


class Server(grpc.GenericRpcHandler):
    """Answers with its name; `slowly at NAME` is answered late by the server of that name."""

    def __init__(self, name):
        self.name = name

    def wait(self, prompt, context):
        if prompt == f"slowly at {self.name}".encode():
            until = time.monotonic() + 30
            while context.is_active() and time.monotonic() < until:
                time.sleep(0.01)

    def whole(self, prompt, context):
        self.wait(prompt, context)
        return f"{self.name} answers".encode()

    def stream(self, prompt, context):
        self.wait(prompt, context)
        for word in [self.name, "answers", "in", "parts"]:
            yield word.encode()

    def service(self, call):
        if call.method == STREAM:
            return grpc.unary_stream_rpc_method_handler(self.stream)
        return grpc.unary_unary_rpc_method_handler(self.whole)


def serve(name, port):
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(16))
    server.add_generic_rpc_handlers([Server(name)])
    server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    server.wait_for_termination()


def call(site, what, tenant="acme", model="llama-3.1-8b", prompt="hello", timeout=None, stream=False):
    """One row of the table: what the client saw, how soon, and what the access log says."""
    before, begun = len(site.logged()), time.monotonic()
    sent = {"metadata": [("x-tenant", tenant), ("x-model", model)], "timeout": timeout}
    with grpc.insecure_channel(f"127.0.0.1:{site.port(8080)}") as channel:
        try:
            if stream:
                said = b" ".join(channel.unary_stream(STREAM)(prompt.encode(), **sent)).decode()
            else:
                said = channel.unary_unary(METHOD)(prompt.encode(), **sent).decode()
            code = "OK"
        except grpc.RpcError as refused:
            code, said = refused.code().name, "-"
    took = time.monotonic() - begun
    eventually("the access log has it", lambda: len(site.logged()) > before)
    line = site.logged()[-1]
    decision = told(line["decision"])
    because = decision.get("reason") or "-"
    within = "-" if timeout is None else "yes" if took < timeout else "no"
    return [what, code, said, line["attempts"] or 0, within, because]


def story(site):
    eventually("both servers answer", lambda: all(
        call(site, "", prompt=f"slowly at {other}", timeout=3)[1] == "OK" for other in ["gpu-de", "gpu-fr"]))
    table(["call", "status", "answer", "attempts", "in time", "because of"], [
        call(site, "as usual"),
        call(site, "a stream", stream=True),
        call(site, "gpu-de hangs, 1 s to go", prompt="slowly at gpu-de", timeout=1),
        call(site, "a tenant that nobody knows", tenant="nobody"),
        call(site, "a model that nobody has", model="gpt-x"),
    ])


def main(arguments):
    if arguments[:1] == ["--serve"]:
        serve(arguments[1], int(arguments[2]))
    with Running(pathlib.Path(__file__).parent, lambda *args: [sys.executable, __file__, "--serve", *map(str, args)]) as site:
        story(site)


main(sys.argv[1:])
