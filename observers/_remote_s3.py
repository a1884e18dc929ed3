"""Files in a bucket of S3: fewer requests than s3fs makes by itself, and replacing in one step."""

from __future__ import annotations

import os

from capture.observers._remote_files import AT_ONCE, CONNECT_S, READ_S, Changed, Files, at_once, without_user

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any

_FIRST = "us-east-1"  #: the region that must not be named when a bucket is made
_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "FSSPEC_S3_ENDPOINT_URL")


class S3Files(Files):
    """The files below one folder of a bucket."""

    def _options(self) -> dict[str, Any]:
        patience = {
            "connect_timeout": CONNECT_S,
            "read_timeout": READ_S,
            "retries": {"max_attempts": 2, "mode": "standard"},
            "max_pool_connections": AT_ONCE,
        }
        given = dict(self.options)
        config = {**patience, **given.pop("config_kwargs", {})}
        client = dict(given.pop("client_kwargs", {}))
        endpoint = endpoint_of(self.options)  # said here, since fsspec keeps clients and does not look again
        if endpoint and "endpoint_url" not in given:
            client["endpoint_url"] = endpoint
        return {"use_listings_cache": False, "config_kwargs": config, "client_kwargs": client, **given}

    def _set_patience(self, fs: Any) -> None:
        fs.retries = 2  # s3fs tries again by itself, besides botocore; delivery does that, too, and says so

    def _run(self, function: Callable[..., Any], *args: Any) -> Any:
        from fsspec.asyn import sync

        try:
            return sync(self.fs.loop, function, self.fs, *args)
        except Exception as error:
            new = self._explained(error)
            if new is error:
                raise
            raise new from error

    def _place(self, key: str) -> tuple[str, str]:
        bucket, name, _ = self.fs.split_path(self.path(key))
        return bucket, name

    def read(self, key: str) -> bytes:
        return self.read_version(key)[0]

    def _read_each(self, keys: Sequence[str]) -> list[Any]:
        found = self._run(_get_each, [self._place(key) for key in keys])
        return [each if isinstance(each, BaseException) else each[0] for each in found]

    def read_version(self, key: str) -> tuple[bytes, Any]:
        return self._run(_get, *self._place(key))

    def size(self, key: str) -> int | None:
        try:
            return self._run(_head, *self._place(key))["ContentLength"]
        except FileNotFoundError:
            return None

    def _entries(self, path: str) -> Iterable[dict[str, Any]]:
        return self._run(_list, path)

    def make_bucket(self) -> None:
        region = self.fs.client_kwargs.get("region_name") or os.environ.get("AWS_DEFAULT_REGION")
        place = {"CreateBucketConfiguration": {"LocationConstraint": region}} if region not in (None, _FIRST) else {}
        try:
            self._run(_create_bucket, self.path("").partition("/")[0], place)
        except FileExistsError:  # another run made it just now
            pass

    def create(self, key: str, data: bytes) -> Any:
        if not self._refuses:
            return self._create_and_look(key, data)
        try:
            answer = self._call("pipe_file", self.path(key), data, mode="create")
        except FileExistsError:
            return self._own_version(key, data)
        return answer["ETag"] if isinstance(answer, dict) else self.read_version(key)[1]

    def _replace_known(self, key: str, data: bytes, version: Any) -> Any:
        if not self._refuses and self.read_version(key)[1] != version:
            raise Changed(key)
        try:
            answer = self._call("pipe_file", self.path(key), data, IfMatch=version)
        except FileNotFoundError as error:
            raise Changed(key) from error
        except OSError as error:
            if not _is_conflict(error):
                raise
            new = self._own_version(key, data)
            if new is None:
                raise Changed(key) from error
            return new
        return answer["ETag"] if isinstance(answer, dict) else self.read_version(key)[1]


async def _get(fs: Any, bucket: str, key: str) -> tuple[bytes, str]:
    answer = await fs._call_s3("get_object", Bucket=bucket, Key=key)
    async with answer["Body"] as body:
        return await body.read(), answer["ETag"]


async def _get_each(fs: Any, places: Sequence[tuple[str, str]]) -> list[Any]:
    return await at_once(_get, [(fs, *place) for place in places])


async def _create_bucket(fs: Any, bucket: str, place: dict[str, Any]) -> None:
    await fs._call_s3("create_bucket", Bucket=bucket, **place)


async def _head(fs: Any, bucket: str, key: str) -> Any:
    return await fs._call_s3("head_object", Bucket=bucket, Key=key)


async def _list(fs: Any, path: str) -> list[dict[str, Any]]:
    return await fs._lsdir(path, refresh=True)


def _is_conflict(error: OSError) -> bool:
    cause: Any = error.__cause__ or error
    code = str((getattr(cause, "response", None) or {}).get("Error", {}).get("Code", ""))
    return code in ("PreconditionFailed", "412", "ConditionalRequestConflict", "409")


def split_endpoint(url: str, options: Mapping[str, Any] | None) -> tuple[str, dict[str, Any]]:
    """Take ``?endpoint=...``, as the identity of a store ends, from a URL to the options of s3fs.

    The URL may say where S3 is, never who asks: credentials in it are left out.
    """
    plain, separator, endpoint = url.partition("?endpoint=")
    given = dict(options or {})
    if endpoint:
        given.setdefault("endpoint_url", without_user(endpoint))
    return (plain if separator else url), given


def endpoint_of(options: Mapping[str, Any]) -> str | None:
    """Return where S3 is asked if not at Amazon, from options of s3fs and from the environment."""
    given = options.get("endpoint_url") or (options.get("client_kwargs") or {}).get("endpoint_url")
    return given or next((os.environ[name] for name in _ENDPOINTS if os.environ.get(name)), None)
