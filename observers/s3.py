"""Runs in a bucket of S3: Sacred's `S3Observer`, as a folder elsewhere (see `capture.observers.remote`)."""

from __future__ import annotations

import os

from capture.errors import ObserverError
from capture.observers._remote_store import split_endpoint
from capture.observers.remote import RemoteFolderObserver

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any


class BucketNameError(ObserverError, ValueError):
    """A name that no bucket can have, or no URL of a bucket.

    Attributes
    ----------
    name : str
    """

    def __init__(self, name: str, possible: str) -> None:
        what = "bucket and path" if "/" in possible else "bucket"
        super().__init__(f"{name!r} names no {what}.\n  possible:  {possible}", print_traceback=False)
        self.name = name


class BucketObserver(RemoteFolderObserver):
    """What the observers of Sacred that write into buckets have in common."""

    scheme = ""
    bucket: str
    basedir: str  #: path in the bucket
    makes_bucket = False  #: whether the first run makes a bucket that is missing

    def __init__(
        self,
        bucket: str,
        basedir: str,
        resource_dir: str | None = None,
        source_dir: str | None = None,
        priority: float = 20,
        storage_options: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> None:
        if not _is_bucket(bucket):
            raise BucketNameError(bucket, "3 to 63 lower-case letters, digits, dots and hyphens, as in my-lab.runs")
        self.bucket, self.basedir = bucket, basedir.strip("/")
        url = f"{self.scheme}://{bucket}/{self.basedir}".rstrip("/")
        places = [None if place is None else f"/{bucket}/{place.strip('/')}" for place in (resource_dir, source_dir)]
        super().__init__(url, storage_options, places[0], places[1], priority, **more)

    @classmethod
    def from_url(cls, url: str, **options: Any) -> BucketObserver:
        """Make an observer from ``scheme://bucket/path``; its bucket has to exist."""
        place, more = split_endpoint(url, options.pop("storage_options", None))
        _, separator, rest = place.partition("://")
        bucket, _, path = rest.partition("/")
        if not separator or not bucket:
            raise BucketNameError(url, f"{cls.scheme}://BUCKET/PATH")
        observer = cls(bucket, path, storage_options=more, **options)
        observer.makes_bucket = False  # a URL may be misspelt
        return observer

    @classmethod
    def from_argument(cls, text: str) -> BucketObserver:
        """Make an observer from what is given on the command line: ``scheme://BUCKET/PATH``."""
        place, options = split_endpoint(text)
        scheme, separator, rest = place.partition("://")
        bucket, _, path = rest.partition("/")
        if scheme != cls.scheme or not bucket or not path.strip("/"):
            form = f"{cls.scheme}://BUCKET/PATH"
            raise BucketNameError(text, form if separator else f"{form}, as in {cls.scheme}://my-lab/runs")
        return cls(bucket, path, storage_options=options)

    def save_directory(self, source_dir: str | os.PathLike[str], target_name: str) -> None:
        """Copy a folder of this machine into the bucket, to the path `target_name`; "": to its own name."""
        from capture.observers._writing import opener

        source, files = os.fspath(source_dir), self._open_store().files
        target = target_name.strip("/") or os.path.basename(os.path.abspath(source))
        for name in _files_below(source):
            path = os.path.join(source, *name.split("/"))
            files.upload(f"/{self.bucket}/{target}/{name}", opener(path), os.path.getsize(path))


class S3Observer(BucketObserver):
    """Writes runs into a bucket of S3, in the layout of the file store.

    Parameters
    ----------
    bucket : str
        Made when the first run starts, if there is none. (One that a URL names, as in ``-o s3://bucket/runs``, has to
        exist.)
    basedir : str
        Path in the bucket.
    resource_dir, source_dir : str, optional
        Paths in the bucket where files that runs share are kept; ``_resources`` and ``_sources`` below `basedir`.
    priority : float
    region : str, optional
        Where the bucket is, or is made; default: what the environment says.
    storage_options : mapping, optional
        More for `s3fs.S3FileSystem`: ``endpoint_url``, ``profile``, ``key``, ``secret`` ... Credentials are better
        left where boto looks for them.
    metrics_json_limit : int, optional
        As in `RemoteFolderObserver`.

    Raises
    ------
    BucketNameError
        If no bucket can have that name (also a ValueError).
    ObserverError
        If s3fs is missing: ``pip install 'experiment-capture[s3]'``.
    """

    VERSION = "S3Observer-0.1.0"  #: Sacred's name of the layout
    scheme = "s3"
    makes_bucket = True  #: as Sacred does; not for an observer that is made from a URL

    def __init__(
        self,
        bucket: str,
        basedir: str,
        resource_dir: str | None = None,
        source_dir: str | None = None,
        priority: float = 20,
        region: str | None = None,
        storage_options: Mapping[str, Any] | None = None,
        metrics_json_limit: int | None = None,
    ) -> None:
        self.region = region
        options = dict(storage_options or {})
        if region is not None:
            options["client_kwargs"] = {"region_name": region, **options.get("client_kwargs", {})}
        super().__init__(
            bucket, basedir, resource_dir, source_dir, priority, options, metrics_json_limit=metrics_json_limit
        )

    def _bucket_maker(self) -> Any:
        return (lambda store: store.files.make_bucket()) if self.makes_bucket else None


def _files_below(folder: str) -> Iterator[str]:
    """Yield the paths of the files below a folder, with "/"."""
    for path, _, names in os.walk(folder):
        for name in sorted(names):
            yield os.path.relpath(os.path.join(path, name), folder).replace(os.sep, "/")


def _is_bucket(name: str) -> bool:
    plain = name.replace("-", "a").replace(".", "a")
    return (
        3 <= len(name) <= 63
        and plain.isascii()
        and plain.isalnum()
        and name == name.lower()
        and name[0].isalnum()
        and name[-1].isalnum()
        and ".." not in name
        and not name.replace(".", "").isdigit()
    )
