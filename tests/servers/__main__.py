"""``python -m tests.servers``: install the servers that the tests use, or run one by hand."""

from __future__ import annotations

import argparse
import concurrent.futures
import importlib
import sys
import time

from tests.servers import NAMES, installing, packages

#: what can be installed: servers, packages that use the library, shells that complete its commands, a browser for its pages
KNOWN = [*NAMES, *packages.PACKAGES, "shells", "chromium"]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.servers", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    install_parser = commands.add_parser("install", help="install the software of these servers, or of all")
    install_parser.add_argument("names", nargs="*", type=known_name, metavar="NAME", help=", ".join(KNOWN))
    run_parser = commands.add_parser("run", help="run a server until Ctrl-C, and print its URL")
    run_parser.add_argument("name", choices=NAMES)
    arguments = parser.parse_args()
    if arguments.command == "install":
        return install(arguments.names or KNOWN)
    return run(arguments.name)


def known_name(text: str) -> str:
    """Refuse a misspelt name; argparse's own `choices` would refuse the empty list, too, before Python 3.12."""
    if text not in KNOWN:
        raise argparse.ArgumentTypeError(f"no server {text!r}; there are {', '.join(KNOWN)}")
    return text


def install(names: list[str]) -> int:
    """Install side by side; most of the time is spent waiting for downloads."""
    with concurrent.futures.ThreadPoolExecutor(len(names)) as pool:
        failures = [failure for failure in pool.map(install_one, names) if failure is not None]
    for failure in failures:
        print(failure, file=sys.stderr)
    return 1 if failures else 0


def install_one(name: str) -> str | None:
    """Install one; returns what went wrong."""
    start = time.monotonic()
    try:
        with installing.only_one(name):
            if name in packages.PACKAGES:
                packages.install(name)
            else:
                importlib.import_module(f"tests.servers.{name}").install()
    except installing.InstallFailed as error:
        return f"{name}: {error}"
    sys.stdout.write(f"{name} is installed ({time.monotonic() - start:.0f} s)\n")  # whole, unlike print's
    return None


def run(name: str) -> int:
    module = importlib.import_module(f"tests.servers.{name}")
    server_class = getattr(module, NAMES[name])
    missing = server_class.missing()
    if missing:
        print(missing, file=sys.stderr)
        return 1
    with server_class() as server:
        print(server.url, flush=True)
        try:
            server.process.wait()
        except KeyboardInterrupt:
            pass
    return 0


if __name__ == "__main__":
    sys.exit(main())
