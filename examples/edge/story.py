"""A node that loses its uplink: what becomes of work that must stay, work that can wait and work for the region.

    make wasm cli
    python3 examples/edge/story.py

`--record` writes down besides what the access log says of each row, and the picture that one of them was decided from.

The uplink is lost as uplinks are: the region's process is stopped, so that connections still open and nothing answers.
"""

import http.server
import json
import pathlib
import signal
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from running import Running, eventually, table, told

WORK = ["safety", "assistance", "report", "inspection"]


class Substrate(http.server.BaseHTTPRequestHandler):
    """Answers with its name, and says that it is well."""

    protocol_version = "HTTP/1.1"
    signals = {"queue_depth": 0, "memory_pressure": 0.2, "link": 1, "power_headroom": 0.6, "cooling_headroom": 0.6}

    def do_GET(self):
        health = {"substrate": self.server.name, "signals": self.signals}
        text = json.dumps(health) if self.path == "/health" else self.server.name
        self.send_response(200)
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_):
        pass


def ask(site, work):
    """One row of the table: what came of a request, and what the access log says of it."""
    time.sleep(0.5)  # The node is small: asked without a pause it would be full.
    before = len(site.logged())
    status, headers, text = site.get(8080, f"/{work}/1")
    eventually("the access log has it", lambda: len(site.logged()) > before)
    line = site.logged()[-1]
    decision = told(line["decision"])
    site.last = {"line": line, "epoch": decision.get("epoch")}
    because = decision.get("reason") or "/".join(filter(None, [decision.get("binding"), decision.get("binding.by")]))
    return [work, status, text if status == 200 else "-", because, "yes" if "retry-after" in headers else "-"]


def settled(site, work, wanted):
    """Waits until five answers in a row are as wanted: no circuit is still feeling its way."""
    eventually(f"{work} is placed anew", lambda: all(wanted(ask(site, work)) for _ in range(5)))


def keep_picture(site, epoch):
    """The picture of an epoch, for `berth explain` and `berth replay`."""
    folder = pathlib.Path(__file__).parent / "snapshots"
    folder.mkdir(exist_ok=True)
    for old in folder.glob("*.json"):
        old.unlink()
    status, _, text = site.get(9902, f"/snapshots/{epoch}")
    assert status == 200, text
    (folder / f"{epoch}.json").write_text(text)


def story(site, recorded):
    rows, lines = [], []

    def tell(when, work):
        rows.append([when, *ask(site, work)])
        lines.append(site.last["line"])

    settled(site, "assistance", lambda row: row[2:4] == ["region-nl", "none"])
    for work in WORK:
        tell("before", work)

    site.programs["region-nl"].send_signal(signal.SIGSTOP)
    tell("it goes", "assistance")
    settled(site, "assistance", lambda row: row[2] == "plant-nl" and row[3].startswith("availability"))
    for work in WORK:
        tell("during", work)
        if recorded and work == "assistance":
            keep_picture(site, site.last["epoch"])

    site.programs["region-nl"].send_signal(signal.SIGCONT)
    settled(site, "assistance", lambda row: row[2:4] == ["region-nl", "none"])
    for work in WORK:
        tell("after", work)
    if recorded:
        log = "".join(json.dumps(line, sort_keys=True) + "\n" for line in lines)
        (pathlib.Path(__file__).parent / "access.log").write_text(log)
    table(["uplink", "work", "status", "ran on", "because of", "told when to come back"], rows)


def main(arguments):
    if arguments[:1] == ["--serve"]:
        server = http.server.ThreadingHTTPServer(("127.0.0.1", int(arguments[2])), Substrate)
        server.name = arguments[1]
        server.serve_forever()
    with Running(pathlib.Path(__file__).parent, lambda *args: [sys.executable, __file__, "--serve", *map(str, args)]) as site:
        story(site, "--record" in arguments)


main(sys.argv[1:])
