"""An SSH server that serves files: OpenSSH's, from Debian."""

from __future__ import annotations

import getpass
import os
import shutil
import subprocess

from tests.servers import installing
from tests.servers.processes import Server, answers

_CONFIGURATION = """
ListenAddress 127.0.0.1
Port {port}
HostKey {folder}/host_key
PidFile none
AuthorizedKeysFile {folder}/home/.ssh/id_ed25519.pub
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
StrictModes no
UsePAM no
Subsystem sftp internal-sftp
MaxStartups 100
"""


class SSH(Server):
    """An ``sshd`` into which the account of the tests logs in, by a key made for it.

    `home` is a home folder with that key, and with the server's own key as a known host.
    """

    name = "ssh"
    variable = "SSH_URL"

    @classmethod
    def missing(cls) -> str | None:
        return None if program() and shutil.which("ssh-keygen") else "sshd is not installed"

    @property
    def home(self) -> str:
        return self.path("home")

    @property
    def url(self) -> str:
        return self.url_of("runs")

    def url_of(self, folder: str) -> str:
        return f"sftp://{getpass.getuser()}@127.0.0.1:{self.port}{self.path(folder)}"

    def prepare(self) -> None:
        keys = os.path.join(self.home, ".ssh")
        os.makedirs(keys, mode=0o700)
        for path in (self.path("host_key"), os.path.join(keys, "id_ed25519")):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
        with open(self.path("host_key.pub"), encoding="ascii") as stream:
            kind, key, *_ = stream.read().split()
        with open(os.path.join(keys, "known_hosts"), "w", encoding="ascii") as stream:
            stream.write(f"[127.0.0.1]:{self.port} {kind} {key}\n")
        with open(self.path("sshd_config"), "w", encoding="utf-8") as stream:
            stream.write(_CONFIGURATION.format(port=self.port, folder=self.folder))
        if os.geteuid() == 0:
            os.makedirs("/run/sshd", mode=0o755, exist_ok=True)

    def command(self) -> list[str]:
        return [program() or "", "-D", "-e", "-f", self.path("sshd_config")]

    def is_ready(self) -> bool:
        return answers(self.port)


def program() -> str | None:
    """The path of ``sshd``, which has to be absolute; Debian puts it where only root looks."""
    return shutil.which("sshd", path=os.environ.get("PATH", "") + os.pathsep + "/usr/sbin")


def install() -> None:
    if SSH.missing():
        installing.install_packages(["openssh-server"])
