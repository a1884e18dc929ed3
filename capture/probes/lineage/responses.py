"""The wrappers behind `urls`: they read along, and change nothing of what is read."""

from __future__ import annotations

import io
from _thread import get_ident
from functools import wraps

from capture.probes.lineage import hook
from capture.unwatched import IDENTS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from typing import Any

_notes: dict[str, None] = {}  # sentences for `coverage`, in order
_limits: dict[str, None] = {}  #: what is not known of responses that were seen, in order


def coverage() -> list[str]:
    """Say of what was fetched it is not known what was in it."""
    return list(_notes)


def limits() -> list[str]:
    """Say of what is fetched no digest can be had."""
    return list(_limits)


def _is_watched() -> bool:
    return hook.active() and get_ident() not in IDENTS


class Body:
    """What is known of a response: an entry of the lineage, filled in while its body is read.

    Parameters
    ----------
    method, url : str
        The URL is stored without its secrets.
    status : int
    by : str
        The library that asked.
    length : int, optional
        Bytes that the body should have.
    """

    def __init__(self, method: str, url: str, status: int, by: str, length: int | None = None) -> None:
        from capture.digests import LARGE, hash_functions
        from capture.secrets import redact_url

        self.entry: dict[str, Any] = {
            "method": method,
            "url": redact_url(url),
            "status": status,
            "size": 0,
            "digest": None,
            "complete": False,
            "by": by,
        }
        self._length = length
        self._hash = hash_functions(LARGE if length is None else length)[0]()
        if not has_body(method, status):
            self.entry["complete"] = True
        elif length == 0:
            self.ended()
        hook.note_url(self.entry)

    def add(self, data: Any) -> None:
        """Take the next bytes."""
        self._hash.update(data)
        self.entry["size"] += len(data)
        if self._length is not None and self.entry["size"] >= self._length:
            self.ended()

    def ended(self) -> None:
        """There is no more: the body is complete, unless more was announced."""
        if self._length is None or self.entry["size"] >= self._length:
            self.entry["complete"] = True
        self.left()

    def left(self) -> None:
        """Nobody reads on: the digest is of what was read, if anything was."""
        if self.entry["size"] or self.entry["complete"]:
            self.entry["digest"] = self._hash.hexdigest()


def has_body(method: str, status: int) -> bool:
    """Say whether the answer to such a request has a body, be it an empty one."""
    return method != "HEAD" and status >= 200 and status not in (204, 304)


# --- http.client ---


def wrap_http_client(module: Any) -> None:
    """Read along with `http.client`: at the file from which a response reads its body."""
    connection = module.HTTPConnection
    if hasattr(connection.getresponse, "__capture_target__"):
        return
    putrequest, getresponse = connection.putrequest, connection.getresponse

    @wraps(putrequest)
    def put(self: Any, method: Any, url: Any, *args: Any, **named: Any) -> Any:
        if _is_watched():
            self._capture_request = method, url
        return putrequest(self, method, url, *args, **named)

    @wraps(getresponse)
    def get(self: Any, *args: Any, **named: Any) -> Any:
        response = getresponse(self, *args, **named)
        request = self.__dict__.pop("_capture_request", None)
        if request is not None and _is_watched():
            try:
                _read_along(self, response, *request)
            except Exception as error:  # noqa: BLE001 - connections may be anything that looks like one
                _not_understood("http.client", error)
        return response

    get.__capture_target__ = put.__capture_target__ = "urls"  # type: ignore[attr-defined]
    connection.putrequest, connection.getresponse = put, get


def _read_along(connection: Any, response: Any, method: Any, url: Any) -> None:
    method, url = (part.decode("latin-1") if isinstance(part, bytes) else str(part) for part in (method, url))
    library = type(connection).__module__.partition(".")[0]
    by = library if library in ("urllib3", "botocore") else "http.client"
    chunked = bool(getattr(response, "chunked", False))
    body = Body(method, _url_of(connection, url), response.status, by, None if chunked else response.length)
    if response.fp is not None and has_body(method, response.status):
        response.fp = BodyFile(response.fp, body, chunked)


def _url_of(connection: Any, target: str) -> str:
    if "://" in target:  # asked of a proxy
        return target
    through_proxy = getattr(connection, "_tunnel_host", None)
    host, port = (through_proxy, connection._tunnel_port) if through_proxy else (connection.host, connection.port)
    secure = connection.default_port == 443
    if ":" in host and not host.startswith("["):
        host = f"[{host}]"
    shown = "" if port in (None, 443 if secure else 80) else f":{port}"
    return f"{'https' if secure else 'http'}://{host}{shown}{target}"


class BodyFile(io.BufferedIOBase):
    """Stands for the file that a response reads from, and passes on what was read.

    At this place it makes no difference by which of its many methods a response is read, nor that urllib3 puts chunks
    together on its own.
    """

    def __init__(self, file: Any, body: Body, chunked: bool) -> None:
        self._file, self._body = file, body
        self._chunks = Chunks(body) if chunked else None

    def _see(self, data: Any, wanted: int | None = None) -> None:
        try:
            if self._chunks is not None:
                self._chunks.add(data)
            elif len(data):
                self._body.add(data)
            elif wanted != 0:
                self._body.ended()
        except Exception as error:  # noqa: BLE001 - what is read must arrive
            _not_understood("http.client", error)

    def read(self, size: int | None = -1) -> bytes:
        data = self._file.read(-1 if size is None else size)
        self._see(data, size)
        if self._chunks is None and data and (size is None or not 0 <= size <= len(data)):
            self._see(b"")  # less came than was asked for: it was read to its end
        return data

    def read1(self, size: int = -1) -> bytes:
        data = self._file.read1(size)
        self._see(data, size)
        return data

    def readinto(self, buffer: Any) -> int:
        count = self._file.readinto(buffer)
        self._see(memoryview(buffer).cast("B")[: count or 0], len(buffer))
        return count

    def readinto1(self, buffer: Any) -> int:
        count = self._file.readinto1(buffer)
        self._see(memoryview(buffer).cast("B")[: count or 0], len(buffer))
        return count

    def readline(self, size: int | None = -1) -> bytes:
        line = self._file.readline(-1 if size is None else size)
        self._see(line, size)
        return line

    def peek(self, size: int = 0) -> bytes:
        return self._file.peek(size)

    def close(self) -> None:
        self._body.left()
        self._file.close()

    @property
    def closed(self) -> bool:
        return self._file.closed

    def flush(self) -> None:
        self._file.flush()

    def fileno(self) -> int:
        return self._file.fileno()

    def readable(self) -> bool:
        return True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


class Chunks:
    """Puts a body together that comes in chunks: takes what comes over the wire, in pieces of any size.

    See RFC 9112, section 7.1: each chunk is its length in hexadecimal, a line end, the data, a line end; the last one
    is empty.
    """

    def __init__(self, body: Body) -> None:
        self._body = body
        self._line = b""
        self._left = 0  # bytes of the current chunk that have yet to come, with the line end behind them
        self._over = False

    def add(self, data: Any) -> None:
        view = memoryview(data)
        while len(view) and not self._over:
            if self._left > 2:
                part = view[: self._left - 2]
                self._body.add(part)
                self._left -= len(part)
            elif self._left:
                part = view[: self._left]
                self._left -= len(part)
            else:
                part = view[: _through_line_end(view)]
                self._line += bytes(part)
                if self._line.endswith(b"\n"):
                    self._begin(self._line)
                    self._line = b""
            view = view[len(part) :]

    def _begin(self, line: bytes) -> None:
        size = int(line.partition(b";")[0], 16)
        if size == 0:
            self._over = True
            self._body.ended()
        else:
            self._left = size + 2


def _through_line_end(view: memoryview) -> int:
    end = bytes(view[:1024]).find(b"\n")
    return end + 1 if end >= 0 else len(view)


# --- httpx ---


def wrap_httpx(module: Any) -> None:
    """Read along with httpx: at the stream that a transport returns."""
    try:
        transports = module.HTTPTransport, module.AsyncHTTPTransport
        wanted = transports[0].handle_request, transports[1].handle_async_request
        module.SyncByteStream, module.AsyncByteStream  # noqa: B018 - asked whether they are there
    except AttributeError as error:
        _notes[f"httpx {getattr(module, '__version__', '')}: what it fetches is not seen ({error})"] = None
        return
    if hasattr(wanted[0], "__capture_target__"):
        return
    handle, handle_async = wanted

    class ReadAlong(module.SyncByteStream):
        def __init__(self, stream: Any, body: Body) -> None:
            self._stream, self._body = stream, body

        def __iter__(self) -> Iterator[bytes]:
            for part in self._stream:
                self._body.add(part)
                yield part
            self._body.ended()

        def close(self) -> None:
            self._body.left()
            self._stream.close()

    class ReadAlongAsync(module.AsyncByteStream):
        def __init__(self, stream: Any, body: Body) -> None:
            self._stream, self._body = stream, body

        async def __aiter__(self) -> AsyncIterator[bytes]:
            async for part in self._stream:
                self._body.add(part)
                yield part
            self._body.ended()

        async def aclose(self) -> None:
            self._body.left()
            await self._stream.aclose()

    def attend(stream_class: Callable[..., Any], request: Any, response: Any) -> Any:
        try:
            length = response.headers.get("content-length", "")
            body = Body(
                request.method,
                str(request.url),
                response.status_code,
                "httpx",
                int(length) if length.isdigit() and has_body(request.method, response.status_code) else None,
            )
            if has_body(request.method, response.status_code):
                response.stream = stream_class(response.stream, body)
        except Exception as error:  # noqa: BLE001 - transports may be subclassed at will
            _not_understood("httpx", error)
        return response

    @wraps(handle)
    def handle_request(self: Any, request: Any) -> Any:
        response = handle(self, request)
        return attend(ReadAlong, request, response) if _is_watched() else response

    @wraps(handle_async)
    async def handle_async_request(self: Any, request: Any) -> Any:
        response = await handle_async(self, request)
        return attend(ReadAlongAsync, request, response) if _is_watched() else response

    handle_request.__capture_target__ = handle_async_request.__capture_target__ = "urls"  # type: ignore[attr-defined]
    transports[0].handle_request, transports[1].handle_async_request = handle_request, handle_async_request


# --- aiohttp ---


def wrap_aiohttp(module: Any) -> None:
    """See what aiohttp fetches. It unpacks bodies before anybody can read along, and its streams are compiled."""
    response_class = module.ClientResponse
    if hasattr(response_class.start, "__capture_target__"):
        return
    start, read = response_class.start, response_class.read

    @wraps(start)
    async def start_and_note(self: Any, *args: Any, **named: Any) -> Any:
        result = await start(self, *args, **named)
        if self.method != "CONNECT" and _is_watched():  # that is how a proxy is asked to pass on the request proper
            try:
                body = Body(self.method, str(self.url), self.status, "aiohttp")
                if has_body(self.method, self.status):
                    body.entry["size"] = None
                    self._capture_body = body
            except Exception as error:  # noqa: BLE001 - responses may be subclassed at will
                _not_understood("aiohttp", error)
        return result

    @wraps(read)
    async def read_along(self: Any) -> Any:
        data = await read(self)
        body = self.__dict__.pop("_capture_body", None)
        if body is not None:
            body.entry["complete"] = True
            if "Content-Encoding" not in self.headers:
                body.entry["size"] = 0
                body.add(data)
                body.ended()
        return data

    start_and_note.__capture_target__ = read_along.__capture_target__ = "urls"  # type: ignore[attr-defined]
    response_class.start, response_class.read = start_and_note, read_along
    _limits["the digests of bodies that aiohttp receives compressed, or that are read as a stream"] = None


def _not_understood(library: str, error: Exception) -> None:
    import logging

    sentence = f"a response of {library} was not understood: what was in it is not known"
    _notes[sentence] = None
    logging.getLogger("capture").debug("%s (%r)", sentence, error)


WRAPPERS: dict[str, Callable[[Any], None]] = {
    "http.client": wrap_http_client,
    "httpx": wrap_httpx,
    "aiohttp": wrap_aiohttp,
}
