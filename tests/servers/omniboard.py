"""Omniboard, the web page that many look at their Sacred runs with."""

from __future__ import annotations

import os
import shutil

from tests.servers import installing
from tests.servers.processes import Server, answers

_PACKAGE = "omniboard@2.16.1"


class Omniboard(Server):
    """An Omniboard of a MongoDB database, named by `mongo_url`; ``URL/api/v1/Runs`` is its view of the runs."""

    name = "omniboard"
    variable = "OMNIBOARD_URL"

    def __init__(self, mongo_url: str = "mongodb://127.0.0.1:27017/sacred", **common):
        super().__init__(**common)
        self.mongo_url = mongo_url

    @classmethod
    def missing(cls) -> str | None:
        there = shutil.which("node") and installing.is_installed("omniboard", _PACKAGE)
        return None if there else "Omniboard is not installed"

    @property
    def url(self) -> str:
        """The page of the database; its interface lies below ``/api/v1/``."""
        return self.given or f"http://127.0.0.1:{self.port}/sacred"

    def command(self) -> list[str]:
        program = os.path.join(installing.place("omniboard"), "node_modules", ".bin", "omniboard")
        return [shutil.which("node") or "", program, "--mu", self.mongo_url]

    def environment(self) -> dict[str, str]:
        return {**super().environment(), "PORT": str(self.port), "NODE_ENV": "production"}

    def is_ready(self) -> bool:
        return answers(self.port)


def install() -> None:
    if installing.is_installed("omniboard", _PACKAGE):
        return
    if not shutil.which("npm"):
        installing.install_packages(["nodejs", "npm"])
    with installing.fresh_place("omniboard", _PACKAGE) as folder:
        # its install scripts only ask for donations
        options = ["--omit=dev", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"]
        installing.run("npm", "install", "--prefix", folder, *options, _PACKAGE)
