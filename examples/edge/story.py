"""A node that loses its uplink: what becomes of work that must stay, work that can wait and work for the region.

    make wasm cli
    python3 examples/edge/story.py

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
    before = len(site.logged())
    status, headers, text = site.get(8080, f"/{work}/1")
    eventually("the access log has it", lambda: len(site.logged()) > before)
    decision = told(site.logged()[-1]["decision"])
    because = decision.get("reason") or "/".join(filter(None, [decision.get("binding"), decision.get("binding.by")]))
    return [work, status, text if status == 200 else "-", because, "yes" if "retry-after" in headers else "-"]


def settled(site, work, wanted):
    """Waits until five answers in a row are as wanted: no circuit is still feeling its way."""
    def again(_):
        time.sleep(0.2)  # The node is small: asked without a pause it would be full.
        return wanted(ask(site, work))

    eventually(f"{work} is placed anew", lambda: all(map(again, range(5))))


def story(site):
    settled(site, "assistance", lambda row: row[2:4] == ["region-nl", "none"])
    rows = [["before", *ask(site, work)] for work in WORK]

    site.programs["region-nl"].send_signal(signal.SIGSTOP)
    rows.append(["it goes", *ask(site, "assistance")])
    settled(site, "assistance", lambda row: row[2] == "plant-nl" and row[3].startswith("availability"))
    rows += [["during", *ask(site, work)] for work in WORK]

    site.programs["region-nl"].send_signal(signal.SIGCONT)
    settled(site, "assistance", lambda row: row[2:4] == ["region-nl", "none"])
    rows += [["after", *ask(site, work)] for work in WORK]
    table(["uplink", "work", "status", "ran on", "because of", "told when to come back"], rows)


def main(arguments):
    if arguments[:1] == ["--serve"]:
        server = http.server.ThreadingHTTPServer(("127.0.0.1", int(arguments[2])), Substrate)
        server.name = arguments[1]
        server.serve_forever()
    with Running(pathlib.Path(__file__).parent, lambda *args: [sys.executable, __file__, "--serve", *map(str, args)]) as site:
        story(site)


main(sys.argv[1:])
