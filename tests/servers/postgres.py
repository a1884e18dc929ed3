"""PostgreSQL."""

from __future__ import annotations

import glob
import os
import shutil
import signal
import subprocess

from tests.servers import installing
from tests.servers.processes import DatabaseServer, answers, make_certificate, owned_by, write_private


class Postgres(DatabaseServer):
    """A ``postgres``; everyone logs in by password.

    Parameters
    ----------
    fsync : bool
        Whether what was committed outlives a power failure; not needed to outlive `kill`.
    tls : bool
        Refuse connections without TLS; `url` names the certificate.
    """

    name = "postgres"
    variable = "POSTGRES_URL"
    drivers = ("psycopg",)

    def __init__(self, *, fsync: bool = True, tls: bool = False, **common):
        super().__init__(**common)
        self.fsync, self.tls = fsync, tls

    @classmethod
    def missing(cls) -> str | None:
        return None if programs() else "PostgreSQL is not installed"

    def own_url(self, login: str, database: str) -> str:
        tls = f"?sslmode=verify-full&sslrootcert={self.path('certificate.pem')}" if self.tls else ""
        return f"postgresql+psycopg://{login}127.0.0.1:{self.port}/{database}{tls}"

    def user(self) -> str | None:
        return account()

    def prepare(self) -> None:
        write_private(self.path("password"), self.password)
        if self.tls:
            make_certificate(self.folder)
        owned_by(self.folder, account())
        command = [os.path.join(programs() or "", "initdb"), "-D", self.path("data"), "-U", self.user_name]
        command += ["--pwfile", self.path("password"), "--auth=scram-sha-256"]
        command += ["--encoding=UTF8", "--no-locale", "--no-sync"]
        self.run_as_user(command)
        if self.tls:
            with open(self.path("data/pg_hba.conf"), "w", encoding="utf-8") as rules:
                rules.write("hostssl all all 127.0.0.1/32 scram-sha-256\n")

    def command(self) -> list[str]:
        settings = {
            "port": self.port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "max_connections": 300,
            "shared_buffers": "32MB",
            "max_wal_size": "256MB",
        }
        if not self.fsync:
            settings.update(fsync="off", full_page_writes="off")
        if self.tls:
            settings.update(ssl="on", ssl_cert_file=self.path("certificate.pem"), ssl_key_file=self.path("key.pem"))
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        return [os.path.join(programs() or "", "postgres"), "-D", self.path("data"), *options]

    def ask_to_stop(self, process: subprocess.Popen) -> None:
        process.send_signal(signal.SIGINT)  # SIGTERM would wait for clients to leave

    def is_ready(self) -> bool:
        """It accepts connections while it still recovers, and refuses them then."""
        import psycopg

        if not answers(self.port):
            return False
        try:
            self._connect("postgres").close()
        except psycopg.OperationalError:
            return False
        return True

    def set_up(self) -> None:
        self.create("runs")
        with self._connect("postgres") as connection:
            connection.execute(f"CREATE ROLE {self.reader_name} LOGIN PASSWORD '{self.password}'")
            connection.execute(f"GRANT pg_read_all_data TO {self.reader_name}")

    def create(self, database: str) -> None:
        """Make an empty database."""
        with self._connect("postgres") as connection:
            connection.execute(f'CREATE DATABASE "{database}" TEMPLATE template0')

    def drop(self, database: str) -> None:
        """Remove a database, whoever still uses it."""
        with self._connect("postgres") as connection:
            connection.execute(f'DROP DATABASE IF EXISTS "{database}" WITH (FORCE)')

    def _connect(self, database: str):
        import psycopg

        url = self.url_of(database).replace("postgresql+psycopg:", "postgresql:", 1)
        return psycopg.connect(url, autocommit=True)


def programs() -> str | None:
    """The folder with ``postgres`` and ``initdb``: of Debian's newest version, or on the search path."""
    packaged = glob.glob("/usr/lib/postgresql/*/bin/initdb")
    if packaged:
        return os.path.dirname(max(packaged, key=lambda path: int(path.split(os.sep)[-3])))
    found = shutil.which("initdb")
    return os.path.dirname(os.path.realpath(found)) if found else None


def account() -> str | None:
    """The account to run under: it refuses root."""
    return "postgres" if os.geteuid() == 0 else None


def install() -> None:
    if programs() is None:
        installing.install_packages(["postgresql"])
