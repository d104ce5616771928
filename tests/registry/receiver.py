"""A receiver of webhooks in a process of its own, which fails and dies at random; what it takes, it writes down first.

Usage: receiver.py PORT LOG SEED TROUBLE
"""

import base64
import http.server
import json
import os
import random
import socketserver
import sys
import time

port, log, seed, trouble = int(sys.argv[1]), sys.argv[2], sys.argv[3], float(sys.argv[4])
dice = random.Random(seed)  # noqa: S311  (a test)
kept = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)


class Receiver(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        what = dice.choice(["fail", "fail late", "die", "die late", "hang up", "stall"])
        if dice.random() >= trouble:
            what = ""
        if what == "die":
            os._exit(1)
        if what not in ("fail", "hang up", "stall"):
            line = {"headers": dict(self.headers.items()), "body": base64.b64encode(body).decode()}
            os.write(kept, (json.dumps(line) + "\n").encode())
        if what == "die late":
            os._exit(1)
        if what == "stall":
            time.sleep(1)
        if what in ("hang up", "stall"):
            return
        self.send_response(503 if what.startswith("fail") else 204)
        self.end_headers()

    def log_message(self, *_arguments):
        pass


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    allow_reuse_address = True


Server(("127.0.0.1", port), Receiver).serve_forever()
