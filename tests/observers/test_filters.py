"""Every store answers every condition as Python does: what it asks its database may find more, and never less."""

from __future__ import annotations

import enum
import shutil
import sqlite3
from contextlib import closing
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import PurePosixPath

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from capture import events
from capture.expressions import parse
from capture.filters import Either, Every, Not, Test, meant
from capture.observers import FileStorageObserver, SqlObserver
from capture.observers._file_reader import FileStoreReader
from capture.testing.contract import uid
from capture.testing.feed import START_US, Story, describe, tell
from tests.project.tree import ROOT
from tests.servers.fixtures import each_kind, fresh_name

GOLDEN = ROOT / "tests" / "golden"
BEGIN = datetime.fromtimestamp(START_US / 1e6, timezone.utc)


class Colour(enum.Enum):
    """Members whose names and values are told apart, or not."""

    RED = "red"
    adam = "Adam"
    ONE = 1
    NONE = None
    PAIR = (1, 2)


class Mode(str, enum.Enum):
    """Members that are text, too."""

    FAST = "fast"


class Level(enum.IntEnum):
    """Members that are numbers, too."""

    LOW = 1
    HIGH = 3


#: values of one entry of the configurations, some of which only look alike
ODD = [
    *(1, 1.0, True, 0, False, None, -3, 2.5, 10**30, 2**53 + 1, float("nan"), float("inf"), float("-inf")),
    *("adam", "Adam", "adam ", "", "größe", "a%b_c", "a\\b", 'say "hi"', "\0", "\udc80", "t" * 300, "{TinyDate}:x", "json://x"),
    *([1, 2], ["adam", "sgd"], (1, 2), [], {}, {"y": 1}, {"y": {"z": "deep"}}, [{"y": 1}], b"bytes", Decimal(5)),
    *(datetime(2020, 1, 1), complex(1, 2), {1, 2}, [[1]], [True]),
    *((1, [2, (3,)]), [(1, 2)], {"y": (1, 2)}, ()),
    *(Colour.RED, Colour.adam, Colour.NONE, Colour.PAIR, Mode.FAST, Level.LOW, Level.HIGH, [Colour.RED, Colour.ONE]),
    *(PurePosixPath("adam/model.pt"), [PurePosixPath("adam"), "sgd"], date(2020, 1, 1), [date(2020, 1, 2)]),
    *(datetime(2020, 1, 1, 12, tzinfo=timezone.utc), {"name": "adam", "value": 1}),
]
NAMES = ["digits", "vision", "vision/resnet", "vision/resnet/50", "visionary", "Vision", "", "größe/ä", "a_b/c%d", "x" * 600]
STATUSES = ["COMPLETED", "FAILED", "EARLY", "failed", "FAILED "]
COMMITS = ["ab12" + "0" * 36, "ab12" + "f" * 36, "AB12" + "0" * 36, "ab13" + "0" * 36]
PACKAGES = [
    ["numpy==2.1.0", "scikit-learn==1.10"], ["numpy==2.1", "Scikit_Learn==1.9"], ["numpy==2.0.0rc1+cu118"],
    ["numpy==v2.1.0", "ruamel.yaml==0.18"], ["torch==2.1.0+cu118", "certifi==2023.07.22"], ["numpy==unknown"], [],
]  # fmt: skip
USERS = ["ann", "Ann", "bob", "anna", "größe", None]


def fill(observer, folder):
    """Tell an observer of runs that are alike in everything but what they are odd in."""
    for number in range(60):
        story, ex_info = Story(folder / str(number), uid(f"{number:04x}")), describe()["ex_info"]
        ex_info["name"] = NAMES[number % len(NAMES)]
        ex_info["dependencies"] = PACKAGES[number % len(PACKAGES)]
        if number % 5:
            commit = {"url": "u", "commit": COMMITS[number % len(COMMITS)], "dirty": bool(number % 2)}
            ex_info["repositories"] = [commit, {"url": "v", "commit": "ab12" + "9" * 36, "dirty": True}]
        config = {"x": ODD[number % len(ODD)], "opt": {"lr": number / 10, "x": ODD[-number % len(ODD)]}}
        if number % 4 == 0:
            config = {"x": number, "opt.lr": number, "opt": {"lr": str(number)}}
        elif number % 7 == 0:
            config = {}
        start = BEGIN + timedelta(days=number, microseconds=123_456 * (number % 3))
        if number % 10 == 9:
            tell(observer, story.queue(config=config, ex_info=ex_info))
            continue
        described = {**describe(), "config": config, "ex_info": ex_info}
        story.add(events.Started(start_time=start, label=None, **described))
        if number % 3:
            story.add(events.Facts(topic="process", facts={"user": {"name": USERS[number % len(USERS)]}, "pid": 7}))
        if number % 6 == 5:
            story.add(events.Facts(topic="imports", facts={"dependencies": ["numpy==2.2.0", "late==1.0"]}))
        story.metrics(loss=[1.0, [0.5, "nan", "inf", 10**30, -1, 3][number % 6]])
        if number % 2:
            tags = [["good"], ["good", "bad"], ["go,od", "good]"], ["größe"], []][number % 5]
            story.add(events.Annotated(tags=tags, notes=["", "as in the paper", "Größe\nzwei"][number % 3]))
        status, end = STATUSES[number % len(STATUSES)], start + timedelta(seconds=number * 100)
        if number % 8 == 7:
            story.add(events.Heartbeat(beat_time=end, info=[{"n": number}], result=[None]))
        elif number % 16 == 11:
            pass  # it was killed before its first heartbeat
        elif status == "COMPLETED":
            story.add(events.Completed(stop_time=end, result=[number, ODD[number % len(ODD)], None][number % 3]))
        elif status == "FAILED":
            story.add(events.Failed(fail_time=end, fail_trace=["x\n"]))
        else:
            story.add(events.Interrupted(interrupt_time=end, status=status))
        tell(observer, story)


VALUES = [each for each in ODD if not isinstance(each, (complex, set))] + ["ad", 5, 0.1, "10", 10.0, "deep", "y"]
VALUES += ["RED", "red", "Colour.RED", "fast", "adam/model.pt", "2020", "2020-01-01", "2020-01-01 12:00Z", "7 days ago"]
TEXTS = ["ad", "adam", "am", "", "g", "größ", "vision", "vision/", "a_b", "a%", "go", "good", "\\", '"', "\udc80", "an", "t" * 40, "0", "y"]
PATTERNS = ["*", "*.pt", "RED", "ad*", "[aA]dam", "a?am", "vision/*", "*e", "go*", "größe*", "*\\*", "a_b*"]
TIMES = [BEGIN + timedelta(days=days, microseconds=us) for days in (0, 3, 30, 31) for us in (0, 123_456, 123_457)]
TIMES += [datetime.min.replace(tzinfo=timezone.utc), datetime.max.replace(tzinfo=timezone.utc), None]
SIGNS = ("==", "!=", "<", "<=", ">", ">=")


def drawn(paths, signs, values):
    """Draw a test of one of these paths."""
    return st.builds(Test, st.sampled_from(paths), st.sampled_from(signs), st.sampled_from(values))


def meanings_of(path, signs, values):
    """Draw what is written so."""
    return st.builds(meant, st.just(path), st.sampled_from(signs), st.sampled_from(values))


PLACES = ["config.x", "config.opt.lr", "config.opt.x", "config.opt.x.y", "config.x.0", "config.x.y.z", "result", "config.none"]
PLACES += ["config.x.name", "config.x.value", "config.opt.x.name", "result.value", "config.x.0.name"]
TEXT_PLACES = ["name", "status", "command", "tags", "notes", "user", "config.x", "experiment.name", "git.commit", "git.url"]
TESTS = st.one_of(
    drawn(PLACES, SIGNS, VALUES),
    drawn([*PLACES, "tags", "start_time", "git", "packages.numpy"], ("exists",), [None]),
    st.builds(Test, st.sampled_from(PLACES), st.just("in"), st.lists(st.sampled_from(VALUES), max_size=3)),
    drawn([*PLACES, *TEXT_PLACES], ("contains",), [*VALUES, *TEXTS]),
    drawn([*PLACES, *TEXT_PLACES], ("startswith", "endswith"), TEXTS),
    drawn([*PLACES, *TEXT_PLACES], ("matches",), PATTERNS),
    drawn(TEXT_PLACES, SIGNS, [*TEXTS, *NAMES, *STATUSES, *COMMITS, None]),
    drawn(["metrics.loss.last", "metrics.loss.min", "metrics.loss.count", "metrics.no.last"], SIGNS, [0.5, 1, 2, 10**30, None, "x"]),
    drawn(["start_time", "stop_time", "heartbeat", "queue_time"], SIGNS, TIMES),
    drawn(["duration"], SIGNS, [0, 100, 500.0, None]),
    drawn(["git.dirty", "git.branch", "info.n"], SIGNS, [True, False, None, 1, 7]),
    meanings_of("git.commit", ("==", "!="), ["ab12", "AB12", "ab1", *COMMITS]),
    meanings_of("project", ("==", "!="), ["vision", "vision/resnet/", "größe", "a_b", "x" * 600]),
    meanings_of("status", ("==", "!="), [*STATUSES, "RUNNING", "DIED", "QUEUED"]),
    meanings_of("packages.numpy", SIGNS, ["2.1.0", "2.1", "2", "2.0.0rc1", "unknown", "2.2.0"]),
    meanings_of("packages.scikit_learn", SIGNS, ["1.10", "1.9"]),
    meanings_of("packages.certifi", ("==", "<="), ["2023.7.22"]),
)  # fmt: skip
CONDITIONS = st.recursive(
    TESTS,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(Every),
        st.lists(inner, min_size=1, max_size=3).map(Either),
        inner.map(Not),
    ),
    max_leaves=4,
)


def file_store(folder, request):
    fill(FileStorageObserver(folder / "runs"), folder)
    return FileStoreReader(folder / "runs")


def sqlite(folder, request):
    url = f"sqlite:///{folder}/runs.db"
    fill(SqlObserver(url), folder)
    return SqlObserver.reader(url)


def tinydb(folder, request):
    pytest.importorskip("tinydb")
    from capture.observers._tinydb_reader import TinyDbReader
    from capture.observers.tinydb import TinyDbObserver

    fill(TinyDbObserver(folder / "tiny"), folder)
    return TinyDbReader(folder / "tiny")


def of_server(kind):
    def make(folder, request):
        server, name = request.getfixturevalue(f"{kind}_server"), fresh_name()
        if kind != "mongo":
            server.create(name)
        request.addfinalizer(lambda: server.drop(name))
        from capture.registry import make_observer
        from capture.stores import open_store

        fill(make_observer(server.url_of(name)), folder)
        reader = open_store(server.url_of(name))
        request.addfinalizer(reader.close)
        return reader

    return make


def sacreds_files(folder, request):
    shutil.copytree(GOLDEN / "sacred-0.8.7", folder / "runs")
    return FileStoreReader(folder / "runs")


def sacreds_tables(folder, request):
    with closing(sqlite3.connect(folder / "runs.db")) as database:
        database.executescript((GOLDEN / "sacred-0.8.7-sql" / "runs.sql").read_text(encoding="utf-8"))
    return SqlObserver.reader(f"sqlite:///{folder}/runs.db")


def sacreds_tables_and_ours(folder, request):
    reader = sacreds_tables(folder, request)
    tell(SqlObserver(f"sqlite:///{folder}/runs.db"), Story(folder / "told", uid("01")).start().complete(1))
    return reader


def sacreds_tinydb(folder, request):
    from capture.observers._tinydb_reader import TinyDbReader

    shutil.copytree(GOLDEN / "sacred-0.8.7-tinydb", folder / "tiny")
    return TinyDbReader(folder / "tiny")


def sacreds_documents(folder, request):
    from bson import json_util
    from pymongo import MongoClient

    from capture.stores import open_store

    server, name = request.getfixturevalue("mongo_server"), fresh_name()
    request.addfinalizer(lambda: server.drop(name))
    with closing(MongoClient(server.url_of(name))) as client:
        text = (GOLDEN / "sacred-0.8.7-mongo.json").read_text(encoding="utf-8")
        for collection, documents in json_util.loads(text).items():
            client[name][collection].insert_many(documents)
    reader = open_store(server.url_of(name))
    request.addfinalizer(reader.close)
    return reader


SACREDS = {
    "files": sacreds_files,
    "tables": sacreds_tables,
    "tables and ours": sacreds_tables_and_ours,
    "tinydb": sacreds_tinydb,
    "mongo": sacreds_documents,
}
STORES = {
    "files": file_store,
    "sqlite": sqlite,
    "tinydb": tinydb,
    **{kind: of_server(kind) for kind in ("mongo", "postgres", "mariadb")},
}


class Filled:
    """A store with runs that are odd in many ways."""

    def __init__(self, kind, reader):
        self.kind, self.reader, self.records = kind, reader, list(reader.find())

    def check(self, condition):
        """See that the store finds the runs for which a condition holds."""
        wanted = [each.label for each in self.records if condition.matches(each)]
        found = [each.label for each in self.reader.find(condition)]
        missed, more = set(wanted) - set(found), set(found) - set(wanted)
        assert found == wanted, f"{condition}: {missed} were missed, {more} should not be there"

    def __repr__(self):
        return self.kind


@pytest.fixture(scope="module", params=each_kind(*STORES))
def store(request, tmp_path_factory):
    """A store with runs that are odd in many ways."""
    filled = Filled(request.param, STORES[request.param](tmp_path_factory.mktemp(request.param), request))
    assert len(filled.records) == 60
    return filled


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(condition=CONDITIONS)
def test_a_store_finds_what_python_finds(store, condition):
    """A run that the database left out would be missed by everybody, quietly."""
    store.check(condition)


def sharp():
    """Return conditions on which a store would stumble that thinks of numbers, texts, times or names otherwise."""
    for path in ("config.x", "config.opt.lr", "result"):
        for value in (1, True, 0, None, "adam", "", 10**30, 2**53, 2.5, "größe", [1, 2], Decimal(5)):
            yield Test(path, "==", value)
        for sign, value in (("<", 2), (">=", 1), (">", 10**20), ("<", "b"), ("!=", 1), ("exists", None)):
            yield Test(path, sign, value)
        for sign, value in (("contains", 1), ("contains", "ad"), ("contains", "y"), ("contains", ""), ("endswith", "am")):
            yield Test(path, sign, value)
        for value in ("RED", "red", "fast", "FAST", "adam/model.pt", Colour.RED, Mode.FAST, PurePosixPath("adam"), Level.HIGH):
            yield from (Test(path, "==", value), Test(path, "contains", value), Test(path, "in", ["x", value]))
        for value in ("2020", "2020-01-01", "2020-01-01 12:00Z", "7 days ago", date(2020, 1, 1), BEGIN, datetime(2020, 1, 1)):
            yield from (Test(path, sign, value) for sign in (*SIGNS, "contains"))
        for part in ("name", "value"):
            for sign, value in (("==", "RED"), ("==", "red"), ("!=", "RED"), ("exists", None), ("==", None), ("<", 2), ("==", "adam")):
                yield Test(f"{path}.{part}", sign, value)
        for sign, value in (("startswith", "ad"), ("startswith", "a%"), ("matches", "[aA]dam"), ("matches", "*.pt"), ("in", [1, "adam", None])):
            yield Test(path, sign, value)
    for path in ("status", "name", "command", "user", "git.commit", "notes", "tags"):
        for sign, value in (("contains", ""), ("startswith", ""), ("endswith", ""), ("matches", "*"), ("!=", ""), ("==", "")):
            yield Test(path, sign, value)
    for value in (*STATUSES, "RUNNING"):
        yield from (Test("status", "==", value), Test("status", "!=", value), Test("status", "in", [value, "none"]))
    for value in ("vision", "Vision", "vision/", "a_b", "x" * 600, "x" * 599, "größe"):
        yield from (Test("name", "==", value), Test("name", "startswith", value), Test("name", "<", value))
    for value in ("good", "goo", "go,od", "größe", 'good"', ","):
        yield from (Test("tags", "contains", value), Test("tags", "startswith", value), Test("notes", "contains", value))
    for value in ("ann", "Ann", "ann ", "größe"):
        yield from (Test("user", "==", value), Test("user", "startswith", value))
    for value in ("ab12", "AB12", "ab13" + "0" * 36):
        yield from (Test("git.commit", "==", value), Test("git.commit", "startswith", value), Test("git.commit", "<", value))
    for path in ("start_time", "stop_time", "heartbeat", "queue_time", "duration"):
        yield from (Test(path, "==", None), Test(path, "exists"))
    for us in (123_455, 123_456, 123_457):
        moment = BEGIN + timedelta(days=4, microseconds=us)
        for sign in SIGNS:
            yield Test("start_time", sign, moment)
            yield Test("stop_time", sign, moment + timedelta(seconds=400))
    for sign, value in ((">", 300), ("<=", 700), ("==", 500.0)):
        yield Test("duration", sign, value)
    for name in ("numpy", "scikit-learn", "scikit_learn", "SCIKIT.learn", "ruamel-yaml", "late"):
        for sign, value in (("==", "2.1"), (">=", "2.0"), ("==", "1.10"), ("!=", "2.1.0"), ("exists", None)):
            yield meant(f"packages.{name}", sign, value)
    for sign, value in (("==", True), ("==", False), ("exists", None), ("!=", True), ("==", None)):
        yield Test("git.dirty", sign, value)
    for part, value in (("last", 0.5), ("min", -1), ("max", 3), ("count", 2), ("last", 10**30), ("last", None)):
        for sign in SIGNS:
            yield Test(f"metrics.loss.{part}", sign, value)


def test_a_run_without_a_heartbeat_lasted_to_its_last_measurement_in_conditions_too(store):
    """Lists said 3.3 s of a run that was killed soon, and "duration > 3" did not find it."""
    killed = [each for each in store.records if each.heartbeat is None and each.stop_time is None and each.start_time]
    beating = [each for each in store.records if each.heartbeat is not None and each.stop_time is None]
    assert len(killed) == 3 and beating
    for record in (*killed, *beating):
        measured = record.summary["loss"]["time"] / 1e6
        end = max(measured, record.heartbeat.timestamp() if record.heartbeat else measured)
        assert record.duration == pytest.approx(max(end - record.start_time.timestamp(), 0), abs=1e-4)
        for condition in (Test("duration", ">=", record.duration), Test("duration", "<", record.duration + 1)):
            assert record.label in [each.label for each in store.reader.find(condition)]
            store.check(condition)
            store.check(Not(condition))


@pytest.mark.slow
def test_a_store_finds_what_python_finds_where_they_differ(store):
    """Truth is a number to Python, blanks at the end count, lists are no values, and nothing is missing quietly."""
    for condition in sharp():
        store.check(condition)
        store.check(Not(condition))


def of_old_records(record):
    """Return conditions on what a record has, which others of the same experiment may not have."""
    yield from (Test("name", "==", record.name), Test("name", "startswith", record.name[:2]))
    yield from (Test("status", sign, record.status) for sign in SIGNS)
    for name in ("start_time", "stop_time", "queue_time", "heartbeat"):
        for sign in SIGNS:
            yield Test(name, sign, getattr(record, name))
            yield Test(name, sign, BEGIN)
    for name, version in record.packages.items():
        yield from (meant(f"packages.{name}", sign, version) for sign in SIGNS)
    for name, value in (*record.git.items(), ("commit", "0" * 40)):
        yield from (Test(f"git.{name}", sign, value) for sign in ("==", "!=", "startswith"))
    for name, value in record.config.items():
        yield from (Test(f"config.{name}", sign, value) for sign in (*SIGNS, "contains"))
    yield from (Test("metrics.loss.last", sign, 0.5) for sign in SIGNS)


def wide():
    """Return conditions of more terms, values or letters than a database takes in one question."""
    yield Test("uid", "in", [str(number) for number in range(70_000)])  # PostgreSQL's drivers take 65,535
    for path in ("config.x", "result", "command", "name", "status", "user", "metrics.loss.last"):
        values = [*range(1_100), *map(str, range(1_100)), "FAILED", "vision", "main"]
        yield from (Test(path, "in", values), Not(Test(path, "in", values)), Test(path, "in", values[1_100:]))
    for path in ("config.opt.lr", "notes", "tags", "name", "user"):
        yield from (Not(Test(path, sign, "x" * 70_000)) for sign in ("contains", "startswith", "endswith", "matches"))
    some = [f"{number:05x}" for number in range(1_100)]
    yield meant("git.commit", "in", [*some, "ab12"])
    yield Test("config.x", "in", 5)
    one_of, none_of = Test("config.x", "==", "adam"), Test("status", "!=", "FAILED")
    for number in range(1_100):
        one_of |= Test("config.x", "==", number)
        none_of &= Test("config.x", "!=", number)
    yield from (one_of, none_of, ~one_of, ~none_of)


@pytest.mark.slow
def test_a_condition_may_be_wider_than_a_database_takes(store):
    """A list of thousands of seeds is an ordinary thing to ask for: SQLite and PostgreSQL refused to answer."""
    for condition in wide():
        store.check(condition)


@pytest.mark.slow
@pytest.mark.parametrize("kind", each_kind(*SACREDS))
def test_of_records_that_sacred_made_none_is_left_out_either(kind, tmp_path, request):
    """They have no summaries, no facts and no exact values beside, and other columns are to be asked."""
    filled = Filled(kind, SACREDS[kind](tmp_path, request))
    assert len(filled.records) >= 2
    for condition in (*list(sharp())[::6], *of_old_records(filled.records[-1])):
        filled.check(condition)
        filled.check(Not(condition))


#: a condition -> how many runs a database hands over at most, in which 60 are
SORTED_OUT = [
    ("start_time > '2 days ago'", 0),
    ("status != 'COMPLETED' and not status in ['FAILED', 'EARLY', 'failed', 'FAILED ']", 20),
    ("project == 'vision'", 18),
    ("git.commit == 'ab13'", 12),
    ("'größe' in tags", 6),
    ("user == 'bob'", 10),
    ("packages.torch == '2.1.0'", 8),
    ("config.x.startswith('ad')", 38),  # tuples and others, which MongoDB has not, are looked at
    ("config.opt.lr > 5.7", 25),  # configs with keys that MongoDB cannot hold are all looked at
    ("'größe' in tags or start_time > '2 days ago'", 6),
    ("'paper' in notes", 10),
]


@pytest.mark.parametrize(("text", "most"), SORTED_OUT)
def test_the_database_does_the_sorting_out(store, text, most):
    """Ten thousand runs are not fetched to find five of them."""
    condition = parse(text)
    store.check(condition)
    if store.kind not in ("files", "tinydb"):  # these answer from an index, and from memory
        assert len(list(store.reader.candidates(condition, None))) <= most
