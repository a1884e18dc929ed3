"""S3, as moto plays it."""

from __future__ import annotations

import os
import urllib.parse

from tests.servers import installing
from tests.servers.processes import Server

# without moto's extra `server`, which brings what other services than S3 need
_REQUIREMENTS = ["moto[s3]==5.2.5", "flask", "flask-cors"]


class S3(Server):
    """An S3 service that keeps its objects over a restart; their times begin anew then.

    A client finds it by the environment: set what `client_environment` says (the fixture ``s3_url`` does), or give
    `client_options` to s3fs. `given` is the endpoint with the credentials: ``http://KEY:SECRET@HOST:PORT``.
    """

    name = "s3"
    variable = "S3_URL"
    drivers = ("s3fs",)
    key, secret = "AKIATESTWRITER", "s3cret/wr+ter"
    read_only_key = "AKIATESTREADER"

    @classmethod
    def missing(cls) -> str | None:
        return None if installing.is_installed("moto", " ".join(_REQUIREMENTS)) else "moto is not installed"

    @property
    def url(self) -> str:
        """The folder ``runs`` in the bucket ``runs``."""
        return self.url_of("runs")

    def url_of(self, bucket: str) -> str:
        return f"s3://{bucket}/runs"

    @property
    def endpoint(self) -> str:
        """Where the service answers, without credentials."""
        if self.given is not None:
            parts = urllib.parse.urlsplit(self.given)
            return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        return f"http://127.0.0.1:{self.port}"

    @property
    def client_environment(self) -> dict[str, str]:
        """Environment variables by which a client finds and enters this service."""
        key, secret = self._credentials()
        return {
            "AWS_ACCESS_KEY_ID": key,
            "AWS_SECRET_ACCESS_KEY": secret,
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",  # or a client without credentials asks the network for some
        }

    @property
    def wrong_environment(self) -> dict[str, str]:
        """`client_environment` with a key that is refused."""
        return {**self.client_environment, "AWS_ACCESS_KEY_ID": "AKIATESTNOBODY"}

    @property
    def read_only_environment(self) -> dict[str, str]:
        """`client_environment` of one who may read everything and write nothing."""
        return {**self.client_environment, "AWS_ACCESS_KEY_ID": self.read_only_key}

    @property
    def client_options(self) -> dict:
        """What s3fs is told instead of the environment."""
        key, secret = self._credentials()
        return {"key": key, "secret": secret, "client_kwargs": {"endpoint_url": self.endpoint}}

    def command(self) -> list[str]:
        python = os.path.join(installing.place("moto"), "bin", "python")
        app = os.path.join(os.path.dirname(os.path.abspath(__file__)), "s3_app.py")
        return [python, "-E", app, str(self.port), self.path("journal"), self.key, self.read_only_key]

    def set_up(self) -> None:
        self.create("runs")

    def create(self, bucket: str) -> None:
        """Make an empty bucket."""
        self._client().mkdir(bucket)

    def drop(self, bucket: str) -> None:
        """Remove a bucket and what is in it."""
        self._client().rm(bucket, recursive=True)

    def _client(self):
        import s3fs

        return s3fs.S3FileSystem(skip_instance_cache=True, use_listings_cache=False, **self.client_options)

    def _credentials(self) -> tuple[str, str]:
        if self.given is None:
            return self.key, self.secret
        parts = urllib.parse.urlsplit(self.given)
        return urllib.parse.unquote(parts.username or ""), urllib.parse.unquote(parts.password or "")


def install() -> None:
    origin = " ".join(_REQUIREMENTS)
    if not installing.is_installed("moto", origin):
        with installing.fresh_place("moto", origin) as folder:
            installing.make_environment(folder, _REQUIREMENTS)
