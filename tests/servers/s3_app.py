"""The S3 service of moto, made safe for many clients and lasting; run by the Python of its own environment.

``python s3_app.py PORT JOURNAL KEY READ_ONLY_KEY``

What moto lacks for us: a request is answered as a whole before the next (a write "if there is no such object" has one
winner), what was answered outlives the process (requests that change something are written to JOURNAL, and made again on
the next start), and unknown access keys are refused (the secret is not looked at).
"""

from __future__ import annotations

import base64
import io
import json
import os
import re
import sys
import threading

from moto.moto_api._internal import mock_random
from moto.server import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import run_simple

os.urandom = mock_random.randbytes  # moto draws the names of uploads from it, past its own generator

CHANGING = ("PUT", "POST", "DELETE")
KEY = re.compile(r"Credential=([^/,\s]+)/")


class LastingS3:
    """A WSGI application around moto's."""

    def __init__(self, path: str, key: str, read_only_key: str):
        self._app = DomainDispatcherApplication(create_backend_app)
        self._keys = {key: CHANGING, read_only_key: ()}
        self._lock = threading.Lock()
        self._made = 0
        for environ, body in journal(path):
            self._answer(environ, body)
        self._journal = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def __call__(self, environ, start_response):
        body = read_body(environ)
        refusal = self._refusal(environ)
        if refusal:
            start_response(
                "403 Forbidden", [("Content-Type", "application/xml"), ("Content-Length", str(len(refusal)))]
            )
            return [] if environ["REQUEST_METHOD"] == "HEAD" else [refusal]
        with self._lock:
            status, headers, chunks = self._answer(environ, body)
            if environ["REQUEST_METHOD"] in CHANGING and int(status[:3]) < 400:
                texts = {name: value for name, value in environ.items() if isinstance(value, str)}
                entry = {"environ": texts, "body": base64.b64encode(body).decode()}
                os.write(self._journal, json.dumps(entry).encode() + b"\n")
        start_response(status, headers)
        return chunks

    def _answer(self, environ: dict, body: bytes):
        """Have moto answer; what it draws at random then depends on the changes made before, and on nothing else."""
        if environ["REQUEST_METHOD"] in CHANGING:
            mock_random.seed(self._made)
        answer = []

        def start_response(status, headers, exc_info=None):
            answer[:] = [status, headers]

        chunks = self._app({**environ, "wsgi.input": io.BytesIO(body)}, start_response)
        content = [b"".join(chunks)]
        if environ["REQUEST_METHOD"] in CHANGING and int(answer[0][:3]) < 400:
            self._made += 1
        return answer[0], answer[1], content

    def _refusal(self, environ: dict) -> bytes | None:
        found = KEY.search(environ.get("HTTP_AUTHORIZATION", ""))
        allowed = self._keys.get(found[1]) if found else None
        if allowed is None:
            return b"<Error><Code>InvalidAccessKeyId</Code><Message>There is no such access key.</Message></Error>"
        if environ["REQUEST_METHOD"] in CHANGING and environ["REQUEST_METHOD"] not in allowed:
            return b"<Error><Code>AccessDenied</Code><Message>This key may only read.</Message></Error>"
        return None


def read_body(environ: dict) -> bytes:
    """Read what was sent, before anything is locked: a client that has stopped must not stop the others."""
    if environ.get("wsgi.input_terminated"):
        return environ["wsgi.input"].read()
    return environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))


def journal(path: str):
    """Yield the requests made before; the last one may be torn, and then was never answered."""
    if not os.path.exists(path):
        return
    with open(path, "rb+") as file:
        end = 0
        for line in file:
            if not line.endswith(b"\n"):
                break
            end += len(line)
            entry = json.loads(line)
            environ = {**entry["environ"], "wsgi.errors": sys.stderr, "wsgi.version": (1, 0)}
            environ.update({"wsgi.multithread": True, "wsgi.multiprocess": False, "wsgi.run_once": False})
            yield environ, base64.b64decode(entry["body"])
        file.truncate(end)


if __name__ == "__main__":
    port, path, key, read_only_key = sys.argv[1:]
    run_simple(
        "127.0.0.1",
        int(port),
        LastingS3(path, key, read_only_key),
        threaded=True,
        request_handler=MotoRequestHandler,
    )
