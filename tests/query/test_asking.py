"""What people ask for in words: of the command line, and of the client."""

from __future__ import annotations

import pytest

from capture.cli._arguments import condition_of
from capture.errors import CommandLineError
from capture.expressions import ExpressionError
from capture.probes.process import user_facts
from capture.query.asking import NotAConditionError, condition, known_paths, me, unknown_paths
from capture.records import RunRecord, Series


def a_run(name="vision/resnet", status="COMPLETED", user="ann", tags=("good",), **config):
    """Return a run as a store would."""
    run = RunRecord(uid="0f", label="3")
    run.status, run.tags, run.config = status, list(tags), config
    run.experiment = {"name": name, "dependencies": ["numpy==2.1.0"], "repositories": [{"commit": "ab12" * 10}]}
    run.facts = {"process": {"user": {"name": user}}}
    run.metrics = {"loss": Series("loss", [0], [0.5], [1])}
    return run


@pytest.mark.parametrize(
    ("words", "run"),
    [
        (["vision"], a_run()),
        (["vision"], a_run(name="vision")),
        (["vision/"], a_run()),
        (["vision/resnet"], a_run()),
        (["vision/resnet"], a_run(name="vision/resnet/50")),
        (["completed"], a_run()),
        (["FAILED"], a_run(status="FAILED")),
        (["vision", "completed", "config.lr < 1"], a_run(lr=0.1)),
        ("vision completed", a_run()),
        (["not", "failed"], a_run()),
        (["vision", "and", "not", "failed"], a_run()),
        ("text or completed and not config.debug", a_run()),
        ("not config.debug", a_run(debug=False)),
        ("config.lr < 1", a_run(lr=0.1)),
        (["config.lr", "<", "1"], a_run(lr=0.1)),
        (["not", "config.debug"], a_run(debug=False)),
        (["config.debug"], a_run(debug=True)),
        (["tags"], a_run()),
        (["result/"], a_run(name="result")),
        (["resnet-50"], a_run(name="resnet-50")),
        (["größe"], a_run(name="größe")),
    ],
)
def test_words_that_hold(words, run):
    """People write what is shortest, and quote only what their shell would eat."""
    assert condition(words).matches(run)


@pytest.mark.parametrize(
    ("words", "run"),
    [
        (["vision"], a_run(name="visionary")),
        (["vision/res"], a_run()),
        (["resnet"], a_run()),  # a folder is named from the top
        (["FAILED"], a_run()),
        (["vision", "failed"], a_run()),
        (["config.debug"], a_run()),
        (["result"], a_run(name="result")),
        (["12/"], a_run()),
    ],
)
def test_words_that_do_not_hold(words, run):
    """A part of a name is no folder, and several words hold together."""
    assert not condition(words).matches(run)


@pytest.mark.parametrize(
    ("words", "holds", "does_not"),
    [
        (["config.lr == 0.3", "and", "digits-sgd"], a_run(name="digits-sgd", lr=0.3), a_run(name="digits", lr=0.3)),
        (["config.lr == 0.3 and digits-sgd"], a_run(name="digits-sgd", lr=0.3), a_run(name="digits-sgd", lr=1)),
        (["config.lr", "==", "0.3", "and", "digits-sgd"], a_run(name="digits-sgd", lr=0.3), a_run(lr=0.3)),
        ("config.lr == 0.3 or failed", a_run(status="FAILED"), a_run(lr=1)),
        ("not (config.lr == 0.3 or failed)", a_run(lr=1), a_run(status="FAILED")),
        ("(vision/ or text) and not (failed or config.lr >= 1)", a_run(lr=0.3), a_run(lr=1)),
        ("'good' not in tags and größe/50", a_run(name="größe/50", tags=()), a_run(name="größe/50")),
        ("größe or result > 1 or größe/ and tags", a_run(name="größe"), a_run()),
        ("config.lr in (0.1, 0.3) and\n vision", a_run(lr=0.3), a_run(name="text", lr=0.3)),
        ("2024-run and config['lr'] == 1", a_run(name="2024-run", lr=1), a_run(lr=1)),
        (["failed or completed", "and", "config.lr < 1"], a_run(lr=0.3), a_run(status="FAILED", lr=3)),
        (["(", "failed", "or", "config.lr < 1", ")", "and", "vision"], a_run(lr=0.3), a_run(name="text", lr=0.3)),
        (["failed or config.lr < 1", "vision"], a_run(lr=0.3), a_run(name="text", lr=0.3)),
        ("failed or notes == 'text and died' or config.x is not None", a_run(x=1), a_run()),
    ],
)
def test_words_and_comparisons_are_joined(words, holds, does_not):
    """What a word means alone it means beside a comparison, in brackets or not, in one argument or several."""
    assert condition(words).matches(holds)
    assert not condition(words).matches(does_not)


@pytest.mark.parametrize(
    ("words", "column", "said"),
    [
        ("config.lr == 0.3 or augment", 20, r"'augment' alone is .* did you mean config\.augment\? .* write augment/"),
        ("config.lr == 0.3 or faild", 20, r"did you mean failed\?"),
        ("config.lr == 0.3 or start", 20, r"did you mean start_time\?"),
        ("config.lr == 0.3 or confg.lr", 20, r"did you mean config\.lr\?"),
        ("config.lr == 0.3 or 0.5", 20, r"PATH in \[A, B\]"),
        ("größe/ and lr < 0.3", 11, r"did you mean config\.lr\?"),
        ("vision failed or died", 7, r"before failed should stand and, or"),
        (["vision", "failed", "or", "died"], 7, r"before failed should stand and, or"),
        ("(vision or text) failed", 17, r"before failed should stand and, or"),
        ("config.lr == 0.3 vision", 17, r"before vision should stand"),
        ("config.name == my exp", 18, r"text of several words is in quotes"),
        ("digits-sgd and status == failed", 25, r"text stands in quotes, as 'failed'"),
        ("digits-sgd and (failed) < 3", 16, r"here should be a path"),
        ("digits-sgd and config.lr = 3", 25, r"write == to compare"),
        ("(vision or config.lr < 1", 0, r"never closed"),
    ],
)
def test_a_mistake_between_words_is_pointed_at(words, column, said):
    """At its column in what was written; a word that is probably something else is no project without being asked."""
    known = known_paths([a_run(lr=0.1, augment=True)])
    with pytest.raises(ExpressionError, match=said) as error:
        condition(words, known=lambda: known)
    assert error.value.column == column
    shown, mark = str(error.value).splitlines()[-2:]
    assert mark.index("^") - 2 == column
    assert shown.strip() == (words if isinstance(words, str) else " ".join(words))


@pytest.mark.parametrize("words", [None, [], "", ["  "]])
def test_no_words_are_no_condition(words):
    """All runs are meant, and the store is not asked to look at each."""
    assert condition(words) is None


def test_a_run_is_no_condition():
    """`capture ls 12` means another command."""
    for word in ("12", "-1"):
        with pytest.raises(NotAConditionError, match="the name of a run"):
            condition([word])
        with pytest.raises(CommandLineError, match=f"capture show {word}"):
            condition_of([word])


def test_my_runs_are_those_of_the_user_who_asks():
    """On a shared store the name is the one that the run recorded; who does not say so is nobody's."""
    assert me() == user_facts()["name"]
    assert condition([], mine=True).matches(a_run(user=me()))
    assert not condition([], mine=True).matches(a_run(user="somebody else"))
    assert not condition([], mine=True).matches(RunRecord())
    assert condition(["vision"], user="ann").matches(a_run())
    assert not condition(["text"], mine=True, user="ann").matches(a_run())


def test_a_word_without_its_beginning_is_completed():
    """People forget `config.`: what there is says what they mean, at its column."""
    with pytest.raises(ExpressionError, match=r"no path begins with 'lr': config\.lr\?") as error:
        condition("config.x == 1 or lr < 0.1")
    assert error.value.column == 17
    with pytest.raises(ExpressionError, match=r"did you mean config\.opt\.lr or"):
        condition("lr < 0.1", known=lambda: ["config.opt.lr", "config.lr", "metrics.lr.last"])
    with pytest.raises(ExpressionError, match=r"did you mean metrics\.loss\.last\?"):
        condition("los < 0.1", known=lambda: known_paths([a_run()]))


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("start > 'today'", r"did you mean start_time\?"),
        ("model.opt.momentum == 0.5", r"did you mean config\.model\.opt\.momentum\?"),
        ("config.lr * 2 < 0.2", "nothing is computed"),
        ("0.2 > config.lr * 2", "nothing is computed"),
        ("config.a-b == 1", r'config\["a-b"\]'),
    ],
)
def test_what_is_not_understood_is_put_right(asked, said):
    """What tables call it, a path without its first word, arithmetic: each is a natural thing to try."""
    with pytest.raises(ExpressionError, match=said):
        condition(asked)


def test_a_path_without_its_first_word_is_looked_up_as_a_whole():
    """Of several entries called momentum it is the one below opt."""
    run = a_run(model={"opt": {"momentum": 1}}, other={"momentum": 2})
    with pytest.raises(ExpressionError, match=r"did you mean config\.model\.opt\.momentum\?"):
        condition("opt.momentum == 0.5", known=lambda: known_paths([run]))


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("config.lrr < 1", "no run has config.lrr; did you mean config.lr? There are: config.epochs, config.lr"),
        ("config.learning_rate < 1", "no run has config.learning_rate; did you mean config.lr? There are:"),
        ("config.momentum < 1", "no run has config.momentum; there are: config.epochs, config.lr"),
        ("config.depth > 1", "did you mean config.net.depth?"),
        ("not config.lrr", "no run has config.lrr;"),
        ("metrics.los.last < 1", "no run has metrics.los.last; did you mean metrics.loss.last? There are: metrics.loss"),
        ("metrics.loss < 1", "metrics.loss is a series: compare its metrics.loss.last, or .min, .max, .step, .count"),
        ("packages.nunpy == '2.1.0'", "did you mean packages.numpy?"),
        ("vison", "no experiment is called 'vison'; did you mean vision? There are: vision/resnet"),
        ("FAILD", "did you mean the state FAILED?"),
        ("import", "no experiment is called 'import'; there are: vision/resnet"),
        ("status == 'complete'", "no run is in the state 'complete'; did you mean COMPLETED?"),
        ("'goood' in tags", "no run has the tag 'goood'; did you mean good?"),
        ("git.commit == 'ab1'", "the beginning of a commit has four digits or more, 'ab1' has 3"),
        ("user == 'eve'", "no run says that it is of the user 'eve'; there are: ann"),
    ],
)
def test_what_no_run_has_is_named(asked, said):
    """A misspelt path matches nothing, quietly; the one who asked is told why."""
    run = a_run(lr=0.1, epochs=3) if "depth" not in asked else a_run(net={"depth": 3})
    (odd,) = unknown_paths(condition(asked), iter([run]))
    assert said in str(odd)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("failed died", "a run cannot be both FAILED and DIED; write: failed or died"),
        ("running and died", "a run cannot be both RUNNING and DIED; write: running or died"),
        ("config.lr < 1 and failed and completed", "a run cannot be both FAILED and COMPLETED; write: failed or completed"),
        ("failed died queued", "a run cannot be FAILED and DIED and QUEUED; write: failed or died or queued"),
        ("vision text", "a run cannot be of both vision and text; write: vision or text"),
        ("(vision and text) or config.lr > 9", "write: vision or text"),
    ],
)
def test_what_cannot_hold_at_once_is_told(asked, said):
    """Several words look like a list to choose from, and hold together."""
    runs = [a_run(lr=1), a_run(name="text", status="FAILED")]
    assert said in "\n".join(str(each) for each in unknown_paths(condition(asked), iter(runs)))


@pytest.mark.parametrize("asked", ["vision vision/resnet failed", "failed or died", "running", "died", "not failed and not died"])
def test_what_can_hold_at_once_is_not_told(asked):
    """A project lies within another, and a died run is recorded as running."""
    runs = [a_run(lr=1), a_run(status="FAILED")]
    assert not [each for each in unknown_paths(condition(asked), iter(runs)) if "cannot be" in str(each)]


@pytest.mark.parametrize("asked", ["config.lr > 100", "vision", "FAILED", "start_time > '1 h ago'", "git.commit == 'abcd'"])
def test_nothing_is_said_of_what_runs_have(asked):
    """That none fulfils it is an answer."""
    run = a_run(lr=0.1)
    run.experiment["repositories"] = [{"url": "x", "commit": "f" * 40, "dirty": False}]
    assert unknown_paths(condition(asked), [run]) == []


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("config.lr == '0.1'", "config.lr is a number: write config.lr == 0.1, without quotes"),
        ("config.opt == 5", "config.opt is text: write config.opt == '5', with quotes"),
        ("host == 'vm'", "host is a group of values, host.KEY is one; did you mean host.hostname? There are: host.cpu, host."),
        ("result > 0.9", "result is a group of values, result.KEY is one; there are: result.accuracy"),
        ("tags == 'good'", "write 'good' in tags"),
        ("start_time > 'today'", "start_time >= that day includes it"),
    ],
)
def test_a_comparison_with_another_kind_is_told(asked, said):
    """It holds for no run, whatever the values are; that is no answer."""
    run = a_run(lr=0.1, opt="adam")
    run.host, run.result = {"hostname": "vm", "cpu": "x"}, {"accuracy": 0.95}
    (odd,) = unknown_paths(condition(asked), [run])
    assert said in str(odd)


def test_few_runs_are_looked_at():
    """A store may hold a million, and it is about a hint."""
    seen = []

    def newest():
        for number in range(1000):
            seen.append(number)
            yield a_run(lr=number)

    (odd,) = unknown_paths(condition("config.lrr < 1"), newest(), limit=20)
    assert len(seen) == 21  # whether there are more
    assert str(odd).startswith("none of the 20 newest runs has config.lrr; did you mean config.lr?")
    (odd,) = unknown_paths(condition("tup"), newest(), limit=20)
    assert str(odd).startswith("none of the 20 newest runs is of an experiment called 'tup'")
    (odd,) = unknown_paths(condition("tup"), [a_run()] * 20, limit=20)
    assert str(odd).startswith("no experiment is called 'tup'")
    assert unknown_paths(condition("config.lrr < 1"), []) == []
