"""The files below one folder of any filesystem that fsspec knows, with the few operations that a store needs.

Object stores have neither append nor rename, and a write is atomic; file servers have both, and it is not. So a store
asks for no more than this: read, replace as a whole, replace only what nobody else changed, create what is not there,
list, copy, delete. Names are paths relative to the folder, with "/".
"""

from __future__ import annotations

import errno
import os
import threading
import zlib

from capture.errors import ObserverError
from capture.observers import _names
from capture.secrets import redact_url

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from typing import Any, BinaryIO

CONNECT_S, READ_S = 5, 20  #: how long a server may take to accept a connection, and to say anything
_SMALL = 8 << 20  #: bytes up to which a file is sent by one request; parts of larger ones have this size
_CHUNK = 1 << 20
AT_ONCE = 64  #: requests that are on their way at the same time

#: extra to install -> the schemes for which it is needed, and the modules that it brings
EXTRAS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "s3": (("s3", "s3a"), ("s3fs",)),
    "gcs": (("gs", "gcs"), ("gcsfs",)),
    "azure": (("az", "abfs", "abfss", "adl"), ("adlfs",)),
    "ssh": (("ssh", "sftp"), ("fsspec", "paramiko")),
    "hdfs": (("hdfs", "webhdfs"), ("fsspec", "pyarrow")),
}

#: schemes of which fsspec only reads, or where what is written is not what is meant
READ_ONLY = frozenset(
    {"http", "https", "github", "git", "gist", "jupyter", "jlab", "data", "zip", "tar", "libarchive", "reference"}
    | {"blockcache", "filecache", "simplecache", "cached", "asynclocal", "generic", "oci-rdma", "hf-mount"}
)

#: schemes of filesystems with folders and a rename that replaces, where writing itself is not atomic
_FOLDERS = frozenset({"local", "sftp", "ssh", "hdfs", "arrow_hdfs", "smb"})
_CONDITIONAL = frozenset({"gs", "gcs", "az", "abfs", "abfss"})  #: ``pipe_file(mode="create")`` is atomic

#: names of exceptions that mean that the connection failed, by the top-level package that raises them
_PASSING = {
    "botocore": {
        *("EndpointConnectionError", "ConnectTimeoutError", "ReadTimeoutError", "ConnectionClosedError"),
        *("HTTPClientError", "ConnectionError", "ResponseStreamingError", "IncompleteReadError"),
    },
    "aiobotocore": {"AioReadTimeoutError"},
    "aiohttp": {"ClientConnectionError", "ClientPayloadError", "ServerTimeoutError"},
    "fsspec": {"FSTimeoutError"},
    "azure": {"ServiceRequestError", "ServiceResponseError", "IncompleteReadError"},
    "requests": {"ConnectionError", "Timeout"},
    "paramiko": {"SSHException", "NoValidConnectionsError"},
    "asyncio": {"TimeoutError"},
}
_NEVER = {  #: subclasses of those that do not pass by themselves
    "botocore": {"ProxyConnectionError", "SSLError"},
    "paramiko": {"AuthenticationException", "BadHostKeyException", "PasswordRequiredException"},
}
_TALKATIVE = {  #: loggers by scheme
    **dict.fromkeys(("s3", "s3a"), ("aiobotocore.credentials", "botocore.credentials")),
    **dict.fromkeys(("ssh", "sftp"), ("paramiko.transport", "paramiko.transport.sftp")),
    **dict.fromkeys(("az", "abfs", "abfss"), ("azure.core.pipeline.policies.http_logging_policy", "azure.identity")),
}
_ON_LOOP = frozenset({"gs", "gcs", "s3", "s3a", "az", "abfs", "abfss"})  #: schemes that work on fsspec's event loop
#: what asyncio and aiohttp say of calls that were given up
_AFTERMATH = ("Unclosed ", "Task exception was never retrieved", "Task was destroyed", "Future exception was never")
_REFUSED = {
    "botocore": {"NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError", "TokenRetrievalError"},
    "google": {"RefreshError", "DefaultCredentialsError"},
    "azure": {"ClientAuthenticationError"},
    "paramiko": {"AuthenticationException", "PasswordRequiredException"},
}
_PASSING_ERRNO = frozenset(
    {
        *(errno.EBUSY, errno.EAGAIN, errno.EIO, errno.ECONNRESET, errno.ECONNREFUSED, errno.EPIPE, errno.ETIMEDOUT),
        *(errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENOSPC, errno.EDQUOT, errno.EMFILE),
    }
    | {getattr(errno, name) for name in ("EREMOTEIO", "ESTALE") if hasattr(errno, name)}
)


class Changed(Exception):
    """Somebody else wrote a file meanwhile."""


def scheme_of(url: str) -> str:
    """Return the scheme of a URL of fsspec's, in lower case."""
    return url.partition("://")[0].lower()


def without_user(url: str) -> str:
    """Return a URL without the user's name: whoever asks, it is the same store."""
    scheme, separator, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    if scheme.lower() in ("abfs", "abfss", "az"):  # container@account
        return url
    return f"{scheme}{separator}{authority.rpartition('@')[2]}{slash}{path}"


def require(url: str) -> None:
    """Raise an ObserverError that says what to install, if the package for a URL is missing."""
    from importlib.util import find_spec

    scheme = scheme_of(url)
    for extra, (schemes, modules) in EXTRAS.items():
        missing = [name for name in modules if scheme in schemes and find_spec(name) is None]
        if missing:
            raise ObserverError(
                f"a store at {scheme}:// needs the package {missing[0]}, which is not installed."
                f"\n  to install it:  pip install 'experiment-capture[{extra}]'",
                print_traceback=False,
            )
    if find_spec("fsspec") is None:
        raise ObserverError(
            f"a store at {scheme}:// needs the package fsspec, which is not installed."
            f"\n  to install it:  pip install fsspec, and the package that fsspec needs for {scheme}://",
            print_traceback=False,
        )


def is_passing(error: BaseException) -> bool:
    """Say whether an error of fsspec or of a library below it is a connection's, and may pass by itself."""
    if isinstance(error, (ConnectionError, TimeoutError)) or type(error).__name__ == "gaierror":
        return True
    if _is_a(error, _NEVER) or isinstance(error, (FileNotFoundError, FileExistsError, PermissionError)):
        return False
    if _is_a(error, _PASSING):
        return True
    if isinstance(error, EOFError) or (isinstance(error, OSError) and error.errno in _PASSING_ERRNO):
        return True
    if type(error) is OSError and error.errno is None and "closed" in str(error):  # paramiko's "Socket is closed"
        return True
    code = getattr(error, "code", None) if type(error).__module__.startswith("gcsfs") else None
    code = getattr(error, "status_code", code)
    return str(code) in ("408", "429") or str(code)[:1] == "5"


def _is_a(error: BaseException, known: Mapping[str, Iterable[str]]) -> bool:
    """Say whether an error's class, or one that it derives from, is among these; nothing is imported for that."""
    return any(cls.__name__ in known.get(cls.__module__.partition(".")[0], ()) for cls in type(error).__mro__)


def _quieten_loop() -> None:
    """Have what fsspec's event loop complains of at last go to this library's log, at DEBUG.

    What is given up because a server does not answer leaves tasks whose error nobody takes, and a session that nobody
    closes. asyncio prints a traceback of each when it is collected, at the end of the process, behind what this library
    said of the same error. That loop runs nothing but the calls of fsspec's filesystems, so that no other code's
    complaints are hushed, nor is a handler of somebody else's replaced.
    """
    from fsspec.asyn import get_loop

    loop = get_loop()
    if loop.get_exception_handler() is None:
        loop.set_exception_handler(_complain_quietly)


def _is_no_traceback_of_retries(record: Any) -> bool:
    """Keep gcsfs from logging, with its traceback, each error that it also raises: ours says it in one line."""
    return "out of retries" not in str(record.msg)


def _complain_quietly(loop: Any, context: dict[str, Any]) -> None:
    from capture.observers._writing import log

    if str(context.get("message")).startswith(_AFTERMATH):
        log().debug("of a filesystem of fsspec's: %s: %r", context["message"], context.get("exception"))
    else:
        loop.default_exception_handler(context)


class Files:
    """The files below one folder; `capture.observers._remote_store.files_at` makes them.

    Parameters
    ----------
    url : str
        ``scheme://...``, as `fsspec.core.url_to_fs` takes it.
    options : mapping, optional
        What the filesystem's class of fsspec is made with: credentials, endpoints.
    """

    def __init__(self, url: str, options: Mapping[str, Any] | None = None) -> None:
        self.url, self.options = url, dict(options or {})
        self.name = redact_url(url)  #: for messages
        self.scheme = scheme_of(url)
        self._fs: Any = None
        self._pid = 0
        self._root = ""
        self._made: set[str] = set()  # folders that exist
        self._refuses = True  # whether the server refuses to create what exists; see `check_refusal`

    # The filesystem.

    @property
    def fs(self) -> Any:
        """The filesystem of fsspec; a new one in a forked process, since connections do not survive that."""
        if self._fs is None or self._pid != os.getpid():
            require(self.url)
            self._quieten()
            try:
                fs, root = self._connect()
            except ValueError as error:
                raise self._unusable(error) from error
            except ImportError as error:
                raise ObserverError(f"{self.name} cannot be used: {error}", print_traceback=False) from error
            except Exception as error:
                raise self._explained(error) from error
            self._fs, self._root, self._pid = fs, root.rstrip("/"), os.getpid()
            self._made.clear()
            self._set_patience(fs)
        return self._fs

    def _unusable(self, error: ValueError) -> ObserverError:
        """Return the error to raise if the filesystem does not take its URL and what is set besides."""
        said = redact_url(str(error)).strip()
        if self.scheme in ("az", "abfs", "abfss") and "account" in said:
            return ObserverError(
                f"{self.name} cannot be opened: no account of Azure's storage was found that can be used, neither in"
                f" AZURE_STORAGE_CONNECTION_STRING nor in AZURE_STORAGE_ACCOUNT_NAME ({said.rstrip('!.')})."
                "\n  to go on: set the former, or the latter with AZURE_STORAGE_ACCOUNT_KEY, AZURE_STORAGE_SAS_TOKEN or"
                " a login (az login)",
                print_traceback=False,
            )
        return ObserverError(f"{self.name} is no place of a store: {said}", print_traceback=False)

    def _connect(self) -> tuple[Any, str]:
        """Return the filesystem, and its own path of the folder."""
        if self.scheme in ("gs", "gcs"):  # what gcsfs gives by itself first asks, for a minute, what kind the bucket is
            from gcsfs.core import GCSFileSystem

            fs = GCSFileSystem(**self._options())
            return fs, fs._strip_protocol(self.url)
        from fsspec.core import url_to_fs

        return url_to_fs(self.url, **self._options())

    def _options(self) -> dict[str, Any]:
        """Return the options of the filesystem, with limits to its patience and without its cache of listings."""
        if self.scheme in ("gs", "gcs"):
            return {"use_listings_cache": False, "timeout": READ_S, "requests_timeout": READ_S, **self.options}
        if self.scheme in ("az", "abfs", "abfss"):
            patience = {"connection_timeout": CONNECT_S, "read_timeout": READ_S}
            return {"use_listings_cache": False, **patience, **self.options}
        if self.scheme in ("ssh", "sftp"):
            from capture.observers._known_hosts import policy

            patience = {"timeout": CONNECT_S, "banner_timeout": CONNECT_S, "auth_timeout": 2 * CONNECT_S}
            return {"host_key_policy": policy(), "skip_instance_cache": True, **patience, **self.options}
        return self.options

    def _set_patience(self, fs: Any) -> None:
        if self.scheme in ("ssh", "sftp"):
            fs.ftp.get_channel().settimeout(READ_S)

    def _quieten(self) -> None:
        """Keep a library from telling at INFO, in the log of the run, that it has connected."""
        import logging

        for name in _TALKATIVE.get(self.scheme, ()):
            if logging.getLogger(name).level == logging.NOTSET:
                logging.getLogger(name).setLevel(logging.WARNING)
        if self.scheme in _ON_LOOP:
            _quieten_loop()
        if self.scheme in ("gs", "gcs"):
            logging.getLogger("gcsfs").addFilter(_is_no_traceback_of_retries)  # which is added once

    @property
    def _has_folders(self) -> bool:
        return self.scheme in _FOLDERS

    def path(self, key: str) -> str:
        """Return the filesystem's own path of a file; a key that begins with "/" counts from its root."""
        _ = self.fs  # which knows what the URL's own path is
        if key.startswith("/"):
            return key if self._root.startswith("/") else key.lstrip("/")
        return f"{self._root}/{key}" if key else self._root

    def _explained(self, error: BaseException) -> BaseException:
        """Return the error to raise: what may pass as a ConnectionError, what was refused with what to do."""
        if isinstance(error, (ObserverError, FileNotFoundError, FileExistsError, Changed)):
            return error
        if _is_a(error, _REFUSED) or isinstance(error, PermissionError):
            said = redact_url(str(error)).strip().rstrip(".")
            return ObserverError(
                f"{self.name} refuses access: {said or type(error).__name__}.\n  to go on: give credentials that may"
                " read, write, list and delete there, in the environment or the files where the service's own tools"
                " look for them",
                print_traceback=False,
            )
        if is_passing(error):
            if not hasattr(self._fs, "loop"):
                self._fs = None  # a connection that broke does not come back by itself
            if isinstance(error, (ConnectionError, TimeoutError)) and self.name in str(error):
                return error
            if isinstance(error, OSError) and not str(error).strip("() "):
                return ConnectionError(f"{self.name} cannot be reached: {type(error).__name__}")
            return ConnectionError(f"{self.name} cannot be reached: {type(error).__name__}: {error}")
        return error

    def _call(self, method: str, *args: Any, **kwargs: Any) -> Any:
        try:
            return getattr(self.fs, method)(*args, **kwargs)
        except Exception as error:
            new = self._explained(error)
            if new is error:
                raise
            raise new from error

    def _each(self, method: str, calls: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Call a method of the filesystem for each set of arguments, at once where it can; errors are returned."""
        fs = self.fs
        if len(calls) > 1 and getattr(fs, "async_impl", False):
            from fsspec.asyn import sync

            return sync(fs.loop, at_once, getattr(fs, "_" + method), calls)
        results = []
        for args in calls:
            try:
                results.append(getattr(fs, method)(*args))
            except Exception as error:  # noqa: BLE001 - handed on, as the concurrent calls do
                results.append(error)
        return results

    def _all(self, method: str, calls: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Do as `_each`, but raise the first error."""
        results = self._each(method, calls)
        for each in results:
            if isinstance(each, BaseException):
                raise self._explained(each) from each
        return results

    # Reading.

    def read(self, key: str) -> bytes:
        """Return the content of a file.

        Raises
        ------
        FileNotFoundError
        """
        return self._call("cat_file", self.path(key))

    def read_many(self, keys: Iterable[str]) -> dict[str, bytes]:
        """Return the contents of those files that exist, asked for at once."""
        wanted = list(keys)
        results = self._read_each(wanted)
        found = {}
        for key, result in zip(wanted, results):
            if isinstance(result, BaseException):
                if not _is_missing(result):
                    raise self._explained(result) from result
            else:
                found[key] = result
        return found

    def _read_each(self, keys: Sequence[str]) -> list[Any]:
        return self._each("cat_file", [(self.path(key),) for key in keys])

    def read_version(self, key: str) -> tuple[bytes, Any]:
        """Return the content of a file, and what `replace` recognises it by."""
        data = self.read(key)
        return data, _version(data)

    def open(self, key: str) -> BinaryIO:
        """Open a file for reading."""
        return self._call("open", self.path(key), "rb")

    def opener(self, key: str) -> Callable[[], BinaryIO]:
        """Return a function that opens a file for reading."""
        return lambda: self.open(key)

    def size(self, key: str) -> int | None:
        """Return the size of a file in bytes, or None if there is none."""
        try:
            found = self._call("info", self.path(key))
        except FileNotFoundError:
            return None
        return None if found.get("type") == "directory" else found["size"]

    def list(self, key: str) -> dict[str, dict[str, Any]]:
        """Return what lies directly in a folder: what fsspec says of each, by name."""
        path = self.path(key)
        try:
            entries = self._entries(path)
        except FileNotFoundError:
            return {}
        named = {entry["name"].rstrip("/").rpartition("/")[2]: entry for entry in entries}
        return {name: entry for name, entry in named.items() if name and not name.startswith(_names.TEMPORARY)}

    def _entries(self, path: str) -> Iterable[dict[str, Any]]:
        self.fs.invalidate_cache(path)
        return self._call("ls", path, detail=True)

    def walk(self, key: str) -> dict[str, int]:
        """Return the files below a folder: size in bytes by path relative to it."""
        path = self.path(key)
        self.fs.invalidate_cache(path)
        try:
            found = self._call("find", path, detail=True)
        except FileNotFoundError:
            return {}
        start = len(path.strip("/")) + 1
        files = {name.lstrip("/")[start:]: entry for name, entry in found.items()}
        return {
            name: entry["size"]
            for name, entry in sorted(files.items())
            if name and not name.endswith("/") and not name.rpartition("/")[2].startswith(_names.TEMPORARY)
        }

    # Writing.

    def write(self, key: str, data: bytes) -> None:
        """Replace a file: readers see the old or the new content."""
        if self._has_folders:
            self._write_beside(key, data)
        else:
            self._call("pipe_file", self.path(key), data)

    def write_many(self, contents: Mapping[str, bytes]) -> None:
        """Replace some files, at once where the filesystem can."""
        if self._has_folders or len(contents) == 1:
            for key, data in contents.items():
                self.write(key, data)
        elif contents:
            self._all("pipe_file", [(self.path(key), data) for key, data in contents.items()])

    def replace(self, key: str, data: bytes, version: Any) -> Any:
        """Replace a file that nobody changed since it had this version, None for none; return the new version.

        On S3 that is one step. Elsewhere the file is read first, so that of two who do this within milliseconds both
        may succeed.

        Raises
        ------
        Changed
        """
        if version is None:
            new = self.create(key, data)
            if new is None:
                raise Changed(key)
            return new
        return self._replace_known(key, data, version)

    def _replace_known(self, key: str, data: bytes, version: Any) -> Any:
        try:
            if _version(self.read(key)) != version:
                raise Changed(key)
        except FileNotFoundError as error:
            raise Changed(key) from error
        self.write(key, data)
        return _version(data)

    def create(self, key: str, data: bytes) -> Any:
        """Write a file that does not exist, in one step where the filesystem can; return its version, None if it does.

        S3, Google and Azure refuse to write what exists, file servers to create it. Others are asked before and
        after: there `data` has to differ between those who try, and of two within a fraction of a second both could
        believe that they were first.
        """
        path = self.path(key)
        try:
            if self.scheme == "memory":
                with _MEMORY:
                    self._call("pipe_file", path, data, mode="create")
            elif self.scheme in _CONDITIONAL and self._refuses:
                self._call("pipe_file", path, data, mode="create")
            elif self.scheme in ("ssh", "sftp", "local"):
                self._ensure_parent(path)
                self._create_exclusively(path, data)
            else:
                return self._create_and_look(key, data)
        except FileExistsError:
            return self._own_version(key, data)
        return _version(data)

    def check_refusal(self, key: str, data: bytes) -> None:
        """See whether the server refuses to create a file that exists, with this content: some only look like S3."""
        if self.scheme not in _CONDITIONAL and self.scheme not in ("s3", "s3a"):
            return
        try:
            self._call("pipe_file", self.path(key), data, mode="create")
        except FileExistsError:
            return
        self._refuses = False
        from capture.observers._writing import log

        log().warning("%s does not know conditional writes: runs that start at the same moment may meet", self.name)

    def _create_exclusively(self, path: str, data: bytes) -> None:
        mode = "xb" if self.scheme == "local" else "wxb"
        try:
            stream = self._call("open", path, mode)
        except OSError as error:
            if self._call("exists", path):  # SFTP only says "Failure"
                raise FileExistsError(errno.EEXIST, "exists", path) from error
            raise
        with stream:
            stream.write(data)

    def _create_and_look(self, key: str, data: bytes) -> Any:
        from time import sleep

        if self.size(key) is None:
            self.write(key, data)
            sleep(0.2)
        return self._own_version(key, data)

    def _own_version(self, key: str, data: bytes) -> Any:
        """Return the version of a file that was there already, if it is our own, whose answer got lost; else None."""
        try:
            found, version = self.read_version(key)
        except FileNotFoundError:
            return None
        return version if found == data else None

    def _write_beside(self, key: str, data: bytes) -> None:
        path = self.path(key)
        self._ensure_parent(path)
        new = f"{path.rpartition('/')[0]}/{_names.TEMPORARY}{os.urandom(6).hex()}"
        self._call("pipe_file", new, data)
        self._rename(new, path)

    def _rename(self, old: str, new: str) -> None:
        try:
            self._call("mv", old, new)
        except Exception:
            self._call("rm_file", old)
            raise

    def _ensure_parent(self, path: str) -> None:
        folder = path.rpartition("/")[0]
        if self._has_folders and folder not in self._made:
            try:
                self._call("makedirs", folder, exist_ok=True)
            except OSError:  # another thread or process may have made it just now, which SFTP calls a failure
                if not self._call("isdir", folder):
                    raise
            self._made.add(folder)

    def upload(self, key: str, open: Callable[[], BinaryIO], size: int, digest: str = "") -> None:
        """Replace a file by what a stream holds, in pieces if it is large.

        Raises
        ------
        ObserverError
            If the bytes are not those of the SHA-256 `digest`.
        """
        with open() as source:
            first = source.read(_SMALL + 1) if size <= _SMALL else b""
            if size <= _SMALL and len(first) <= _SMALL:
                _check(_sha256([first]), digest, key)
                self.write(key, first)
                return
            path = self.path(key)
            self._ensure_parent(path)
            beside = f"{path.rpartition('/')[0]}/{_names.TEMPORARY}{os.urandom(6).hex()}"
            target = beside if self._has_folders else path
            stream = self._call("open", target, "wb", block_size=_SMALL)
            try:
                sha256 = _sha256([first])
                stream.write(first)
                for chunk in iter(lambda: source.read(_CHUNK), b""):
                    sha256.update(chunk)
                    stream.write(chunk)
                _check(sha256, digest, key)
            except BaseException as error:
                self._discard(stream, target)
                raise self._explained(error) from error
        try:
            stream.close()
        except Exception as error:
            raise self._explained(error) from error
        if self._has_folders:
            self._rename(target, path)

    def _discard(self, stream: Any, path: str) -> None:
        """Give up a file that was written in part: nothing of it is to be seen."""
        try:
            if self._has_folders:
                stream.close()
                self.fs.rm_file(path)
            else:
                stream.discard()
                stream.closed = True
        except Exception as error:  # noqa: BLE001 - the error that led here is told; this only leaves rubbish
            from capture.observers._writing import log

            log().info("%s was left half-written: %s", self.name, error)

    def delete(self, keys: Iterable[str]) -> None:
        """Delete files; one that is gone is no error."""
        paths = [(self.path(key),) for key in keys]
        for result in self._each("rm_file", paths):
            if isinstance(result, BaseException) and not _is_missing(result):
                raise self._explained(result) from result

    def move_folder(self, old: str, new: str, last: Sequence[str] = ()) -> None:
        """Move all files of a folder; where they must be copied, those named in `last` follow the others.

        They are deleted in the opposite order, so that whoever finds these finds all.
        """
        if self._has_folders:
            self._ensure_parent(self.path(new))
            self._call("mv", self.path(old), self.path(new))
            return
        names = list(self.walk(old))
        first = [name for name in names if name not in last]
        closing = [name for name in last if name in names]
        for group in (first, closing):
            self._copy([(f"{old}/{name}", f"{new}/{name}") for name in group])
        for group in (closing, first):
            self.delete([f"{old}/{name}" for name in group])

    def _copy(self, pairs: Sequence[tuple[str, str]]) -> None:
        self._all("cp_file", [(self.path(old), self.path(new)) for old, new in pairs])

    def delete_folder(self, key: str) -> None:
        """Delete a folder with all that is in it."""
        self.delete([f"{key}/{name}" for name in self.walk(key)])
        if self._has_folders:
            try:
                self._call("rm", self.path(key), recursive=True)
            except FileNotFoundError:
                pass
            self._made.clear()

    def make_bucket(self) -> None:
        """Make the bucket, or container, that the folder lies in."""
        bucket = self.path("").strip("/").partition("/")[0]
        try:
            self._call("mkdir", bucket)
        except FileExistsError:  # another run made it just now
            pass


_MEMORY = threading.Lock()  # fsspec's filesystem in memory looks and writes in two steps


async def at_once(method: Callable[..., Any], calls: Sequence[tuple[Any, ...]]) -> list[Any]:
    """Await a call for each set of arguments, some of them at the same time; errors are returned."""
    import asyncio

    free = asyncio.Semaphore(AT_ONCE)

    async def one(args: tuple[Any, ...]) -> Any:
        async with free:
            return await method(*args)

    return list(await asyncio.gather(*[one(args) for args in calls], return_exceptions=True))


def _is_missing(error: BaseException) -> bool:
    return isinstance(error, FileNotFoundError)


def _version(data: bytes) -> tuple[int, int]:
    return len(data), zlib.crc32(data)


def _sha256(chunks: Iterable[bytes]) -> Any:
    import hashlib

    digest = hashlib.sha256()
    for chunk in chunks:
        digest.update(chunk)
    return digest


def _check(sha256: Any, digest: str, key: str) -> None:
    if digest and sha256.hexdigest() != digest:
        raise ObserverError(f"the bytes for {key} are not those that were announced: SHA-256 {digest} was told")


def chunks_of(stream: BinaryIO) -> Iterator[bytes]:
    """Yield what a stream holds."""
    return iter(lambda: stream.read(_CHUNK), b"")
