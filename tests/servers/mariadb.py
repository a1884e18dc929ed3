"""MariaDB."""

from __future__ import annotations

import os
import shutil
import urllib.parse

from tests.servers import installing
from tests.servers.processes import DatabaseServer, answers, make_certificate


class MariaDB(DatabaseServer):
    """A ``mariadbd``; everyone logs in by password.

    Parameters
    ----------
    fsync : bool
        Whether what was committed outlives a power failure; not needed to outlive `kill`.
    tls : bool
        Refuse connections without TLS; `url` names the certificate.
    """

    name = "mariadb"
    variable = "MARIADB_URL"
    drivers = ("pymysql",)

    def __init__(self, *, fsync: bool = True, tls: bool = False, **common):
        super().__init__(**common)
        self.fsync, self.tls = fsync, tls

    @classmethod
    def missing(cls) -> str | None:
        needed = [program(), shutil.which("mariadb-install-db"), shutil.which("my_print_defaults")]
        return None if all(needed) else "MariaDB is not installed"

    def own_url(self, login: str, database: str) -> str:
        tls = f"?ssl_ca={self.path('certificate.pem')}" if self.tls else ""
        return f"mysql+pymysql://{login}127.0.0.1:{self.port}/{database}{tls}"

    def prepare(self) -> None:
        if self.tls:
            make_certificate(self.folder)
        command = [shutil.which("mariadb-install-db") or "", "--no-defaults", *self._user_option()]
        command += [f"--datadir={self.path('data')}", "--skip-test-db", "--auth-root-authentication-method=normal"]
        self.run_as_user(command)

    def command(self) -> list[str]:
        command = [program() or "", "--no-defaults", *self._user_option(), f"--datadir={self.path('data')}"]
        command += [f"--port={self.port}", "--bind-address=127.0.0.1", f"--socket={self.path('socket')}"]
        command += ["--skip-name-resolve", "--max-connections=300", "--performance-schema=OFF"]
        command += ["--innodb-buffer-pool-size=32M", "--innodb-log-file-size=16M"]
        # a server that starts deletes what others, too, have put under certain names into its folder for temporary files
        command += ["--max-allowed-packet=64M", f"--tmpdir={self.path('data')}"]
        if not self.fsync:
            command += ["--innodb-flush-log-at-trx-commit=2", "--innodb-flush-method=nosync"]
        if self.tls:
            command += ["--require-secure-transport=ON", f"--ssl-cert={self.path('certificate.pem')}"]
            command += [f"--ssl-key={self.path('key.pem')}"]
        return command

    def is_ready(self) -> bool:
        """It listens after it has recovered."""
        return answers(self.port)

    def set_up(self) -> None:
        import pymysql

        with pymysql.connect(unix_socket=self.path("socket"), user="root") as connection:
            with connection.cursor() as cursor:
                for name, rights in [(self.user_name, "ALL"), (self.reader_name, "SELECT")]:
                    cursor.execute(f"CREATE USER '{name}'@'%%' IDENTIFIED BY %s", (self.password,))
                    cursor.execute(f"GRANT {rights} ON *.* TO '{name}'@'%'")
        self.create("runs")

    def create(self, database: str) -> None:
        """Make an empty database."""
        self._execute(f"CREATE DATABASE `{database}` CHARACTER SET utf8mb4")

    def drop(self, database: str) -> None:
        """Remove a database."""
        self._execute(f"DROP DATABASE IF EXISTS `{database}`")

    def _execute(self, statement: str) -> None:
        import pymysql

        parts = urllib.parse.urlsplit(self.given or self.url)
        with pymysql.connect(
            host=parts.hostname,
            port=parts.port or 3306,
            user=urllib.parse.unquote(parts.username or ""),
            password=urllib.parse.unquote(parts.password or ""),
            ssl={"ca": self.path("certificate.pem")} if self.tls else None,
        ) as connection:
            with connection.cursor() as cursor:
                cursor.execute(statement)

    def _user_option(self) -> list[str]:
        """It runs as root only where that is said aloud."""
        return ["--user=root"] if os.geteuid() == 0 else []


def program() -> str | None:
    """The path of ``mariadbd``; Debian puts it where only root looks."""
    return shutil.which("mariadbd", path=os.environ.get("PATH", "") + os.pathsep + "/usr/sbin")


def install() -> None:
    if MariaDB.missing():
        # without the services and questions of mariadb-server
        installing.install_packages(["mariadb-server-core", "mariadb-client-core"])
