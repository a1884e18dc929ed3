"""A server as a process: started on loopback, killed, frozen and started again on the same data and port."""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse
from typing import Any

import psutil

from tests.servers import ROOT

_POLL_S = 0.02
_SETTLE_S = 10


class ServerFailed(RuntimeError):
    """A server did not do what it was told; the end of its log is in the message."""


class Server:
    """One server with a data folder and a port of its own, which it keeps until `remove`.

    Subclasses give `command` and, where needed, `prepare` (before the first start), `is_ready` (asked until it says yes)
    and `set_up` (after the first start). `missing` says what has to be installed first.

    Parameters
    ----------
    given : str, optional
        URL of a server that somebody else runs. It is used as it is; it cannot be started, stopped or hurt.
    disk_mib : int, optional
        Keep the data on a disk of this size, which can be filled. Needs root on Linux; see `small_disks_missing`.
    """

    name = ""  #: as in ``python -m tests.servers install NAME``
    variable = ""  #: environment variable with the URL of a server to use instead
    drivers: tuple[str, ...] = ()  #: modules that `set_up` and the fixtures talk to it with
    start_s = 180.0  #: generous: the machine may be busy with other tests

    def __init__(self, *, given: str | None = None, disk_mib: int | None = None):
        self.given = given
        self.process: subprocess.Popen | None = None
        self.port = 0
        self.folder = ""
        self.is_set_up = False
        self._paused = False
        self._disk = False
        if given is None:
            self.port = free_port()
            self.folder = tempfile.mkdtemp(prefix=f"capture-{self.name}-")
            GUARDIAN.tell("folder", self.folder)
            if disk_mib is not None:
                size = ["-o", f"size={disk_mib}m,mode=700"]
                subprocess.run(["mount", "-t", "tmpfs", *size, "tmpfs", self.folder], check=True)
                self._disk = True

    # what a subclass fills in

    @classmethod
    def missing(cls) -> str | None:
        """Say what has to be installed before this server can be started; None where nothing has."""
        raise NotImplementedError

    @property
    def url(self) -> str:
        """The URL that a store or a client is given."""
        raise NotImplementedError

    def command(self) -> list[str]:
        """The command line; the server must stay in the foreground."""
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        return dict(os.environ)

    def user(self) -> str | None:
        """Name of the account to run under; None for the one of the tests."""
        return None

    def prepare(self) -> None:
        """Make what must be there before the first start."""

    def is_ready(self) -> bool:
        return answers(self.port)

    def set_up(self) -> None:
        """Finish the first start: users, replica sets."""

    # what tests do with it

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def start(self):
        """Start, or start again after `stop` or `kill`; returns when the server serves, with itself.

        Raises
        ------
        ServerFailed
            If it ends, or has not answered after `start_s` seconds.
        """
        if self.given is not None or self.running:
            return self
        if not self.is_set_up:
            self.prepare()
        account = self.user()
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                self.command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                env=self.environment(),
                start_new_session=True,
                **account_options(account),
            )
        GUARDIAN.tell("watch", str(self.process.pid))
        self.wait_until(self.is_ready)
        if not self.is_set_up:
            self.set_up()
            self.is_set_up = True
        return self

    def stop(self) -> None:
        """Ask the server to end, and wait; one that does not listen is killed."""
        process = self._own_process()
        if self._paused:
            self.resume()
        self.ask_to_stop(process)
        try:
            process.wait(_SETTLE_S)
        except subprocess.TimeoutExpired:
            pass
        self.kill()

    def ask_to_stop(self, process: subprocess.Popen) -> None:
        process.terminate()

    def kill(self) -> None:
        """End the server and its children at once, as a power failure of its machine would (SIGKILL)."""
        process = self._own_process()
        kill_tree(process.pid)
        process.wait(_SETTLE_S)
        GUARDIAN.tell("forget", str(process.pid))
        self._paused = False

    def pause(self) -> None:
        """Freeze the server: connections stay open, and nobody answers (SIGSTOP); returns when that is so."""
        pid = self._own_process().pid
        signal_tree(pid, signal.SIGSTOP)
        self._paused = True
        self.wait_until(lambda: all(is_frozen(process) for process in tree(pid)))

    def resume(self) -> None:
        """Let a frozen server go on (SIGCONT)."""
        signal_tree(self._own_process().pid, signal.SIGCONT)
        self._paused = False

    def remove(self) -> None:
        """End the server and remove its data."""
        if self.given is not None or not self.folder:
            return
        if self.process is not None:
            self.kill()
        remove_folder(self.folder)
        GUARDIAN.tell("removed", self.folder)
        self.folder = ""

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.remove()

    # helpers

    def path(self, name: str) -> str:
        """The path of a file in the data folder."""
        return os.path.join(self.folder, name)

    @property
    def log_path(self) -> str:
        return os.path.join(self.folder, "server.log")

    def log_end(self, lines: int = 20) -> str:
        """The last lines of what the server wrote."""
        with open(self.log_path, encoding="utf-8", errors="replace") as log:
            return "".join(log.readlines()[-lines:])

    def run_as_user(self, command: list[str]) -> None:
        """Run a command that ends by itself, as the server's account, into the server's log."""
        account = self.user()
        with open(self.log_path, "ab") as log:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                check=False,
                **account_options(account),
            )
        if done.returncode != 0:
            raise ServerFailed(f"{command[0]} ended with status {done.returncode}:\n{self.log_end()}")

    def wait_until(self, condition) -> None:
        """Ask `condition` until it says yes, as long as the server runs."""
        deadline = time.monotonic() + self.start_s
        while not condition():
            if not self.running:
                status = None if self.process is None else self.process.returncode
                raise ServerFailed(f"{self.name} ended with status {status}:\n{self.log_end()}")
            if time.monotonic() > deadline:
                raise ServerFailed(f"{self.name} does not answer after {self.start_s:.0f} s:\n{self.log_end()}")
            time.sleep(_POLL_S)

    def _own_process(self) -> subprocess.Popen:
        if self.given is not None:
            raise ServerFailed(f"{self.name} was given by {self.variable}: it is not ours to stop")
        if self.process is None:
            raise ServerFailed(f"{self.name} was never started")
        return self.process


class DatabaseServer(Server):
    """A server with databases and users, one of whom may do everything, and one only read."""

    user_name, password = "writer", "s3cret/wr:ter"  # characters that must be quoted in a URL
    reader_name = "reader"

    @property
    def url(self) -> str:
        """A database named ``runs``, with credentials where they are needed."""
        return self.url_of("runs")

    @property
    def wrong_url(self) -> str:
        """`url` with a wrong password."""
        return self.url_of("runs", password="wr0ng")

    @property
    def read_only_url(self) -> str:
        """`url` of a user who may read everything and write nothing."""
        return self.url_of("runs", user=self.reader_name)

    def url_of(self, database: str, user: str | None = None, password: str | None = None) -> str:
        """The URL of a database of this server."""
        if self.given is not None:
            parts = urllib.parse.urlsplit(self.given)
            return urllib.parse.urlunsplit(parts._replace(path=f"/{database}"))
        login = f"{user or self.user_name}:{urllib.parse.quote(password or self.password, safe='')}@"
        return self.own_url(login, database)

    def own_url(self, login: str, database: str) -> str:
        """`url_of`, of a server of ours; `login` ends in an @."""
        raise NotImplementedError


class Guardian:
    """Ends what this process started, also when it is itself killed: `tests.servers.guardian`, beside it.

    A signal at a parent's death (PR_SET_PDEATHSIG) would be simpler, but it comes when the *thread* ends that started
    the server, and is lost where the server changes its account.
    """

    def __init__(self):
        self._process: subprocess.Popen | None = None

    def tell(self, *words: str) -> None:
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.servers.guardian"],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                text=True,
                start_new_session=True,  # Ctrl-C is for the tests
            )
        assert self._process.stdin is not None
        self._process.stdin.write("\t".join(words) + "\n")
        self._process.stdin.flush()


GUARDIAN = Guardian()


def tree(pid: int) -> list[psutil.Process]:
    """The process and all its descendants, parents first; empty if it is gone."""
    try:
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def signal_tree(pid: int, number: int) -> None:
    """Send a signal to a process and its descendants; parents come first, so that a stopped one starts no more."""
    for process in tree(pid)[:1]:
        send(process, number)
    for process in tree(pid)[1:]:  # looked for again: those that the first had started meanwhile
        send(process, number)


def send(process: psutil.Process, number: int) -> None:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        pass  # it ended by itself


def kill_tree(pid: int) -> None:
    """Kill a process that leads a session, with its descendants, and wait until all are gone."""
    signal_tree(pid, signal.SIGSTOP)
    processes = tree(pid)
    for process in processes:
        send(process, signal.SIGKILL)
    try:
        os.killpg(pid, signal.SIGKILL)  # children whose parent had ended before
    except ProcessLookupError:
        pass
    deadline = time.monotonic() + _SETTLE_S
    while not all(is_gone(process) for process in processes):
        if time.monotonic() > deadline:
            raise ServerFailed(f"processes {[process.pid for process in processes]} outlive SIGKILL")
        time.sleep(_POLL_S)


def is_frozen(process: psutil.Process) -> bool:
    try:
        return process.status() in (psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def is_gone(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def remove_folder(path: str) -> None:
    """Remove a data folder, and the small disk that may be mounted there."""
    if os.path.ismount(path):
        subprocess.run(["umount", "--lazy", path], check=True)
    shutil.rmtree(path, ignore_errors=True)


def free_port() -> int:
    """A port of loopback that nobody uses.

    It lies below those which the system hands to outgoing connections, so that nobody gets it while a server is down.
    """
    for port in random.SystemRandom().sample(range(10_240, 32_000), 200):
        with socket.socket() as candidate:
            try:
                candidate.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise ServerFailed("no free port between 10240 and 32000")


def answers(port: int) -> bool:
    """Say whether somebody accepts connections at this port of loopback."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False


def write_private(path: str, text: str) -> None:
    """Write a file that nobody else may read; servers refuse keys that others could."""
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(text)


def make_certificate(folder: str) -> None:
    """Make ``certificate.pem`` for 127.0.0.1, its ``key.pem``, and ``server.pem`` with both."""
    certificate, key = os.path.join(folder, "certificate.pem"), os.path.join(folder, "key.pem")
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate]
    subprocess.run(command, check=True, capture_output=True)
    parts = []
    for path in (key, certificate):
        with open(path, encoding="utf-8") as file:
            parts.append(file.read())
    write_private(os.path.join(folder, "server.pem"), "".join(parts))


def account_options(account: str | None) -> dict[str, Any]:
    """What `subprocess` is told to run something under another account."""
    if account is None:
        return {}
    import pwd

    return {"user": account, "group": pwd.getpwnam(account).pw_gid, "extra_groups": []}


def owned_by(folder: str, account: str | None) -> None:
    """Give a folder and what lies in it to another account."""
    if account is not None:
        for path in [folder, *(os.path.join(folder, name) for name in os.listdir(folder))]:
            shutil.chown(path, account, account)


def small_disks_missing() -> str | None:
    """Say why `disk_mib` cannot be used here; None where it can."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0 or not sys.platform.startswith("linux"):
        return "a small disk is a tmpfs, which only root on Linux can mount"
    folder = tempfile.mkdtemp(prefix="capture-disk-")
    tried = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True, text=True, check=False
    )
    remove_folder(folder)
    return None if tried.returncode == 0 else f"no tmpfs can be mounted here: {tried.stderr.strip()}"
