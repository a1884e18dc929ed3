"""The SQL store in particular: its tables, Sacred's databases, migrations, and what filters ask of the database."""

from __future__ import annotations

import json
import logging
import os
import pickle
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.parse
from contextlib import closing, contextmanager
from datetime import datetime, timezone

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import event
from sqlalchemy.engine import Engine

from capture import events, open_store
from capture.errors import ObserverError, PartlyStoredError, RecordError, RunNotFoundError
from capture.filters import field
from capture.hooks import MetricsBatch
from capture.observers import SqlCurator, SqlObserver, SqlReader, _sql_blobs, _sql_run, _sql_schema, _sql_tables
from capture.observers._sql_database import Database
from capture.observers._sql_errors import DatabaseAwayError, DatabaseRefusedError, DatabaseVersionError
from capture.registry import make_observer, open_curator, open_reader
from capture.stores import store_of
from capture.testing import ObserverContract
from capture.testing.contract import uid
from capture.testing.feed import Story, Teller, describe, tell, told
from tests.project.tree import ROOT
from tests.servers.fixtures import each_kind, fresh_name

GOLDEN = ROOT / "tests" / "golden" / "sacred-0.8.7-sql" / "runs.sql"
NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=timezone.utc)


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path}/runs.db"


@pytest.fixture
def sacreds(tmp_path):
    """The path of a database that only Sacred has written to."""
    path = tmp_path / "sacred.db"
    with closing(sqlite3.connect(path)) as database:
        database.executescript(GOLDEN.read_text(encoding="utf-8"))
    return path


def ask(path, query, *values):
    """Return what a query finds in a file of SQLite, as somebody without this library would ask."""
    with closing(sqlite3.connect(path)) as database:
        return database.execute(query, values).fetchall()


def whole_story(tmp_path, mark="01"):
    return ObserverContract().whole_story(tmp_path / f"told-{mark}", uid(mark))


def story_of(tmp_path, mark="01", **fields):
    return Story(tmp_path / f"told-{mark}", uid(mark)).start(**fields)


# --------------------------------------------------------------------------------------------------------- the URL


class TestUrl:
    def test_the_schemes_of_databases_are_built_in(self, tmp_path):
        """People give the URL that they have, with or without a driver in it."""
        for url in ("sqlite:///x.db", "postgresql://h/d", "postgresql+psycopg://h/d", "mysql://h/d", "mariadb://h/d"):
            assert isinstance(make_observer(url), SqlObserver), url
        assert isinstance(open_reader(f"sqlite:///{tmp_path}/x.db"), SqlReader)
        assert isinstance(open_curator(f"sqlite:///{tmp_path}/x.db"), SqlCurator)

    def test_a_relative_path_is_meant_from_where_the_observer_is_made(self, tmp_path, monkeypatch):
        """Main may change the folder, and the run must not be split between two databases."""
        monkeypatch.chdir(tmp_path)
        observer = SqlObserver("sqlite:///deep/runs.db")
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir(tmp_path / "elsewhere")
        tell(observer, story_of(tmp_path))
        assert (tmp_path / "deep" / "runs.db").exists()
        assert observer.identity == f"sqlite:///{os.path.realpath(tmp_path)}/deep/runs.db"

    @pytest.mark.parametrize(
        ("url", "identity"),
        [
            ("postgresql+psycopg://bob:hunter2@DB.lab:5432/runs?sslmode=require", "postgresql://db.lab:5432/runs"),
            ("postgres://bob@db.lab/runs", "postgresql://db.lab:5432/runs"),
            ("mariadb+pymysql://bob:hunter2@db.lab/runs", "mysql://db.lab:3306/runs"),
            ("mysql://db.lab:3307/runs", "mysql://db.lab:3307/runs"),
            ("postgresql://[::1]:5433/runs", "postgresql://[::1]:5433/runs"),
            ("sqlite://", None),
        ],
    )
    def test_the_identity_has_no_credentials_and_opens_the_same_store(self, url, identity):
        """What was left undelivered finds its store by it, and it is written into journals and logs."""
        observer = SqlObserver(url)
        assert observer.identity == identity
        assert "hunter2" not in repr(observer)
        if identity is not None:
            assert SqlObserver(identity).identity == identity

    @pytest.mark.parametrize("url", ["oracle://h/d", "sqlite://runs.db", "runs.db", "sql://x"])
    def test_other_urls_are_refused_with_those_that_are_possible(self, url):
        """A slip is the usual reason."""
        with pytest.raises(ObserverError, match="sqlite:///"):
            SqlObserver(url)

    @pytest.mark.parametrize("mark", ["/", "?", "#", "@", "7/"])
    def test_a_url_with_an_unescaped_password_is_refused_without_showing_it(self, mark):
        """Behind that character the password would be taken for the host or the database, and be written into logs."""
        for url in (
            f"postgresql://writer:s3kret{mark}hunter@db.lab:5432/runs",
            f"mysql://writer:{mark}hunter@db.lab/runs",
            f"postgresql+psycopg://writer:12{mark}hunter@db.lab/runs?sslmode=require",
        ):
            with pytest.raises(ObserverError, match="cannot be told apart.*%2F") as error:
                SqlObserver(url)
            assert "hunter" not in str(error.value)
            assert "s3kret" not in str(error.value)
        escaped = urllib.parse.quote_plus(f"s3kret{mark}hunter")
        observer = SqlObserver(f"postgresql://writer:{escaped}@db.lab/runs")
        assert observer.identity == "postgresql://db.lab:5432/runs"

    def test_options_are_no_part_of_the_place(self):
        """They may hold a password, too."""
        assert SqlObserver("postgresql://db.lab?password=hunter2").identity == "postgresql://db.lab:5432/"

    def test_the_option_of_the_command_line_takes_a_url(self, url):
        """As Sacred's ``-s`` does."""
        assert SqlObserver.from_argument(url) == SqlObserver(url)

    def test_a_missing_driver_is_named_with_what_to_install(self, url, monkeypatch):
        """The driver comes as an extra."""
        monkeypatch.setitem(sys.modules, "psycopg", None)
        with pytest.raises(ObserverError, match=r"pip install 'experiment-capture\[postgres\]'"):
            SqlObserver("postgresql://db.invalid/runs")

    def test_making_an_observer_imports_no_sqlalchemy(self, url):
        """It takes a fifth of a second, which a run should not wait for before it begins."""
        code = f"import sys, capture; o = capture.observers.SqlObserver({url!r}); o.identity, repr(o)"
        code += "; assert 'sqlalchemy' not in sys.modules"
        subprocess.run([sys.executable, "-c", code], check=True)

    def test_an_observer_can_be_sent_to_another_process(self, url, tmp_path):
        """Workers of a sweep get theirs so."""
        observer = SqlObserver(url)
        tell(observer, story_of(tmp_path))
        assert pickle.loads(pickle.dumps(observer)) == observer


# ------------------------------------------------------------------------------------------------------- the tables


class TestTables:
    def test_sacreds_tables_say_what_they_have_columns_for(self, url, tmp_path):
        """Somebody has scripts that ask Sacred's tables."""
        label = tell(SqlObserver(url), whole_story(tmp_path))
        path = tmp_path / "runs.db"
        ((run_id, command, status, start, output, config, comment, priority),) = ask(
            path, "SELECT run_id, command, status, start_time, captured_out, config, comment, priority FROM run"
        )
        assert (run_id, command, status) == (label, "main", "COMPLETED")
        assert start == "2026-01-01 00:00:03.000250"
        assert output == "epoch 1\nwörld 20%\ndone\n"
        assert json.loads(config) == {"lr": 0.1, "layers": {"py/tuple": [64, 32]}, "seed": 42}
        assert (comment, priority) == ("", 0.0)
        assert ask(path, "SELECT name, base_dir FROM experiment") == [("digits", "/home/user/project")]
        assert ask(path, "SELECT hostname, os, os_info, python_version FROM host") == [
            ("node7", "Linux", "Linux-6.1", "3.11.7")
        ]
        assert ask(path, "SELECT name, version FROM dependency") == [("numpy", "2.0.0")]
        assert ask(path, "SELECT filename, content FROM source JOIN experiments_sources USING (source_id)") == [
            ("train.py", "print('hello')\n"),
            ("lib/model.py", "x = 1\n"),
        ]
        assert ask(path, "SELECT filename, content FROM artifact WHERE run_id = ?", label) == [
            ("model.bin", bytes(range(256))),
            ("plots/loss.svg", b"<svg/>"),
        ]
        query = "SELECT filename, content FROM resource JOIN runs_resources USING (resource_id) WHERE run_id = ?"
        assert ask(path, query, label) == [("/data/in.csv", b"a,b\n1,2\n")]

    def test_runs_of_one_experiment_share_its_rows(self, url, tmp_path):
        """Ten thousand runs of one script are one experiment, on one host, with one set of dependencies."""
        observer = SqlObserver(url)
        for mark in ("01", "02", "03"):
            tell(observer, whole_story(tmp_path, mark))
        for table in ("experiment", "host", "dependency"):
            assert ask(tmp_path / "runs.db", f"SELECT count(*) FROM {table}") == [(1,)], table
        for table in ("source", "experiments_sources"):
            assert ask(tmp_path / "runs.db", f"SELECT count(*) FROM {table}") == [(2,)], table
        assert ask(tmp_path / "runs.db", "SELECT count(*) FROM capture_blob") == [(5,)]

    def test_points_of_metrics_are_rows(self, url, tmp_path):
        """SQL is what the store is chosen for."""
        story = story_of(tmp_path).metrics(loss=[3.0, 2.5]).metric("acc", [1, "nan"])
        label = tell(SqlObserver(url), story.complete())
        query = """SELECT s.name, m.step, m.value FROM capture_metric m JOIN capture_series s ON s.id = m.series
                   JOIN run r ON r.id = s.run WHERE r.run_id = ? ORDER BY s.name, m.number"""
        assert ask(tmp_path / "runs.db", query, label) == [
            ("acc", 0.0, 1.0),
            ("acc", 1.0, None),
            ("loss", 0.0, 3.0),
            ("loss", 1.0, 2.5),
        ]
        assert ask(tmp_path / "runs.db", "SELECT last, min, max, count FROM capture_series WHERE name = 'loss'") == [
            (2.5, 2.5, 3.0, 2)
        ]

    def test_gpus_have_a_table(self, url, tmp_path):
        """Which runs had an A100 is asked often."""
        gpu = {"model": "NVIDIA A100", "total_memory": 40960, "persistence_mode": True}
        host = {"hostname": "n", "gpus": {"driver_version": "550.1", "gpus": [gpu, gpu]}}
        tell(SqlObserver(url), story_of(tmp_path, host_info=host))
        query = "SELECT number, model, total_memory_mib, driver_version FROM capture_gpu"
        assert ask(tmp_path / "runs.db", query) == [
            (0, "NVIDIA A100", 40960.0, "550.1"),
            (1, "NVIDIA A100", 40960.0, "550.1"),
        ]

    def test_a_status_that_sacred_does_not_know_is_the_nearest_there(self, url, tmp_path):
        """Sacred's column knows six states, and ours any."""
        story = story_of(tmp_path)
        story.add(events.Interrupted(interrupt_time=story.moment(), status="PREEMPTED"))
        tell(SqlObserver(url), story)
        assert ask(tmp_path / "runs.db", "SELECT r.status, c.status FROM run r, capture_run c") == [
            ("INTERRUPTED", "PREEMPTED")
        ]

    def test_long_output_is_shown_whole_at_the_end(self, url, tmp_path):
        """While it grows it is not written again and again."""
        observer, story = SqlObserver(url), story_of(tmp_path)
        line = "0123456789abcde\n"
        for number in range(20):
            story.add(events.Output(text=line * 1024, offset=16 * 1024 * number))
        teller = Teller(observer, story)
        teller.tell(story.lines())
        teller.flush()
        query = "SELECT coalesce(length(captured_out), 0) FROM run"
        assert ask(tmp_path / "runs.db", query) == [(0,)]
        story.complete()
        teller.tell(story.lines()[-1:])
        teller.finish()
        assert ask(tmp_path / "runs.db", query) == [(20 * 16 * 1024,)]
        assert SqlObserver.reader(url).get(1).output == line * 1024 * 20

    def test_nothing_is_cut_to_a_columns_length(self, url, tmp_path):
        """Sacred gave an experiment's name 32 characters, and failed where a database counts them."""
        long = "x" * 300
        ex_info = {**describe()["ex_info"], "name": long, "base_dir": "/" + long, "dependencies": [f"{long}=={long}"]}
        story = story_of(tmp_path, ex_info=ex_info, command=long).source(long + ".py", b"1")
        tell(SqlObserver(url), story.artifact(long, b"2").complete())
        assert ask(tmp_path / "runs.db", "SELECT name, base_dir FROM experiment") == [(long, "/" + long)]
        assert ask(tmp_path / "runs.db", "SELECT name, version FROM dependency") == [(long, long)]
        assert ask(tmp_path / "runs.db", "SELECT filename FROM artifact") == [(long,)]


# ---------------------------------------------------------------------------------------------- databases of Sacred


class TestSacredsDatabase:
    def test_it_is_read_as_it_is(self, sacreds):
        """Old runs are looked at for years; looking must not change anything."""
        before = sacreds.read_bytes()
        reader = SqlObserver.reader(f"sqlite:///{sacreds}")
        assert reader.labels() == ["0", "2", "baseline"]
        record = reader.get("baseline")
        assert (record.uid, record.status, record.command, record.result) == ("", "COMPLETED", "main", 0.4)
        assert record.config["layers"] == [64, 32]
        assert record.config["net"] == {"depth": 2, "name": "größe"}
        assert list(record.config["array"]) == [0.0, 1.0, 2.0]
        assert record.info["best"]["value"] == 0.5
        assert record.output.startswith("epoch 1\nwörld\n")
        assert record.meta["comment"] == "the baseline"
        assert record.experiment["name"] == "digits"
        assert {each.partition("==")[0] for each in record.experiment["dependencies"]} == {"numpy", "sacred"}
        assert record.host["os"] == ["Linux", "Linux-6.1-x86_64"]
        assert record.start_time.tzinfo is not None
        assert record.start_time < record.stop_time
        assert record.artifact("model.bin").read() == bytes(range(256))
        assert [stored.read() for stored in record.resources] == [b"what was read\n"]
        assert b"def main" in record.sources[0].read()
        assert dict(record.metrics) == {}
        failed = reader.get("2")
        assert failed.status == "FAILED"
        assert failed.fail_trace[-1] == "ValueError: lr is negative\n"
        reader.close()
        assert sacreds.read_bytes() == before
        assert os.listdir(sacreds.parent) == [sacreds.name]

    @pytest.mark.slow
    def test_its_runs_are_found_by_what_they_hold(self, sacreds):
        """Before and after our tables are there."""
        for _ in range(2):
            reader = SqlObserver.reader(f"sqlite:///{sacreds}")
            assert [record.label for record in reader.find({"status": "COMPLETED"})] == ["baseline", "0"]
            assert [record.label for record in reader.find(field("config.lr") > 0.15)] == ["baseline"]
            assert [record.label for record in reader.find({"experiment.name": "digits", "config.lr": -1})] == ["2"]
            assert list(reader.find({"metrics.loss.last": 0.5})) == []
            Database(f"sqlite:///{sacreds}").prepare()

    def test_it_gets_our_tables_and_keeps_its_own(self, sacreds, tmp_path):
        """Both libraries may write into it from then on."""
        kept = "SELECT * FROM run ORDER BY id", "SELECT * FROM artifact", "SELECT * FROM source", "SELECT * FROM host"
        before = [ask(sacreds, query) for query in kept]
        schema = "SELECT sql FROM sqlite_master WHERE name NOT LIKE 'capture%' AND name NOT LIKE 'sqlite%'"
        tables = ask(sacreds, schema)
        url = f"sqlite:///{sacreds}"
        Database(url).prepare()
        assert [ask(sacreds, query) for query in kept] == before
        assert ask(sacreds, schema) == tables
        assert ask(sacreds, "SELECT version_num FROM capture_version") == [("0002",)]
        label = tell(SqlObserver(url), whole_story(tmp_path))
        assert label == "3", "numbers go on where Sacred's end"
        assert SqlObserver.reader(url).labels() == ["0", "2", "baseline", "3"]
        assert SqlObserver.reader(url).get("0").result == 0.2

    def test_a_label_that_sacred_gave_meanwhile_is_not_given_again(self, sacreds, tmp_path):
        """Sacred counts rows, and knows nothing of our counter."""
        url = f"sqlite:///{sacreds}"
        assert tell(SqlObserver(url), story_of(tmp_path, "0a")) == "3"
        with closing(sqlite3.connect(sacreds)) as database, database:
            database.executemany("INSERT INTO run (run_id) VALUES (?)", [(str(number),) for number in range(4, 30)])
        assert tell(SqlObserver(url), story_of(tmp_path, "0b")) == "30"

    def test_its_runs_can_be_tagged_binned_and_purged(self, sacreds):
        """The first thing people do with old runs is to tidy them up."""
        url = f"sqlite:///{sacreds}"
        curator, reader = SqlObserver.curator(url), SqlObserver.reader(url)
        curator.annotate("0", tags=["old"], notes="of 2021")
        assert (reader.get("0").tags, reader.get("0").notes, reader.get("0").result) == (["old"], "of 2021", 0.2)
        curator.bin("0")
        assert reader.labels() == ["2", "baseline"]
        curator.purge("0")
        assert ask(sacreds, "SELECT count(*) FROM artifact") == [(2,)]
        assert reader.get("2").resources[0].read() == b"what was read\n"
        curator.bin("2"), curator.bin("baseline"), curator.purge("2"), curator.purge("baseline")
        for table in ("run", "artifact", "resource", "experiment", "source", "runs_resources"):
            assert ask(sacreds, f"SELECT count(*) FROM {table}") == [(0,)], table

    def test_a_secret_can_be_erased_from_it(self, sacreds):
        """What Sacred wrote holds secrets, too."""
        url = f"sqlite:///{sacreds}"
        assert SqlObserver.curator(url).erase("what was read") == 2
        record = SqlObserver.reader(url).get("0")
        assert record.resources[0].read() == b"*************\n"


# ------------------------------------------------------------------------------------------------------- migrations


def shape(url):
    """Return what tables of a database look like: columns with their types, keys, indexes."""
    from sqlalchemy import create_engine, inspect

    engine = create_engine(url)
    inspector = inspect(engine)
    found = {}
    for table in inspector.get_table_names():
        columns = {column["name"]: (str(column["type"]), column["nullable"]) for column in inspector.get_columns(table)}
        indexes = sorted((each["name"], tuple(each["column_names"])) for each in inspector.get_indexes(table))
        unique = sorted((each["name"] or "", tuple(each["column_names"])) for each in inspector.get_unique_constraints(table))
        found[table] = columns, inspector.get_pk_constraint(table)["constrained_columns"], indexes, unique
    engine.dispose()
    return found


def migrate_from_nothing(database):
    """Go through all revisions, as no user's database does: the first makes Sacred's tables."""
    with database.writing(prepared=False) as statements:
        _sql_schema.upgrade(statements.connection)


class TestMigrations:
    def check_that_both_ways_meet(self, direct, stepwise):
        Database(direct).prepare()
        migrate_from_nothing(Database(stepwise))
        one, other = shape(direct), shape(stepwise)
        assert sorted(one) == sorted(other)
        for table in (table.name for table in _sql_tables.OURS):
            assert one[table] == other[table], table
        return one, other

    def test_a_migrated_database_has_the_tables_of_a_new_one(self, tmp_path):
        """Else what works in a new one fails in somebody's old one."""
        self.check_that_both_ways_meet(f"sqlite:///{tmp_path}/a.db", f"sqlite:///{tmp_path}/b.db")

    @pytest.mark.parametrize("kind", each_kind("postgres", "mariadb"))
    def test_columns_of_sacred_become_long_where_their_length_counts(self, kind, request, tmp_path):
        """PostgreSQL and MariaDB refuse what is longer than its column; SQLite does not look."""
        server = request.getfixturevalue(f"{kind}_server")
        urls = request.getfixturevalue(f"{kind}_url"), server.url_of(f"{kind}_other")
        server.create(f"{kind}_other")
        try:
            self.check_that_both_ways_meet(*urls)
            long = "ü" * 300
            ex_info = {**describe()["ex_info"], "name": long, "base_dir": long, "dependencies": [f"{long}=={long}"]}
            story = story_of(tmp_path, ex_info=ex_info, command=long, config={"x": "y" * 100_000}, label="z" * 60)
            story.add(events.Output(text="line\n" * 30_000, offset=0))
            label = tell(SqlObserver(urls[1]), story.complete(0.1))
            assert label == "z" * 60
            ObserverContract().check(_backend(urls[1]), label, story)
            queued = Story(tmp_path / "queued", uid("0c")).queue()
            assert SqlObserver.reader(urls[1]).get(tell(SqlObserver(urls[1]), queued)).status == "QUEUED"
        finally:
            server.drop(f"{kind}_other")

    def test_a_database_of_a_later_version_is_refused(self, url, tmp_path):
        """An old library would write what the new one cannot read."""
        tell(SqlObserver(url), story_of(tmp_path))
        with closing(sqlite3.connect(tmp_path / "runs.db")) as database, database:
            database.execute("UPDATE capture_version SET version_num = '0099'")
        with pytest.raises(DatabaseVersionError, match=r"version 0099.*\n.*pip install --upgrade") as error:
            tell(SqlObserver(url), story_of(tmp_path, "0b"))
        assert isinstance(error.value, RecordError)
        assert not SqlObserver(url).transient(error.value)
        with pytest.raises(DatabaseVersionError):
            SqlObserver.reader(url).labels()

    @pytest.mark.slow
    def test_a_current_database_is_opened_without_alembic(self, url, tmp_path):
        """It takes a tenth of a second to import."""
        tell(SqlObserver(url), story_of(tmp_path))
        code = f"""
import sys
from capture.observers._sql_database import Database
Database({url!r}).prepare()
Database("sqlite:///{tmp_path}/new.db").prepare()
assert "alembic" not in sys.modules and "sqlalchemy.orm" not in sys.modules
"""
        subprocess.run([sys.executable, "-c", code], check=True)

    @pytest.mark.slow
    @pytest.mark.parametrize("old", [False, True], ids=["new", "of Sacred"])
    def test_many_processes_may_prepare_one_database_at_once(self, old, tmp_path, sacreds):
        """A sweep starts all its workers in the same second."""
        url = f"sqlite:///{sacreds if old else tmp_path / 'new.db'}"
        code = f"from capture.observers._sql_database import Database; Database({url!r}).prepare()"
        running = [subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE) for _ in range(6)]
        errors = [process.communicate()[1].decode() for process in running]
        assert [process.returncode for process in running] == [0] * 6, errors
        assert SqlObserver.reader(url).labels() == (["0", "2", "baseline"] if old else [])


    @pytest.mark.parametrize("kind", each_kind("postgres", "mariadb"))
    def test_many_threads_may_prepare_a_servers_database_at_once(self, kind, request):
        """The tables are there before the note of their version is, which others must not take for Sacred's."""
        for _ in range(3):
            server, name = request.getfixturevalue(f"{kind}_server"), fresh_name()
            server.create(name)
            try:
                errors, ready = [], threading.Barrier(6)

                def prepare(url):
                    database = Database(url)
                    ready.wait()
                    try:
                        database.prepare()
                    except Exception as error:
                        errors.append(error)
                    database.close()

                threads = [threading.Thread(target=prepare, args=(server.url_of(name),)) for _ in range(6)]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
                assert not errors
            finally:
                server.drop(name)


def _backend(url):
    from capture.testing import Backend

    return Backend(SqlObserver(url), SqlObserver.reader(url), SqlObserver.curator(url))


# ----------------------------------------------------------------------------------------------- writing and faults


WORKER = """
import sys
from datetime import datetime, timezone
from capture.hooks import MetricsBatch
from capture.observers import SqlObserver
from capture.testing.feed import describe
url, worker, runs = sys.argv[1], sys.argv[2], int(sys.argv[3])
observer = SqlObserver(url)
for number in range(runs):
    uid, now = f"{worker}-{number}", datetime.now(timezone.utc)
    place = {"uid": uid, "writer": "main"}
    observer.opened_event({"pid": 1}, "0", seq=1, **place)
    start = {**describe(), "config": {"worker": worker, "number": number}}
    observer.started_event(**start, start_time=now, _id=None, requested=False, seq=2, **place)
    observer.output_event(f"line of {uid}\\n", 0, seq=3, **place)
    line = b'{"s":4,"start":0,"columns":{"loss":{"steps":[0,1,2,3,4,5,6,7,8,9],"values":[1.5,2,3,4,5,6,7,8,9,10],"times":[0,1,2,3,4,5,6,7,8,9]}}}'
    observer.metrics_event(MetricsBatch(line), seq=4, **place)
    observer.flush()
    observer.completed_event(now, number, seq=5, **place)
    observer.flush()
"""


def run_workers(url, tmp_path, workers, runs):
    """Let processes write runs into one store at once; return the records."""
    script = tmp_path / "worker.py"
    script.write_text(WORKER, encoding="utf-8")
    running = [
        subprocess.Popen([sys.executable, script, url, f"w{number}", str(runs)], stderr=subprocess.PIPE)
        for number in range(workers)
    ]
    errors = [process.communicate()[1].decode() for process in running]
    assert [process.returncode for process in running] == [0] * workers, errors
    return list(SqlObserver.reader(url).find())


def check_workers(records, workers, runs):
    assert {record.uid for record in records} == {f"w{w}-{n}" for w in range(workers) for n in range(runs)}
    assert len({record.label for record in records}) == workers * runs
    for record in records:
        assert record.status == "COMPLETED"
        assert record.output == f"line of {record.uid}\n"
        assert f"{record.config['worker']}-{record.config['number']}" == record.uid
        assert record.metrics["loss"].values == [1.5, 2, 3, 4, 5, 6, 7, 8, 9, 10]


def tell_before_and_after_a_child(url, tmp_path):
    """Tell of a run, and of another in a process that is forked in the middle of it."""
    observer, story = SqlObserver(url), story_of(tmp_path)
    teller = Teller(observer, story)
    teller.tell(story.lines())
    child = os.fork()
    if child == 0:
        status = 1
        try:
            tell(observer, story_of(tmp_path, "0c").complete())
            observer.database.close()
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    teller.tell(story.complete(1).lines()[-1:])
    teller.finish()


class TestManyProcesses:
    @pytest.mark.slow
    @pytest.mark.parametrize("kind", each_kind("sqlite", "postgres", "mariadb"))
    def test_eight_processes_leave_all_their_runs(self, kind, request, tmp_path, url):
        """In a fresh store, which all of them make at once."""
        place = url if kind == "sqlite" else request.getfixturevalue(f"{kind}_url")
        check_workers(run_workers(place, tmp_path, 8, 20), 8, 20)

    def test_a_forked_child_leaves_the_parents_connection_alone(self, url, tmp_path):
        """A pool of workers is forked in the middle of a run."""
        tell_before_and_after_a_child(url, tmp_path)
        assert {record.uid for record in SqlObserver.reader(url).find({"status": "COMPLETED"})} == {uid("01"), uid("0c")}

    def test_a_forked_child_does_not_end_a_servers_session(self, postgres_url, tmp_path):
        """To close an inherited connection would say goodbye in the parent's name."""
        tell_before_and_after_a_child(postgres_url, tmp_path)
        assert len(SqlObserver.reader(postgres_url).labels()) == 2


class TestEnd:
    def test_after_the_last_run_one_file_is_left(self, url, tmp_path):
        """People copy it, and send it to each other."""
        observer = SqlObserver(url)
        stories = [story_of(tmp_path, mark).complete(1) for mark in ("0a", "0b")]
        tellers = [Teller(observer, story) for story in stories]
        for teller, story in zip(tellers, stories):
            teller.tell(story.lines())
        tellers[0].finish()
        tellers[1].finish()
        assert sorted(name for name in os.listdir(tmp_path) if name.startswith("runs")) == ["runs.db"]
        tell(observer, story_of(tmp_path, "0c").complete(2))
        assert SqlObserver.reader(url).labels() == ["1", "2", "3"]

    def test_a_run_in_memory_outlives_the_run(self, tmp_path):
        """It is there as long as its observer."""
        observer = SqlObserver("sqlite://")
        tell(observer, story_of(tmp_path).complete(1))
        assert observer.query(1)["result"] == 1.0


class TestFaults:
    def test_a_locked_database_is_waited_for(self, url, tmp_path, monkeypatch):
        """Somebody's long transaction must not cost a measurement."""
        monkeypatch.setattr("capture.observers._sql_database.BUSY_S", 0.05)
        observer, story = SqlObserver(url), story_of(tmp_path).metrics(loss=[1.0, 2.0]).complete()
        teller = Teller(observer, story)
        lines = story.lines()
        teller.tell(lines[:2])
        with closing(sqlite3.connect(tmp_path / "runs.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            teller.tell(lines[2:])
            with pytest.raises(DatabaseAwayError, match="locked") as error:
                teller.flush()
            assert observer.transient(error.value)
        teller.flush()
        teller.flush()
        assert SqlObserver.reader(url).get(1).metrics["loss"].values == [1.0, 2.0]

    @pytest.mark.parametrize("is_made", [True, False])
    @pytest.mark.parametrize("flushes_again", [True, False])
    def test_what_a_transaction_stored_whose_answer_was_lost_is_stored_once(
        self, url, tmp_path, monkeypatch, is_made, flushes_again
    ):
        """A server that dies while it commits has committed, or has not: its points were there twice."""
        lost, writing = [], Database.writing

        @contextmanager
        def losing(database, prepared=True):
            with writing(database, prepared) as statements:
                yield statements
                if lost and not is_made:
                    raise DatabaseAwayError(lost.pop())
            if lost:
                raise DatabaseAwayError(lost.pop())

        monkeypatch.setattr(Database, "writing", losing)
        observer, story = SqlObserver(url), story_of(tmp_path).metrics(loss=[1.0, 2.0])
        story.add(events.Resumed(resume_time=story.moment()), events.Output(text="epoch 1\n", offset=0))
        story.add(events.Unknown(kind="later", payload={"e": "later"}))
        teller = Teller(observer, story)
        lines = story.lines()
        teller.tell(lines[:2])
        teller.tell(lines[2:])
        lost.append("server closed the connection unexpectedly")
        with pytest.raises(DatabaseAwayError):
            teller.flush()
        if flushes_again:
            teller.flush()
        told_later = len(lines)
        story.metric("loss", [3.0], first=2).add(events.Output(text="epoch 2\n", offset=8)).complete(1)
        teller.tell(story.lines()[told_later:])
        teller.finish()
        record, wanted = SqlObserver.reader(url).get(story.uid), told(story)
        assert record.metrics["loss"].values == [1.0, 2.0, 3.0]
        assert record.summary["loss"]["count"] == 3
        assert (record.resumed, record.extra, record.output) == (wanted.resumed, wanted.extra, wanted.output)

    def test_a_value_that_the_database_refuses_keeps_back_nothing_else(self, url, tmp_path, caplog):
        """One bad event must not stop all that comes later; what is lost is said."""
        observer, story = SqlObserver(url), story_of(tmp_path).metrics(loss=[1.0])
        teller = Teller(observer, story)
        teller.tell(story.lines()[:2])
        with closing(sqlite3.connect(tmp_path / "runs.db")) as database, database:
            database.execute("DROP TABLE capture_fact")
        story.add(events.Facts(topic="params", facts=1)).add(events.Output(text="after\n", offset=0)).complete(7)
        lines = story.lines()
        (facts,) = [line.seq for line in lines if line.kind == "facts"]
        with caplog.at_level(logging.ERROR, "capture.observers"):
            teller.tell(lines[2:])
            with pytest.raises(PartlyStoredError) as error:
                teller.flush()
            teller.finish()
        assert "the facts 'params' of run 1 could not be stored" in caplog.text
        assert error.value.refused == {(story.uid, "main"): [facts]}
        record = SqlObserver.reader(url).get(1)
        assert (record.result, record.output, record.metrics["loss"].values) == (7, "after\n", [1.0])

    @pytest.mark.parametrize("table", ["host", "experiment"])
    def test_what_only_sacreds_tables_do_not_take_is_logged_and_the_run_is_whole(self, table, url, tmp_path, caplog):
        """They repeat what ours hold: no event is lost, so that none is set aside and told again for ever."""
        tell(SqlObserver(url), story_of(tmp_path).complete(1))
        with closing(sqlite3.connect(tmp_path / "runs.db")) as database, database:
            database.execute(f"ALTER TABLE {table} RENAME TO not_here")
        story = story_of(tmp_path, "0b", command="evaluate").complete(2)
        with caplog.at_level(logging.ERROR, "capture.observers"):
            label = tell(SqlObserver(url), story)
        assert f"experiment and host in Sacred's tables of run {label} could not be stored" in caplog.text
        record = SqlObserver.reader(url).get(label)
        assert (record.status, record.result, record.command) == ("COMPLETED", 2, "evaluate")
        assert record.host == describe()["host_info"]
        (row,) = ask(tmp_path / "runs.db", "SELECT command, status, start_time IS NULL FROM run WHERE run_id = ?", label)
        assert row == ("evaluate", "COMPLETED", 0)
        with closing(sqlite3.connect(tmp_path / "runs.db")) as database, database:
            database.execute(f"ALTER TABLE not_here RENAME TO {table}")
        named = SqlObserver.reader(url).find(field("experiment.name") == describe()["ex_info"]["name"])
        assert [record.label for record in named] == [label, "1"]

    def test_a_run_that_was_purged_while_it_goes_on_is_not_written_on(self, url, tmp_path, caplog):
        """Nor does the next run, which may get the same row, get its events."""
        observer, story = SqlObserver(url), story_of(tmp_path)
        teller = Teller(observer, story)
        teller.tell(story.lines())
        curator = SqlObserver.curator(url)
        curator.bin(1)
        curator.purge(1)
        other = tell(SqlObserver(url), story_of(tmp_path, "0b").complete(1))
        story.add(events.Output(text="of the first\n", offset=0)).complete(2)
        teller.tell(story.lines()[2:])
        teller.flush()
        teller.finish()
        record = SqlObserver.reader(url).get(other)
        assert (record.output, record.result) == ("", 1)
        assert SqlObserver.reader(url).labels() == [other]

    @pytest.mark.parametrize("kind", each_kind("postgres", "mariadb"))
    def test_refused_credentials_are_told_at_once_and_without_the_password(self, kind, request, tmp_path):
        """Waiting does not help, and the log is read by many."""
        server = request.getfixturevalue(f"{kind}_server")
        parts = urllib.parse.urlsplit(request.getfixturevalue(f"{kind}_url"))
        wrong = parts._replace(netloc=f"{parts.username}:hunter2@{parts.hostname}:{parts.port}").geturl()
        observer = SqlObserver(wrong)
        with pytest.raises(DatabaseRefusedError) as error:
            tell(observer, story_of(tmp_path))
        assert not observer.transient(error.value)
        assert parts.username in str(error.value)
        assert str(parts.port) in str(error.value)
        assert "hunter2" not in str(error.value)
        missing = SqlObserver(server.url_of("nosuchdatabase"))
        with pytest.raises(DatabaseRefusedError, match="nosuchdatabase"):
            tell(missing, story_of(tmp_path, "0b"))

    @pytest.mark.parametrize(
        "said",
        [
            "connection failed: fe_sendauth: no password supplied",
            'connection failed: FATAL:  role "bob" is not permitted to log in',
            'connection failed: FATAL:  Peer authentication failed for user "bob"',
            'connection failed: FATAL:  permission denied for database "runs"',
        ],
    )
    def test_what_postgresql_says_of_a_missing_password_does_not_pass(self, said):
        """There is no number with it: the client gives up before, or while, the server says who may come in."""
        import psycopg

        from capture.observers._sql_errors import translated
        from capture.observers._sql_url import DatabaseUrl

        found = translated(psycopg.OperationalError(said), DatabaseUrl("postgresql://bob@db.lab/runs"))
        assert isinstance(found, DatabaseRefusedError)

    def test_a_server_that_is_away_is_tried_again(self, tmp_path):
        """A refused connection may pass."""
        observer = SqlObserver("postgresql://bob:hunter2@127.0.0.1:9/runs")
        with pytest.raises(DatabaseAwayError) as error:
            tell(observer, story_of(tmp_path))
        assert observer.transient(error.value)
        assert "hunter2" not in str(error.value)

    @pytest.mark.slow
    @pytest.mark.parametrize("kind", each_kind("postgres", "mariadb"))
    def test_a_killed_server_costs_nothing_once_it_is_back(self, kind, request, tmp_path):
        """Each event is stored once, whether its transaction was cut off or only its answer."""
        server = request.getfixturevalue(f"own_{kind}")()
        server.start()
        observer, story = SqlObserver(server.url), story_of(tmp_path)
        for number in range(30):
            story.metric("loss", [float(number)], first=number)
            story.add(events.Output(text=f"{number:09}\n", offset=10 * number))
        lines = story.complete(1).lines()
        teller = Teller(observer, story)
        teller.tell(lines[:20])
        teller.flush()
        server.kill()
        teller.tell(lines[20:40])
        with pytest.raises(DatabaseAwayError) as error:
            teller.flush()
        assert observer.transient(error.value)
        server.start()
        teller.flush()
        teller.tell(lines[40:])
        teller.finish()
        ObserverContract().check(_backend(server.url), teller.label, story)

    def test_a_full_disk_passes(self):
        """As for every store: the event waits until there is room."""
        from sqlalchemy.exc import OperationalError

        error = OperationalError("INSERT", {}, sqlite3.OperationalError("database or disk is full"))
        from capture.observers._sql_errors import is_passing

        assert is_passing(error)

    def test_what_a_server_takes_in_no_packet_keeps_back_nothing_else(self, own_mariadb, tmp_path, caplog):
        """It closes the connection, as one that goes down does: the run was tried again for ever."""
        server = own_mariadb()
        server.start()
        server.create("small")
        server._execute("SET GLOBAL max_allowed_packet = 4194304")
        story = story_of(tmp_path, config={"text": "x" * 6_000_000}).metrics(loss=[1.0]).complete(7)
        url = server.url_of("small")
        teller = Teller(SqlObserver(url), story)
        with caplog.at_level(logging.ERROR, "capture.observers"):
            with pytest.raises(PartlyStoredError):
                teller.tell(story.lines())
                teller.flush()
            teller.tell(story.lines()[2:])
            teller.finish()
        assert "the config of run 1 could not be stored" in caplog.text
        assert "max_allowed_packet of the server, 4,194,304" in caplog.text
        record = SqlObserver.reader(url).get(1)
        assert (record.status, record.result, record.config) == ("COMPLETED", 7, {})
        assert record.metrics["loss"].values == [1.0]
        assert record.start_time is not None

    def test_a_full_disk_is_called_one_and_what_did_not_fit_comes_later(self, url, tmp_path):
        """SQLite ends the transaction by itself there: that there was none to roll back hid why nothing was stored."""
        story = story_of(tmp_path).artifact("x", os.urandom(6 << 20)).complete()
        observer = SqlObserver(url)
        Database(url).prepare()

        def limited(connection, record):
            connection.execute("PRAGMA max_page_count = 500")

        event.listen(Engine, "connect", limited)
        try:
            with pytest.raises(DatabaseAwayError, match="runs.db cannot be used at the moment: database or disk is full"):
                tell(observer, story)
        finally:
            event.remove(Engine, "connect", limited)
        label = tell(SqlObserver(url), story)
        assert len(SqlObserver.reader(url).get(label).artifact("x").read()) == 6 << 20

    def test_two_who_store_the_same_file_at_once_store_it_once(self, url, tmp_path, monkeypatch):
        """The bytes of a large file come in several transactions, between which others may do the same."""
        monkeypatch.setattr(_sql_blobs, "_LARGE", 10)
        monkeypatch.setattr(_sql_blobs, "CHUNK", 4)
        data = b"0123456789abcdef"
        stories = [story_of(tmp_path, mark).artifact("x", data).complete() for mark in ("0a", "0b")]
        inner = _sql_blobs._put
        nested = []

        def put(connection, number, place, chunk):
            inner(connection, number, place, chunk)
            if place == 2 and not nested:
                nested.append(True)

        monkeypatch.setattr(_sql_blobs, "_put", put)
        labels = [tell(SqlObserver(url), story) for story in stories]
        reader = SqlObserver.reader(url)
        assert [reader.get(label).artifact("x").read() for label in labels] == [data, data]
        assert ask(tmp_path / "runs.db", "SELECT count(*), count(digest) FROM capture_blob") == [(1, 1)]
        assert ask(tmp_path / "runs.db", "SELECT count(*) FROM capture_chunk") == [(4,)]

    def test_bytes_that_are_purged_while_a_run_is_about_to_use_them_are_stored_again(self, url, tmp_path, monkeypatch):
        """The purge sees no run that has them, and the run sees that they are there."""
        monkeypatch.setattr(_sql_blobs, "_LARGE", 10)
        data = b"0123456789abcdef"
        first = tell(SqlObserver(url), story_of(tmp_path, "0a").artifact("x", data).complete())
        curator = SqlObserver.curator(url)
        curator.bin(first)
        inner = _sql_run.SqlRun._upload_large
        purged = []

        def upload(run):
            inner(run)
            if run._pending.files and not purged:
                purged.append(curator.purge(first))

        monkeypatch.setattr(_sql_run.SqlRun, "_upload_large", upload)
        second = tell(SqlObserver(url), story_of(tmp_path, "0b").artifact("x", data).complete())
        assert purged
        assert SqlObserver.reader(url).get(second).artifact("x").read() == data


# --------------------------------------------------------------------------------------------------- numbers exactly


whole = st.one_of(st.integers(), st.integers(2**53 - 3, 2**53 + 3), st.sampled_from([10**400, 2**63, -(2**63), 0]))
fractions = st.floats(allow_nan=False, allow_infinity=False)
steps = st.one_of(whole, fractions)
values = st.one_of(whole, fractions, st.sampled_from(["nan", "inf", "-inf", -0.0, 5e-324]))


@pytest.mark.slow
@given(st.lists(st.lists(st.tuples(steps, values), min_size=1, max_size=6), min_size=1, max_size=3))
@settings(
    max_examples=25,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_every_number_comes_back_as_it_was(tmp_path, batches):
    """Whole numbers stay whole, beyond what a float can say, too, and what is no finite number stays that."""
    url = f"sqlite:///{tmp_path}/{os.urandom(8).hex()}.db"
    observer = SqlObserver(url)
    place = {"uid": "u", "writer": "main"}
    observer.opened_event({}, "0", seq=1, **place)
    observer.started_event(**describe(), start_time=NOW, _id=None, seq=2, **place)
    for seq, points in enumerate(batches, 3):
        column = dict(zip(("steps", "values"), map(list, zip(*points))), times=list(range(len(points))))
        line = json.dumps({"e": "metrics", "s": seq, "start": 0, "columns": {"x": column}}).encode()
        observer.metrics_event(MetricsBatch(line), seq=seq, **place)
        if seq % 2:
            observer.flush()
    observer.flush()
    observer.database.close()
    series = SqlObserver.reader(url).get("u").metrics["x"]
    told = [(step, float(value) if isinstance(value, str) else value) for points in batches for step, value in points]
    assert repr(list(series)) == repr(told)


# ------------------------------------------------------------------------------------------------------- the filters


CONFIGS = [
    {"lr": 0.1, "net": {"depth": 3, "act": "relu"}, "layers": (64, 32), "on": True, "none": None},
    {"lr": 1, "net": {"depth": 3.5}, "a.b": 7, "text": "x" * 400, "on": 0},
    {"lr": float("inf"), "net": "flat", "on": "True", "large": 10**30, "nul": "a\x00"},
    {"lr": float("nan"), "net": [{"depth": 3}], "none": 0, "lr ": 2, "größe": "ä"},
    {"lr": -1e308, "net": {"depth": 2**60 + 1}, "set": {1, 2}, 1: "one"},
    {},
]

FILTERS = [
    {"config.lr": 0.1},
    {"config.lr": 1.0},
    {"config.lr": True},
    {"config.lr": float("inf")},
    {"config.lr": float("nan")},
    {"config.net.depth": 3},
    {"config.net.depth": 2**60 + 1},
    {"config.net.depth": 2**60},
    {"config.net": "flat"},
    {"config.net": {"depth": 3.5}},
    {"config.net.0.depth": 3},
    {"config.layers.1": 32},
    {"config.layers": (64, 32)},
    {"config.a.b": 7},
    {"config.text": "x" * 400},
    {"config.none": None},
    {"config.nosuch": None},
    {"config.large": 10**30},
    {"config.nul": "a\x00"},
    {"config.größe": "ä"},
    {"config.set": {1, 2}},
    {"config.on": 1},
    {"config": {}},
    {"status": "COMPLETED", "config.lr": 0.1},
    {"metrics.loss.last": 2},
    {"metrics.loss.count": 2},
    {"metrics.loss.max": float("inf")},
    {"result": 0},
    {"experiment.name": "digits"},
    {"command": "main"},
    {"uid": uid("00")},
    {"tags": ["good"]},
    field("config.lr") < 1,
    field("config.lr") <= 0.1,
    field("config.lr") > 0.05,
    field("config.lr") >= float("inf"),
    field("config.lr") != 0.1,
    field("config.lr").one_of([1, "x", None]),
    field("config.lr").exists(),
    field("config.net.depth") > 2**60,
    field("config.net").contains("depth"),
    ~(field("config.lr") == 0.1),
    (field("config.lr") == 0.1) | (field("config.net.depth") == 3.5),
    (field("config.lr") == 0.1) | field("tags").contains("good"),
    field("tags").contains("good"),
    field("tags").contains("goo"),
    field("metrics.loss.last") < 2.5,
    field("metrics.loss.min") <= -1,
    field("metrics.loss.max") > 10**400,
    field("metrics.nosuch.last") > 0,
    field("result") >= 2,
    field("result").one_of([1, {"a": 1}]),
    field("status").one_of(["COMPLETED", "EARLY"]),
    field("start_time") > datetime(2020, 1, 1, tzinfo=timezone.utc),
    field("host.hostname") == "node7",
]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A database with runs of all kinds."""
    folder = tmp_path_factory.mktemp("filters")
    url = f"sqlite:///{folder}/runs.db"
    fill(url, folder)
    return SqlObserver.reader(url)


class TestFilters:
    @pytest.mark.parametrize("where", FILTERS, ids=str)
    def test_the_database_leaves_out_no_run_that_matches(self, store, where):
        """It answers what it can, and the rest is decided by the record: together as if all were looked at."""
        wanted = [record.uid for record in store.find() if record.matches(where)]
        assert [record.uid for record in store.find(where)] == wanted

    def test_what_the_database_can_answer_it_answers(self, store, monkeypatch):
        """Of ten thousand runs only those are decoded that are found."""
        seen = []
        inner = SqlReader._record
        monkeypatch.setattr(SqlReader, "_record", lambda reader, row: seen.append(row) or inner(reader, row))
        for where, most in (
            ({"config.lr": 0.1}, 2),
            ({"status": "EARLY"}, 1),
            (field("metrics.loss.last") < 1.5, 3),  # two have no finite one, of which only the record can tell
            ({"experiment.name": "nosuch"}, 0),
            (field("tags").contains("good"), 1),
            ((field("config.lr") == 0.1) & (field("config.net.depth") > 2), 2),
        ):
            seen.clear()
            list(store.find(where))
            assert len(seen) <= most, where

    @pytest.mark.parametrize("kind", each_kind("postgres", "mariadb"))
    def test_servers_find_the_same(self, kind, request, tmp_path, store):
        """Their collations, booleans and numbers are not SQLite's."""
        url = request.getfixturevalue(f"{kind}_url")
        fill(url, tmp_path)
        reader = SqlObserver.reader(url)
        for where in FILTERS:
            assert [r.uid for r in reader.find(where)] == [r.uid for r in store.find(where)], where


def fill(url, folder):
    """Write runs with configs of all kinds."""
    observer = SqlObserver(url)
    for number, config in enumerate(CONFIGS):
        story = Story(folder / f"s{number}", uid(f"{number}{number}")).start(config=config)
        story.metrics(loss=[[1.5, 2.0], [3, 2], ["nan", "inf"], [10**30, -1], [0.5, "nan"], [2.0]][number])
        if number == 1:
            story.add(events.Annotated(tags=["good"]))
        if number == 2:
            story.add(events.Interrupted(interrupt_time=story.moment(), status="EARLY"))
        else:
            story.complete([0, 2.5, None, {"a": 1}, 10**400, True][number])
        tell(observer, story)


# ------------------------------------------------------------------------------------------- reader, curator, Sacred


KILLED = """
import os, signal, sqlite3, time
from pathlib import Path
from capture import Experiment

ex = Experiment("killed", save_git_info=False)


@ex.automain
def main(_run):
    database = sqlite3.connect("runs.db")
    database.execute("BEGIN IMMEDIATE")  # nothing more is stored
    _run.add_artifact(__file__, "kept.py")
    (journal,) = Path(os.environ["CAPTURE_STATE_DIR"], "journals").glob("*.journal")
    while b'"e":"artifact"' not in journal.read_bytes():
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGKILL)
"""


class TestReader:
    def test_looking_at_a_store_that_is_not_there_makes_none(self, tmp_path):
        """A slip in a path must not leave an empty database behind."""
        reader = SqlObserver.reader(f"sqlite:///{tmp_path}/nosuch.db")
        assert reader.labels() == []
        with pytest.raises(RunNotFoundError):
            reader.get(1)
        assert os.listdir(tmp_path) == []
        with pytest.raises(FileNotFoundError):
            SqlObserver.curator(f"sqlite:///{tmp_path}/nosuch.db").erase("secret")
        with pytest.raises(FileNotFoundError, match=r"nosuch\.db does not exist"):
            open_store(f"sqlite:///{tmp_path}/nosuch.db")
        assert os.listdir(tmp_path) == []

    @pytest.mark.slow
    def test_a_reader_leaves_one_file_behind(self, url, tmp_path):
        """Whether somebody closes it, forgets it, or the process ends: a store is copied by its file."""
        tell(SqlObserver(url), story_of(tmp_path).complete(1))
        database = tmp_path / "runs.db"
        beside = tmp_path / "runs.db-wal"
        reader = SqlObserver.reader(url)
        assert reader.labels() == ["1"]
        assert beside.exists()
        reader.close()
        assert not beside.exists()
        assert reader.labels() == ["1"]
        del reader
        assert not beside.exists()
        for code in ("kept = SqlObserver.reader(url); kept.labels()", "SqlObserver.curator(url).annotate(1, tags=['a'])"):
            code = f"from capture.observers import SqlObserver; url = {url!r}; {code}"
            subprocess.run([sys.executable, "-c", code], check=True)
            assert [name for name in os.listdir(tmp_path) if name.startswith("runs.db")] == [database.name]

    def test_a_reader_that_ends_takes_nothing_from_others(self, url, tmp_path):
        """The files beside the database hold what others have written just now."""
        observer, story = SqlObserver(url), story_of(tmp_path)
        teller = Teller(observer, story)
        teller.tell(story.lines())
        teller.flush()
        reader = SqlObserver.reader(url)
        assert reader.labels() == ["1"]
        reader.close()
        assert (tmp_path / "runs.db-wal").exists()
        story.complete(5)
        teller.tell(story.lines()[2:])
        teller.flush()
        teller.finish()
        assert SqlObserver.reader(url).get(1).result == 5

    @pytest.mark.slow
    def test_what_waits_for_a_file_of_sqlite_is_delivered_before_it_is_read(self, url, tmp_path):
        """As for a folder: the run of a killed process is there with all that it had recorded."""
        script = tmp_path / "train.py"
        script.write_text(KILLED, encoding="utf-8")
        environment = {**os.environ, "CAPTURE_STATE_DIR": str(tmp_path / "state")}
        arguments = [sys.executable, str(script), "-s", url]
        assert subprocess.run(arguments, env=environment, cwd=tmp_path, stderr=subprocess.DEVNULL).returncode == -9
        code = f"from capture import open_store; print([file.name for file in open_store({url!r}).get(1).artifacts])"
        # A process that the killed one was starting just then has its locks until it runs a program of its own.
        until, found = time.monotonic() + 60, None
        while found is None or (found.stdout.strip() == "[]" and time.monotonic() < until):
            found = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        assert found.stdout.strip() == "['kept.py']", found.stderr

    def test_a_database_that_was_deleted_is_not_made_anew_by_its_name(self, url, tmp_path):
        """Somebody did not want it any more."""
        identity = SqlObserver(url).identity
        assert store_of(identity) is None
        tell(SqlObserver(url), story_of(tmp_path).complete(1))
        assert store_of(identity) == SqlObserver(url)
        (tmp_path / "runs.db").unlink()
        assert store_of(identity) is None

    @pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
    def test_a_store_is_read_where_nothing_can_be_written(self, tmp_path):
        """Archives are mounted read-only."""
        folder = tmp_path / "archive"
        folder.mkdir()
        url = f"sqlite:///{folder}/runs.db"
        observer = SqlObserver(url)
        tell(observer, story_of(tmp_path).complete(1))
        observer.database.close()
        folder.chmod(0o500)
        try:
            assert SqlObserver.reader(url).get(1).result == 1
        finally:
            folder.chmod(0o700)

    @pytest.mark.slow
    def test_a_reader_may_be_used_by_several_threads(self, url, tmp_path):
        """A web server does."""
        observer = SqlObserver(url)
        for mark in ("0a", "0b", "0c"):
            tell(observer, whole_story(tmp_path, mark))
        reader, found, errors = SqlObserver.reader(url), [], []

        def look():
            try:
                for _ in range(5):
                    found.append([record.to_dict()["uid"] for record in reader.find()])
            except Exception as error:
                errors.append(error)

        threads = [threading.Thread(target=look) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not errors
        assert found == [[uid("0c"), uid("0b"), uid("0a")]] * 20

    def test_reading_goes_on_while_somebody_writes(self, url, tmp_path):
        """Nobody waits for a run's transaction to end."""
        tell(SqlObserver(url), story_of(tmp_path).complete(1))
        with closing(sqlite3.connect(tmp_path / "runs.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            other.execute("UPDATE capture_run SET result = '2'")
            assert SqlObserver.reader(url).get(1).result == 1


class TestCurator:
    def test_purging_deletes_every_row_of_the_run_and_the_bytes_that_are_nobodys(self, url, tmp_path):
        """What is purged is gone."""
        label = tell(SqlObserver(url), whole_story(tmp_path))
        curator = SqlObserver.curator(url)
        curator.bin(label)
        curator.purge(label)
        for table in _sql_tables.metadata.sorted_tables:
            if table.name not in ("capture_counter", "capture_purged", "capture_version", "host", "dependency"):
                assert ask(tmp_path / "runs.db", f"SELECT count(*) FROM {table.name}") == [(0,)], table.name
        assert tell(SqlObserver(url), whole_story(tmp_path, "02")) == "2"

    def test_what_is_erased_is_not_left_in_the_file(self, url, tmp_path, monkeypatch):
        """A database keeps what was replaced in pages that are free; and a file lies in chunks."""
        monkeypatch.setattr(_sql_blobs, "CHUNK", 16)
        secret = "hunter2-größe"
        story = story_of(tmp_path, config={"key": secret})
        story.artifact("log", (f"{'x' * 10}{secret}" * 50).encode()).source("a.py", f"k = {secret!r}".encode())
        story.add(events.Output(text="x" * 16_380 + secret, offset=0))
        observer = SqlObserver(url)
        label = tell(observer, story.complete())
        assert secret.encode() in (tmp_path / "runs.db").read_bytes()
        assert SqlObserver.curator(url).erase(secret) >= 54
        for name in os.listdir(tmp_path):
            if name.startswith("runs.db"):
                assert b"hunter2" not in (tmp_path / name).read_bytes(), name
        record = SqlObserver.reader(url).get(label)
        assert record.artifact("log").read() == (b"x" * 10 + b"*" * len(secret.encode())) * 50
        assert record.output == "x" * 16_380 + "*" * len(secret.encode())
        (source,) = record.sources
        assert ask(tmp_path / "runs.db", "SELECT md5sum FROM source") == ask(
            tmp_path / "runs.db", "SELECT md5 FROM capture_file WHERE kind = 'source'"
        )

    def test_files_that_become_equal_are_one(self, url, tmp_path):
        """Two files that differed in the secret alone have one digest afterwards."""
        story = story_of(tmp_path).resource("/a", b"hunter2 x").resource("/a", b"******* x").resource("/b", b"hunter2 x")
        label = tell(SqlObserver(url), story.complete())
        SqlObserver.curator(url).erase("hunter2")
        record = SqlObserver.reader(url).get(label)
        assert sorted((stored.name, stored.read()) for stored in record.resources) == [
            ("/a", b"******* x"),
            ("/b", b"******* x"),
        ]
        assert ask(tmp_path / "runs.db", "SELECT count(*) FROM capture_blob") == [(1,)]


class TestSacredsWays:
    def test_hooks_without_uid_store_at_once(self, url, tmp_path):
        """Observers of Sacred are called so by code that people have."""
        observer = SqlObserver(url)
        label = observer.started_event(**describe(), start_time=NOW, _id=None)
        out = tmp_path / "out.txt"
        out.write_bytes(b"made")
        observer.heartbeat_event(info={"a": 1}, captured_out="hello\n", beat_time=NOW, result=0.5)
        observer.artifact_event("out.txt", str(out))
        observer.log_metrics({"loss": {"steps": [0], "values": [1.5], "timestamps": [NOW]}}, {})
        record = SqlObserver.reader(url).get(label)
        assert (record.uid, record.output, record.result, record.info) == ("", "hello\n", 0.5, {"a": 1})
        assert record.artifact("out.txt").read() == b"made"
        assert record.metrics["loss"].values == [1.5]
        observer.completed_event(NOW, 0.75)
        assert SqlObserver.reader(url).get(label).result == 0.75
        assert observer.started_event(**describe(), start_time=NOW, _id=None) == "2"

    def test_query_says_what_sacreds_does(self, url, tmp_path):
        """It is Sacred's only way of reading."""
        observer = SqlObserver(url)
        label = tell(observer, whole_story(tmp_path))
        found = observer.query(label)
        assert found["_id"] == label
        assert found["status"] == "COMPLETED"
        assert found["config"]["layers"] == (64, 32)
        assert found["experiment"]["name"] == "digits"
        assert [each["filename"] for each in found["artifacts"]] == ["model.bin", "plots/loss.svg"]
        with pytest.raises(RunNotFoundError):
            observer.query(99)

    def test_an_engine_that_is_there_can_be_used(self, tmp_path):
        """Also one of a database in memory, as people use in tests of theirs."""
        from sqlalchemy import create_engine
        from sqlalchemy.orm import sessionmaker
        from sqlalchemy.pool import StaticPool

        engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
        session = sessionmaker(bind=engine)()
        observer = SqlObserver.create_from(engine, session, priority=3)
        label = tell(observer, story_of(tmp_path).complete(5))
        assert (observer.engine, observer.session, observer.priority) == (engine, session, 3)
        assert observer.query(label)["result"] == 5.0
        assert observer.identity is None

    def test_create_is_deprecated(self, url):
        """As Sacred's is."""
        with pytest.warns(DeprecationWarning, match="SqlObserver"):
            assert SqlObserver.create(url) == SqlObserver(url)


@pytest.mark.slow
def test_a_script_records_into_a_database(tmp_path):
    """By the option of the command line, from beginning to end."""
    script = tmp_path / "train.py"
    script.write_text(
        "from capture import Experiment\nex = Experiment('digits')\n"
        "@ex.config\ndef config():\n    lr = 0.1\n"
        "@ex.automain\ndef train(lr, _run):\n    print('hello')\n    _run.log_scalar('loss', lr)\n    return lr\n",
        encoding="utf-8",
    )
    command = [sys.executable, str(script), "-s", "sqlite:///runs.db", "with", "lr=0.25"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    record = SqlObserver.reader(f"sqlite:///{tmp_path}/runs.db").get("latest")
    assert (record.status, record.result, record.config["lr"]) == ("COMPLETED", 0.25, 0.25)
    assert record.metrics["loss"].values == [0.25]
    assert "hello" in record.output
    assert record.sources[0].read() == script.read_bytes()
