"""The servers themselves: what other tests build upon when they kill, freeze and restart one."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.request

import psutil
import pytest

from tests.servers import ROOT, fixtures, installing
from tests.servers.processes import Server, ServerFailed, answers, small_disks_missing, tree


def mongo_keeps(server, write: bool):
    """Write a value or read it back, as each of these functions does with its server."""
    with server.client() as client:
        if write:
            from pymongo import WriteConcern

            numbers = client.runs.get_collection("numbers", write_concern=WriteConcern(j=True))
            numbers.insert_one({"_id": 1, "value": 7})
            return None
        return client.runs.numbers.find_one({"_id": 1})["value"]


def sql_keeps(server, write: bool):
    import sqlalchemy

    with sqlalchemy.create_engine(server.url, poolclass=sqlalchemy.NullPool).begin() as connection:
        if write:
            connection.execute(sqlalchemy.text("CREATE TABLE numbers (value INT)"))
            connection.execute(sqlalchemy.text("INSERT INTO numbers VALUES (7)"))
            return None
        return connection.execute(sqlalchemy.text("SELECT value FROM numbers")).scalar()


def s3_keeps(server, write: bool):
    import s3fs

    files = s3fs.S3FileSystem(skip_instance_cache=True, **server.client_options)
    if write:
        files.pipe("runs/number", b"7")
        return None
    return int(files.cat("runs/number"))


KEEPS = {"mongo": mongo_keeps, "postgres": sql_keeps, "mariadb": sql_keeps, "s3": s3_keeps}


@pytest.fixture(params=list(KEEPS))
def server(request):
    """A private server of each kind, started."""
    return request.getfixturevalue(f"own_{request.param}")().start()


@pytest.mark.slow
def test_a_restart_serves_the_same_data_at_the_same_url(server):
    """A store is reconnected to by its URL, and what it had confirmed must be there."""
    url, keeps = server.url, KEEPS[server.name]
    keeps(server, write=True)
    server.kill()
    assert not answers(server.port)
    server.start()
    assert (server.url, keeps(server, write=False)) == (url, 7)
    server.stop()
    assert not answers(server.port)
    server.start()
    assert keeps(server, write=False) == 7


@pytest.mark.slow
def test_a_paused_server_answers_nobody_until_it_is_resumed(server):
    """This is how a network that swallows everything looks: connections stay open, and nothing comes."""
    KEEPS[server.name](server, write=True)
    server.pause()
    states = {process.status() for process in tree(server.process.pid)}
    assert states - {psutil.STATUS_ZOMBIE} == {psutil.STATUS_STOPPED}
    server.resume()
    assert KEEPS[server.name](server, write=False) == 7
    server.pause()
    server.stop()
    assert not server.running


@pytest.mark.slow
def test_nothing_is_left_of_a_server_that_is_removed(server):
    """Servers of hundreds of tests would fill memory and disk."""
    processes, folder = tree(server.process.pid), server.folder
    server.remove()
    assert not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in processes)
    assert not os.path.exists(folder)


def test_a_frozen_mongo_times_out(own_mongo):
    """A client's own time-out must be what ends the waiting."""
    from pymongo import MongoClient
    from pymongo.errors import NetworkTimeout

    server = own_mongo().start()
    with MongoClient(server.url, socketTimeoutMS=200, retryReads=False) as client:
        client.admin.command("ping")
        server.pause()
        with pytest.raises(NetworkTimeout):
            client.runs.numbers.count_documents({})
        server.resume()


def test_mongo_databases_are_fresh(mongo_url, mongo_server):
    """A test that finds another one's runs passes or fails by chance."""
    from pymongo import MongoClient

    with MongoClient(mongo_url) as client:
        database = client.get_default_database()
        assert database.list_collection_names() == []
        database.runs.insert_one({"_id": 1})
    assert mongo_url == mongo_server.url_of(database.name)


@pytest.mark.parametrize("name", ["postgres_url", "mariadb_url"])
def test_sql_databases_are_fresh(name, request):
    """A test that finds another one's tables passes or fails by chance."""
    import sqlalchemy

    engine = sqlalchemy.create_engine(request.getfixturevalue(name), poolclass=sqlalchemy.NullPool)
    assert sqlalchemy.inspect(engine).get_table_names() == []
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text("CREATE TABLE runs (id INT)"))


def test_s3_buckets_are_fresh_and_found_by_the_environment(s3_url):
    """A client is told nothing but the URL, as a user's is."""
    import s3fs

    files = s3fs.S3FileSystem()
    assert not files.exists(s3_url)
    files.pipe(f"{s3_url}/1/run.json", b"{}")
    assert files.cat(f"{s3_url}/1/run.json") == b"{}"


def test_one_of_many_creates_an_s3_object(s3_server, s3_url):
    """Labels are given by "write if there is none", and a service that lets two win would hide or fake our mistakes."""
    import concurrent.futures

    import s3fs

    def create(number: int) -> bool:
        files = s3fs.S3FileSystem(skip_instance_cache=True, **s3_server.client_options)
        try:
            files.pipe_file(f"{s3_url}/label", str(number).encode(), mode="create")
        except FileExistsError:
            return False
        return True

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(create, range(8))) == 1


@pytest.mark.slow
def test_s3_keeps_uploads_in_parts_over_a_restart(own_s3):
    """Large files come in parts under an id that the service drew at random."""
    import s3fs

    server = own_s3().start()
    content = os.urandom(6 * 2**20)
    files = s3fs.S3FileSystem(skip_instance_cache=True, **server.client_options)
    with files.open("runs/large", "wb", block_size=5 * 2**20) as file:
        file.write(content)
    server.kill()
    server.start()
    assert files.cat("runs/large") == content


@pytest.mark.slow
def test_s3_refuses_unknown_keys_and_writing_by_readers(own_s3):
    """Refused credentials are not to be tried again and again; a service that takes any key cannot show that."""
    import s3fs

    server = own_s3().start()

    def client(environment):
        options = {**server.client_options, "key": environment["AWS_ACCESS_KEY_ID"]}
        return s3fs.S3FileSystem(skip_instance_cache=True, **options)

    client(server.client_environment).pipe("runs/x", b"1")
    assert client(server.read_only_environment).cat("runs/x") == b"1"
    with pytest.raises(PermissionError):
        client(server.read_only_environment).pipe("runs/x", b"2")
    with pytest.raises(PermissionError):
        client(server.wrong_environment).cat("runs/x")


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [{"auth": True}, {"replica_set": True}, {"tls": True}, {"auth": True, "replica_set": True, "tls": True}],
    ids="-".join,
)
def test_mongo_as_others_run_it(own_mongo, options):
    """Its URL is all that a client needs, whatever the options; also after a restart."""
    from pymongo import MongoClient
    from pymongo.errors import OperationFailure

    server = own_mongo(**options).start()
    server.kill()
    server.start()
    with MongoClient(server.url) as client:
        client.runs.numbers.insert_one({"value": 7})
        assert bool(client.admin.command("hello").get("setName")) == ("replica_set" in options)
    if "auth" in options:
        with MongoClient(server.read_only_url) as client:
            assert client.runs.numbers.count_documents({}) == 1
            with pytest.raises(OperationFailure):
                client.runs.numbers.insert_one({"value": 8})
        with MongoClient(server.wrong_url) as client, pytest.raises(OperationFailure):
            client.runs.numbers.count_documents({})


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["postgres", "mariadb"])
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_sql_servers_look_at_names_and_passwords(kind, tls, request):
    """Every URL has a password, so that each test would show where it leaks; and wrong ones are refused."""
    import sqlalchemy

    server = request.getfixturevalue(f"own_{kind}")(tls=tls).start()
    sql_keeps(server, write=True)

    def execute(url: str, statement: str):
        with sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool).begin() as connection:
            return connection.execute(sqlalchemy.text(statement)).scalar()

    assert execute(server.read_only_url, "SELECT value FROM numbers") == 7
    with pytest.raises(sqlalchemy.exc.DBAPIError):
        execute(server.read_only_url, "DELETE FROM numbers WHERE value = 7 RETURNING value")
    with pytest.raises(sqlalchemy.exc.OperationalError):
        execute(server.wrong_url, "SELECT 1")
    if tls:
        with pytest.raises(sqlalchemy.exc.OperationalError):
            plain = {"postgres": "sslmode=disable", "mariadb": "ssl_disabled=true"}[kind]
            execute(f"{server.url.partition('?')[0]}?{plain}", "SELECT 1")


@pytest.mark.skipif(small_disks_missing() is not None, reason=str(small_disks_missing()))
@pytest.mark.slow
def test_a_server_with_a_small_disk_fills_it(own_postgres):
    """A full disk refuses a write, and the server lives on: the store must say so, and try again."""
    import sqlalchemy

    server = own_postgres(disk_mib=100).start()
    engine = sqlalchemy.create_engine(server.url, poolclass=sqlalchemy.NullPool)
    with pytest.raises(sqlalchemy.exc.DBAPIError):
        with engine.begin() as connection:
            connection.execute(sqlalchemy.text("CREATE TABLE large AS SELECT * FROM generate_series(1, 20000000)"))
    folder = server.folder
    server.remove()
    assert not os.path.exists(folder)


@pytest.mark.slow
def test_mlflow_keeps_experiments_over_a_restart(own_mlflow):
    """Runs are looked up again after the tracking server was away."""
    server = own_mlflow().start()
    call = urllib.request.Request(
        f"{server.url}/api/2.0/mlflow/experiments/create", b'{"name": "x"}', {"Content-Type": "application/json"}
    )
    urllib.request.urlopen(call).close()
    server.kill()
    server.start()
    urllib.request.urlopen(f"{server.url}/api/2.0/mlflow/experiments/get-by-name?experiment_name=x").close()


def test_omniboard_shows_the_runs_of_a_database(mongo_url, own_omniboard):
    """It reads the layout as Sacred's users do: a record that it cannot show is not one of Sacred's."""
    from pymongo import MongoClient

    with MongoClient(mongo_url) as client:
        client.get_default_database().runs.insert_one({"_id": 1, "status": "COMPLETED", "config": {}, "info": {}})
    server = own_omniboard(mongo_url).start()
    with urllib.request.urlopen(f"{server.url}/api/v1/Runs") as answer:
        assert b"COMPLETED" in answer.read()


KILLED = """
import os, signal, sys
from tests.servers.mongo import Mongo
server = Mongo({options}).start()
print(server.process.pid, server.folder, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.slow
@pytest.mark.parametrize("options", ["", "disk_mib=50"])
def test_no_server_outlives_tests_that_are_killed(own_mongo, options):
    """Tests that crash are the ones that are run again and again."""
    if options and small_disks_missing():
        pytest.skip(str(small_disks_missing()))
    done = subprocess.run(
        [sys.executable, "-c", KILLED.format(options=options)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    pid, folder = done.stdout.split()
    for _ in range(200):
        if not tree(int(pid)) and not os.path.exists(folder):
            break
        time.sleep(0.1)
    assert not tree(int(pid))
    assert not os.path.exists(folder)
    with open("/proc/mounts", encoding="utf-8") as mounts:
        assert folder not in mounts.read()


class Absent(Server):
    """A server whose software nobody has."""

    name = "absent"
    variable = "ABSENT_URL"

    @classmethod
    def missing(cls):
        return "Absent is not installed"


def test_a_missing_server_skips_with_the_command_that_installs_it(monkeypatch):
    """Whoever runs the tests without servers must learn what was left out, and how to have it."""
    monkeypatch.delenv("REQUIRE_SERVERS", raising=False)
    with pytest.raises(pytest.skip.Exception, match="python -m tests.servers install absent"):
        fixtures.require(Absent)


def test_a_missing_server_fails_where_it_is_required(monkeypatch):
    """CI counts on these tests: one that skips there would hide that a store is broken."""
    monkeypatch.setenv("REQUIRE_SERVERS", "1")
    with pytest.raises(pytest.fail.Exception, match="REQUIRE_SERVERS"):
        fixtures.require(Absent)


def test_a_missing_driver_is_told_from_a_missing_server(monkeypatch):
    """A new Python has servers, and no wheel of a driver yet."""
    monkeypatch.setattr(Absent, "missing", classmethod(lambda cls: None))
    monkeypatch.setattr(Absent, "drivers", ("json", "no_such_driver"))
    monkeypatch.delenv("REQUIRE_SERVERS", raising=False)
    with pytest.raises(pytest.skip.Exception, match="the tests need no_such_driver for absent"):
        fixtures.require(Absent)


def test_tests_do_not_begin_without_a_driver_that_is_counted_on(monkeypatch):
    """A module of tests that cannot import its driver is left out as a whole, and nobody notices."""
    monkeypatch.setattr(fixtures, "DRIVERS", ("json", "no_such_driver"))
    monkeypatch.delenv("REQUIRE_SERVERS", raising=False)
    fixtures.pytest_configure(None)
    monkeypatch.setenv("REQUIRE_SERVERS", "1")
    with pytest.raises(pytest.UsageError, match="the tests need no_such_driver: pip install"):
        fixtures.pytest_configure(None)


def test_a_given_server_is_used_and_never_stopped(monkeypatch, mongo_server):
    """It may be a colleague's."""
    monkeypatch.setenv("MONGO_URL", mongo_server.url)
    given = next(fixtures.shared(type(mongo_server)))
    assert given.url_of("x") == mongo_server.url_of("x")
    for hurt in (given.stop, given.kill, given.pause):
        with pytest.raises(ServerFailed, match="not ours to stop"):
            hurt()
    given.remove()
    assert mongo_server.running


def test_a_server_that_cannot_start_says_why(own_mongo):
    """The reason stands in its log, which is removed with it."""
    server = own_mongo()
    server.command = lambda: [sys.executable, "-c", "raise SystemExit('the disk is on fire')"]
    with pytest.raises(ServerFailed, match="the disk is on fire"):
        server.start()


def test_half_an_installation_is_none(tmp_path, monkeypatch):
    """A download that was interrupted must be made again, not be found broken by every test."""
    monkeypatch.setattr(installing, "INSTALLED", str(tmp_path))
    with pytest.raises(KeyboardInterrupt):
        with installing.fresh_place("x", "x==1"):
            raise KeyboardInterrupt
    assert not installing.is_installed("x", "x==1")
    with installing.fresh_place("x", "x==1"):
        pass
    assert installing.is_installed("x", "x==1")
    assert not installing.is_installed("x", "x==2")
