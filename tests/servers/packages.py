"""Packages from PyPI that use this library or its records, each in a virtual environment of its own: their pins must not reach ours."""

from __future__ import annotations

import configparser
import glob
import os

from tests.servers import ROOT, installing

#: name -> what pip installs, beside what this library needs
PACKAGES = {
    "seml": ["--no-binary=gitignore-parser", "seml==0.5.7"],  # brings Sacred itself; that package has no wheels
    "sacred": [  # to write records as it does, and what reads them
        *(
            "--no-binary=incense,hashfs,sacred",
            "sacred==0.8.7",
            "setuptools<81",
            "numpy<3",
            "incense==0.0.15",
            "pymongo>=4.6,<5",
            "SQLAlchemy>=2,<3",
        ),
        *("tinydb>=4.8,<5", "tinydb-serialization>=2.1,<3", "hashfs>=0.7.2", "boto3>=1.34,<2"),
    ],
    "wandb": ["wandb==0.31.0", "numpy<3"],
    "formats": ["roc-validator==0.13.0", "rocrate==0.16.0", "pydot==4.0.1"],  # to judge what is written for others
}


def install(name: str) -> None:
    """Make the environment of a package, once."""
    if not is_installed(name):
        with installing.fresh_place(name, _origin(name)) as folder:
            installing.make_environment(folder, [*PACKAGES[name], *_needed()])
    _link_library(installing.place(name))


def is_installed(name: str) -> bool:
    return installing.is_installed(name, _origin(name))


def python(name: str) -> str:
    """Return the interpreter of a package's environment; the library is importable there, as it is now."""
    folder = installing.place(name)
    _link_library(folder)
    return os.path.join(folder, "bin", "python")


def _origin(name: str) -> str:
    return " ".join([*PACKAGES[name], *_needed()])


def _needed() -> list[str]:
    """Return what this library needs, with the interpreter's own version decided by pip."""
    config = configparser.ConfigParser()
    config.read(os.path.join(ROOT, "setup.cfg"), encoding="utf-8")
    lines = config["options"]["install_requires"].splitlines()
    return [line.strip() for line in lines if line.strip() and not line.strip().startswith("#")]


def _link_library(folder: str) -> None:
    """Show the checkout in an environment as it would be installed: ``observers/`` is ``capture.observers`` there."""
    library = os.path.join(folder, "library")
    package = os.path.join(library, "capture")
    os.makedirs(package, exist_ok=True)
    sources = {entry.name: entry.path for entry in os.scandir(os.path.join(ROOT, "capture"))}
    sources["observers"] = os.path.join(ROOT, "observers")
    for name, source in sources.items():
        link = os.path.join(package, name)
        if name != "__pycache__" and not os.path.lexists(link):
            try:
                os.symlink(source, link)
            except FileExistsError:
                pass  # another process was faster
    for name in os.listdir(package):
        if name not in sources and name != "__pycache__":
            os.remove(os.path.join(package, name))
    (site,) = glob.glob(os.path.join(folder, "lib", "python3*", "site-packages"))
    with open(os.path.join(site, "checkout.pth"), "w", encoding="utf-8") as stream:
        stream.write(library + "\n")
