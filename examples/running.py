"""What the stories of examples/edge and examples/grpc stand on: a rendered Envoy and its substrates on free ports of
this machine, all of which end with the story.

It needs `make wasm cli`. ENVOY and BERTH name other programs than the ones that the Makefile gets and builds.
"""

import contextlib
import json
import os
import pathlib
import random
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

TOP = pathlib.Path(__file__).resolve().parent.parent
PATIENCE_S = 60


def eventually(what, condition):
    """Waits until a condition holds; gives what it gave."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.02)
    sys.exit(f"gave up waiting until {what}")


def free_ports(count):
    """Ports that nobody has, and that nobody is given who asks for any: these are above."""
    ports = set()
    while len(ports) < count:
        port = random.randint(15_000, 32_000)
        with socket.socket() as one, contextlib.suppress(OSError):
            one.bind(("127.0.0.1", port))
            ports.add(port)
    return list(ports)


def listening(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
        return True
    except OSError:
        return False


class Running:
    """Everything that one example's deployment file speaks of, each address of it moved to a free port."""

    def __init__(self, folder, serve):
        """`serve` gives the command of a substrate, by its name and port."""
        self.folder = pathlib.Path(folder)
        self.serve = serve
        self.programs = {}

    def __enter__(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="berth-"))
        text = (self.folder / "deployment.yaml").read_text()
        said = sorted(set(re.findall(r"127\.0\.0\.1:\d+", text)))
        self.ports = dict(zip(said, free_ports(len(said))))
        for address, port in self.ports.items():
            text = text.replace(address, f"127.0.0.1:{port}")
        text = re.sub(r"^module: .*$", f"module: {{file: '{TOP / 'dist/berth.wasm'}'}}", text, flags=re.M)
        shutil.copy(self.folder / "policy.yaml", self.dir)
        (self.dir / "deployment.yaml").write_text(text)
        berth = os.environ.get("BERTH") or TOP / "dist/berth"
        subprocess.run([berth, "render", "envoy", "deployment.yaml", "-o", "."], cwd=self.dir, check=True, stdout=subprocess.DEVNULL)
        for name, address in re.findall(r"^  ([a-z-]+): *\{hosts: \['(127\.0\.0\.1:\d+)'\]", text, flags=re.M):
            self.start(name, self.serve(name, int(address.split(":")[1])))
        envoy = os.environ.get("ENVOY") or subprocess.check_output([TOP / ".ci/tools", "envoy"], text=True).strip()
        command = [envoy, "-c", "envoy.yaml", "--concurrency", "2", "--disable-hot-restart", "--use-dynamic-base-id"]
        self.start("envoy", [*command, "--log-level", "warning", "--file-flush-interval-msec", "50"])
        eventually("Envoy listens", lambda: self.alive("envoy") and listening(self.port(8080)))
        return self

    def __exit__(self, *_):
        for program in self.programs.values():
            program.kill()
            program.wait()
        shutil.rmtree(self.dir)

    def start(self, name, command):
        with open(self.dir / f"{name}.log", "wb") as log:
            self.programs[name] = subprocess.Popen(
                command, cwd=self.dir, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            )

    def alive(self, name):
        if self.programs[name].poll() is not None:
            sys.exit(f"{name} ended:\n" + (self.dir / f"{name}.log").read_text()[-2000:])
        return True

    def port(self, written):
        """Where that is now which the deployment file has at this port."""
        return self.ports[f"127.0.0.1:{written}"]

    def get(self, written, path, headers=()):
        """Status, headers and text of an answer."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.port(written)}{path}", headers=dict(headers))
        try:
            answer = urllib.request.urlopen(request, timeout=PATIENCE_S)
        except urllib.error.HTTPError as refused:
            answer = refused
        with answer:
            return answer.status, answer.headers, answer.read().decode()

    def logged(self):
        """The lines of the access log, in order, but for one that is half written."""
        lines = (self.dir / "envoy.log").read_text().rpartition("\n")[0].splitlines()
        found = [json.loads(line) for line in lines if line.startswith("{")]
        return [line for line in found if "decision" in line]


def told(decision):
    """The members of a decision: the first word of each, and what it is followed by as `name.parameter`."""
    members = {}
    for member in decision.split(", "):
        name, _, value = member.partition("=")
        value, *parameters = value.split(";")
        members[name] = value
        members.update((f"{name}.{p.partition('=')[0]}", p.partition("=")[2]) for p in parameters)
    return members


def table(head, rows):
    """Prints a table."""
    rows = [head, *rows]
    widths = [max(len(str(row[i])) for row in rows) for i in range(len(head))]
    rows.insert(1, ["-" * width for width in widths])
    for row in rows:
        print("  ".join(str(cell).ljust(width) for cell, width in zip(row, widths)).rstrip())
