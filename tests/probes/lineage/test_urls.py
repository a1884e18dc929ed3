"""URLs that are fetched, by real clients from a real server on this machine."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import http.client
import io
import socket
import subprocess
import sys
import textwrap
import threading
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from capture.probes.lineage import hook, responses, urls
from capture.unwatched import unwatched

DATA = b"".join(b"%d,%d\n" % (n, n * n) for n in range(20_000))
PACKED = gzip.compress(DATA, mtime=0)


def sha256(data):
    return hashlib.sha256(data).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """Answers in each of the ways in which bodies come."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def answer(self, status=200, body=b"", **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if status not in (204, 304) and "Transfer_Encoding" not in headers and "Connection" not in headers:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_GET(self):
        path = self.path.partition("?")[0]
        if path.startswith("http://"):  # asked as a proxy
            path = "/data.csv"
        if path == "/chunked":
            chunks = [DATA[at : at + 4093] for at in range(0, len(DATA), 4093)]
            body = b"".join(b"%x;x=y\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\nTrailer: 1\r\n\r\n"
            self.answer(body=body, Transfer_Encoding="chunked")
        elif path == "/until-closed":
            self.answer(body=DATA, Connection="close")
            self.close_connection = True
        elif path == "/gzip":
            self.answer(body=PACKED, Content_Encoding="gzip")
        elif path == "/cut":
            self.send_response(200)
            self.send_header("Content-Length", str(len(DATA)))
            self.end_headers()
            self.wfile.write(DATA[:1000])
            self.close_connection = True
        elif path == "/redirect":
            self.answer(302, b"elsewhere", Location="/data.csv")
        elif path == "/missing":
            self.answer(404, b"none")
        elif path == "/empty":
            self.answer(200, b"")
        elif path == "/not-modified":
            self.answer(304)
        elif path == "/nothing":
            self.answer(204)
        else:
            self.answer(body=DATA)

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.answer(201, b"made")

    do_HEAD = do_GET

    def do_CONNECT(self):
        self.answer(403, b"no tunnels")


@pytest.fixture(scope="module")
def server():
    """Give the server's URL."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.handle_error = lambda request, address: None  # a client went away, as some here do
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def seen():
    """Watch; give the entries."""
    urls.attach()
    sightings = hook.start(object())
    yield sightings.urls
    hook.stop(sightings)


def entry(url, by, data=DATA, **other):
    """Say what a complete GET of these data looks like."""
    described = {"method": "GET", "url": url, "status": 200, "size": len(data), "digest": sha256(data)}
    return {**described, "complete": True, "by": by, **other}


def client(name):
    module = pytest.importorskip(name)
    urls.attach()
    return module


# --- every client ---


def with_urllib(url):
    with urllib.request.urlopen(url) as response:
        return response.read()


def with_requests(url):
    return client("requests").get(url).content


def with_requests_streaming(url):
    return b"".join(client("requests").get(url, stream=True).iter_content(1000))


def with_requests_raw(url):
    return client("requests").get(url, stream=True).raw.read(decode_content=True)


def with_urllib3(url):
    return client("urllib3").PoolManager().request("GET", url).data


def with_urllib3_streaming(url):
    return b"".join(client("urllib3").PoolManager().request("GET", url, preload_content=False).stream(777))


def with_urllib3_lines(url):
    response = client("urllib3").PoolManager().request("GET", url, preload_content=False)
    response.auto_close = False  # as its documentation asks for, where it is wrapped
    return b"".join(io.BufferedReader(response))


def with_httpx(url):
    return client("httpx").get(url).content


def with_httpx_streaming(url):
    with client("httpx").stream("GET", url) as response:
        return b"".join(response.iter_bytes())


def with_httpx_async(url):
    httpx = client("httpx")

    async def fetch():
        async with httpx.AsyncClient() as session:
            return (await session.get(url)).content

    return asyncio.run(fetch())


def with_httpx_async_streaming(url):
    httpx = client("httpx")

    async def fetch():
        async with httpx.AsyncClient() as session, session.stream("GET", url) as response:
            return b"".join([part async for part in response.aiter_bytes()])

    return asyncio.run(fetch())


def with_aiohttp(url):
    aiohttp = client("aiohttp")

    async def fetch():
        async with aiohttp.ClientSession() as session, session.get(url) as response:
            return await response.read()

    return asyncio.run(fetch())


BY = {
    with_urllib: "http.client",
    with_requests: "urllib3",
    with_requests_streaming: "urllib3",
    with_requests_raw: "urllib3",
    with_urllib3: "urllib3",
    with_urllib3_streaming: "urllib3",
    with_urllib3_lines: "urllib3",
    with_httpx: "httpx",
    with_httpx_streaming: "httpx",
    with_httpx_async: "httpx",
    with_httpx_async_streaming: "httpx",
    with_aiohttp: "aiohttp",
}


@pytest.mark.parametrize("path", ["/data.csv", "/chunked", "/until-closed"])
@pytest.mark.parametrize("fetch", BY, ids=lambda fetch: fetch.__name__)
def test_every_client_gets_its_data_and_tells_their_digest(server, seen, fetch, path):
    """Whichever way a body comes and is read, its digest is that of the file on the server."""
    assert fetch(server + path) == DATA
    assert seen == [entry(server + path, BY[fetch])]


@pytest.mark.parametrize("fetch", BY, ids=lambda fetch: fetch.__name__)
def test_a_packed_body_is_told_as_it_came(server, seen, fetch):
    """The digest is of what the server has sent; unpacking is the client's own."""
    received = fetch(server + "/gzip")
    assert received == (PACKED if fetch is with_urllib else DATA)
    if fetch is with_aiohttp:  # it unpacks before anybody can look
        assert seen == [entry(server + "/gzip", "aiohttp", size=None, digest=None)]
        assert any("aiohttp" in sentence for sentence in urls.limits())
    else:
        assert seen == [entry(server + "/gzip", BY[fetch], PACKED)]


@pytest.mark.parametrize("fetch", [with_urllib, with_requests, with_httpx], ids=lambda fetch: fetch.__name__)
def test_data_frames_read_from_a_url_are_told(server, seen, fetch):
    """Data on a server is an input like any other."""
    pandas = pytest.importorskip("pandas")
    frame = pandas.read_csv(io.BytesIO(fetch(server + "/data.csv")) if fetch is not with_urllib else server + "/data.csv")
    assert len(frame) == 19_999
    assert [told["digest"] for told in seen] == [sha256(DATA)]


# --- every way to read a response of http.client ---


def get(server, path, method="GET"):
    connection = http.client.HTTPConnection(server.removeprefix("http://"))
    connection.request(method, path)
    return connection, connection.getresponse()


def _by_readinto(response):
    buffer, parts = bytearray(999), []
    while count := response.readinto(buffer):
        parts.append(bytes(buffer[:count]))
    return b"".join(parts)


READERS = {
    "read": lambda response: response.read(),
    "read in parts": lambda response: b"".join(iter(lambda: response.read(1000), b"")),
    "read1": lambda response: b"".join(iter(lambda: response.read1(1000), b"")),
    "readinto": _by_readinto,
    "readline": lambda response: b"".join(iter(response.readline, b"")),
    "lines": lambda response: b"".join(response),
    "peek": lambda response: (response.peek(10), response.peek(10), response.read())[2],
    "BufferedReader": lambda response: io.BufferedReader(response, 512).read(),
    "TextIOWrapper": lambda response: io.TextIOWrapper(io.BufferedReader(response), newline="").read().encode(),
}


@pytest.mark.parametrize("path", ["/data.csv", "/chunked", "/until-closed"])
@pytest.mark.parametrize("read", READERS)
def test_a_response_can_be_read_in_every_way(server, seen, read, path):
    """Libraries read in all of them; none may lose a byte or be counted twice."""
    connection, response = get(server, path)
    assert isinstance(response, http.client.HTTPResponse) and isinstance(response.fp, io.BufferedIOBase)
    assert READERS[read](response) == DATA
    assert response.read() == b""
    assert response.isclosed()
    assert seen == [entry(server + path, "http.client")]
    connection.close()


def test_a_connection_is_used_again(server, seen):
    """Sessions keep connections open: one response must not be taken for the next."""
    connection, response = get(server, "/data.csv")
    response.read()
    connection.request("GET", "/chunked")
    assert connection.getresponse().read() == DATA
    connection.request("POST", "/things", body=b"x" * 100)
    assert connection.getresponse().read() == b"made"
    connection.close()
    assert [(told["method"], told["status"], told["size"]) for told in seen] == [
        ("GET", 200, len(DATA)),
        ("GET", 200, len(DATA)),
        ("POST", 201, 4),
    ]
    assert all(told["complete"] for told in seen)


@pytest.mark.parametrize("path", ["/nothing", "/not-modified"])
def test_an_answer_without_a_body_has_no_digest(server, seen, path):
    """There is nothing of which it would be one."""
    _, response = get(server, path)
    assert response.read() == b""
    assert (seen[0]["size"], seen[0]["digest"], seen[0]["complete"]) == (0, None, True)


def test_head_has_no_digest_and_an_empty_body_has_one(server, seen):
    """An empty file is a file."""
    _, response = get(server, "/data.csv", "HEAD")
    assert response.read() == b"" and response.headers["Content-Length"] == str(len(DATA))
    _, response = get(server, "/empty")
    assert response.read() == b""
    assert [(told["method"], told["digest"], told["complete"]) for told in seen] == [
        ("HEAD", None, True),
        ("GET", sha256(b""), True),
    ]


@pytest.mark.parametrize(
    "fetch", [with_urllib, with_requests_streaming, with_httpx, with_aiohttp], ids=lambda fetch: fetch.__name__
)
def test_a_body_that_breaks_off_is_not_complete(server, seen, fetch):
    """Half a file must never pass for the file; and the error is the client's own."""
    with pytest.raises(Exception) as caught:
        fetch(server + "/cut")
    assert not type(caught.value).__module__.startswith("capture")
    assert [told["complete"] for told in seen] == [False]
    if fetch is with_urllib:
        assert isinstance(caught.value, http.client.IncompleteRead)
        assert (seen[0]["size"], seen[0]["digest"]) == (1000, sha256(DATA[:1000]))


def test_what_is_left_unread_is_not_complete(server, seen):
    """The first lines of a file are not the file."""
    connection, response = get(server, "/data.csv")
    part = response.read(100)
    response.close()
    connection.close()
    assert (seen[0]["size"], seen[0]["digest"], seen[0]["complete"]) == (100, sha256(part), False)
    httpx = client("httpx")
    with httpx.stream("GET", server + "/data.csv") as response:
        next(response.iter_raw())
    assert seen[1]["complete"] is False and 0 < seen[1]["size"] < len(DATA)


def test_redirects_and_errors_are_told_with_their_status(server, seen):
    """A page that says "not found" is not the data, and the record shows that."""
    assert with_urllib(server + "/redirect") == DATA
    with pytest.raises(urllib.error.HTTPError):
        with_urllib(server + "/missing")
    assert [(told["status"], told["url"].removeprefix(server)) for told in seen] == [
        (302, "/redirect"),
        (200, "/data.csv"),
        (404, "/missing"),
    ]


def test_a_proxy_is_not_taken_for_the_server(server, seen):
    """The URL is that of what was wanted, not of who passed it on."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({"http": server, "https": server}))
    assert opener.open("http://example.invalid/data.csv").read() == DATA
    assert seen == [entry("http://example.invalid/data.csv", "http.client")]
    with pytest.raises(OSError, match="403"):
        opener.open("https://example.invalid/data.csv")
    assert len(seen) == 1


def test_a_tunnel_shows_the_server_behind_it():
    """With https a proxy passes on bytes; the host is the one that the tunnel leads to."""
    connection = http.client.HTTPSConnection("proxy.invalid", 3128)
    connection.set_tunnel("data.invalid", 443)
    assert responses._url_of(connection, "/x?y=1") == "https://data.invalid/x?y=1"
    assert responses._url_of(http.client.HTTPConnection("::1", 8080), "/x") == "http://[::1]:8080/x"


def test_secrets_in_urls_are_masked(server, seen):
    """Signed URLs and API keys would otherwise be in every record."""
    token = "hunter2hunter2Qx9zLk3v"
    for fetch in (with_urllib, with_requests, with_httpx):
        fetch(f"{server}/data.csv?year=2026&api_key={token}")
    assert len(seen) == 3
    for told in seen:
        assert token not in told["url"] and "year=2026" in told["url"] and "api_key=" in told["url"]


def test_the_librarys_own_requests_are_not_told(server, seen):
    """Observers that post to a server do not make inputs of the run."""
    with unwatched():
        assert with_urllib(server + "/data.csv") == DATA
    assert seen == []


def test_nothing_is_told_when_nothing_is_watched(server):
    """The wrappers stay when a run is over, and only pass on."""
    urls.attach()
    _, response = get(server, "/chunked")
    assert type(response.fp) is io.BufferedReader
    assert response.read() == DATA


def test_what_is_not_understood_goes_on_and_is_named(server, seen, monkeypatch):
    """A mistake in reading along must never cost the data."""
    monkeypatch.setattr(responses, "_notes", {})
    monkeypatch.setattr(responses.Body, "add", lambda *args: 1 / 0)
    assert with_urllib(server + "/chunked") == DATA
    assert any("http.client was not understood" in sentence for sentence in urls.coverage())


def test_chunks_of_any_size_in_pieces_of_any_size():
    """The wire knows no boundaries."""
    wire = b"5\r\nhello\r\n1;name=value\r\n,\r\nA\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n"

    class Kept:
        def __init__(self):
            self.data, self.over = b"", False

        def add(self, data):
            self.data += bytes(data)

        def ended(self):
            self.over = True

    for step in range(1, len(wire) + 1):
        body = Kept()
        chunks = responses.Chunks(body)
        for at in range(0, len(wire), step):
            assert not body.over or at
            chunks.add(wire[at : at + step])
        assert (body.data, body.over) == (b"hello,0123456789", True), step


def test_a_response_without_a_network_stays_what_it_is(seen):
    """Tests of others make responses of sockets and buffers."""
    ours, theirs = socket.socketpair()
    theirs.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
    connection = http.client.HTTPConnection("nowhere.invalid")
    connection.sock = ours
    connection.request("GET", "/")
    response = connection.getresponse()
    assert (response.read(), response.fileno if response.fp else None) == (b"hi", None)
    assert seen[0]["complete"] is True
    theirs.close()
    ours.close()


def test_attaching_imports_nothing(tmp_path):
    """Every run attaches; most fetch nothing."""
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(
            """
            import sys
            from capture.probes.lineage import hook, urls
            before = set(sys.modules)
            urls.attach()
            assert set(sys.modules) == before and urls.coverage() == []
            import http.client
            assert "capture.probes.lineage.responses" in sys.modules
            assert hasattr(http.client.HTTPConnection.putrequest, "__capture_target__")
            """
        )
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
