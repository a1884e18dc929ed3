"""A web server on this machine that plays Slack's webhook, Telegram's API, and whoever else takes messages."""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Recipient:
    """Takes what is posted to it.

    Parameters
    ----------
    answer : callable, optional
        ``answer(body, count) -> (status, text, headers)`` for the `count`-th request; it may take its time.

    Attributes
    ----------
    requests : list of (str, dict)
        Path and JSON body of each request, in the order of arrival.
    """

    def __init__(self, answer=None):
        self.requests = []
        self._news = threading.Condition()
        recipient = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with recipient._news:
                    recipient.requests.append((self.path, body))
                    count = len(recipient.requests)
                    recipient._news.notify_all()
                status, text, headers = answer(body, count) if answer else (200, "ok", {})
                try:
                    self.send_response(status)
                    for name, value in headers.items():
                        self.send_header(name, value)
                    self.end_headers()
                    self.wfile.write(text.encode())
                except OSError:
                    pass  # whoever asked has gone

            def log_message(self, *arguments):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def bodies(self):
        return [body for _, body in self.requests]

    def wait_for(self, count, seconds=20):
        """Wait until `count` requests have come, and return their bodies."""
        with self._news:
            assert self._news.wait_for(lambda: len(self.requests) >= count, seconds), self.requests
        return self.bodies

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._server.shutdown()
        self._server.server_close()


def slow(seconds):
    """Return an answer that comes after `seconds`."""

    def answer(body, count):
        time.sleep(seconds)
        return 200, "ok", {}

    return answer


def free_port():
    """Return a port on which nobody listens."""
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
