"""``capture diff``: why runs differ, the likeliest cause first, and what came out."""

from __future__ import annotations

import os

from capture.cli._console import (
    colour_enabled,
    escape_output,
    heading,
    is_terminal,
    paged,
    print_table,
    say,
    screen_size,
    styled,
)
from capture.errors import CommandLineError, RunNotFoundError
from capture.filters import MISSING, state_of
from capture.query._shown_values import shown_values
from capture.query.addresses import stores_of
from capture.wording import aligned, cell_width, format_duration, format_time, visible

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from capture.cli._arguments import NamedStores
    from capture.query.differences import Comparison, Difference
    from capture.records import RunRecord

USAGE = """Say why runs differ: the likeliest causes first, then what came out.

Usage:
  capture diff RUN RUN... [options]

A RUN is a label, the beginning or end of a uid, latest, or -1; STORE::RUN is one of another store, a folder or URL. A
RUN may be a folder, as . is: then the run is compared with the sources, packages, inputs, repository and machine as
they are there now. Nothing in that folder is executed.

Options:
  --all            Show what is equal, too, and what differs in any two runs; cut nothing off.
  --config         Show configuration, seeds and command only. The options of this kind can be combined; the exit
                   status is that of what is shown.
  --source         Show sources and the state of the repository only.
  --packages       Show packages and the interpreter only.
  --inputs         Show what was read only.
  --metrics        Show results and metrics only.
  --out            Show how the outputs differ, line by line.
  --context=N      Lines around changed ones [default: 3].
  --python=PATH    The interpreter whose packages count as those of the folder; by default that of this command.
  --json           Print it as JSON.
  --md             Print it as Markdown, for a pull request.
  --html=FILE      Write it as one page of HTML that needs nothing else.
  --force          Overwrite that file if it is there.
  --no-pager       Do not page long output.
  --store=URL      The store of runs that name none: a folder or URL; CAPTURE_STORE, else ./runs, if left out.
  -h, --help       Show this text.

Exit status: 0 where nothing differs, 1 where something does, 2 where they could not be compared.
"""

#: option -> kinds of differences that it shows
SECTIONS = {
    "--config": ("config", "seed", "command"),
    "--source": ("source", "git"),
    "--packages": ("package",),
    "--inputs": ("input",),
    "--metrics": ("status", "result", "metric"),
    "--out": ("output",),
}
MOST_DETAIL_LINES = 40  #: of one difference; --all lifts it
MOST_DATA_LINES = 10  #: of the same for data, which few people read
LONGEST_LINE = 160  #: characters of such a line
RARELY = "What differs, none of which is likely to explain anything"
MOST_SHOWN = 40  #: differences of one list
MOST_TOGETHER = 5  #: unlikely causes of one kind and reason
LONGEST_VALUE = 60  #: characters


def run(arguments: dict[str, Any]) -> int:
    """Carry it out; return the exit status."""
    from capture.cli._arguments import NamedStores
    from capture.query.differences import compare

    _check(arguments)
    with NamedStores(arguments) as stores:
        runs = _runs(arguments, stores)
        comparison = compare(runs, bool(arguments["--all"]), context=_context(arguments))
        _keep_sections(comparison, arguments)
        _tell(comparison, runs, arguments)
    return 1 if comparison.differ else 0


def _check(arguments: dict[str, Any]) -> None:
    """Say what is wrong on the command line before anything is read."""
    from capture.cli._arguments import check_is_run

    words = [str(each) for each in arguments["RUN"]]
    for word in words:
        check_is_run(word)
    folders = [word for word in words if is_folder(word)]
    if len(folders) > 1 or len(folders) == len(words):
        raise CommandLineError(f"one folder is compared with runs, got {' and '.join(folders)}")
    if len(words) < 2:
        raise CommandLineError("name two runs or more, or a run and a folder")
    if arguments["--python"] and not folders:
        raise CommandLineError("--python says whose packages count as those of a folder; name one, as in: diff -1 .")
    if arguments["--force"] and not arguments["--html"]:
        raise CommandLineError("--force is about the file of --html=FILE: name one")
    forms = [option for option in ("--md", "--json", "--html") if arguments[option]]
    if len(forms) > 1:
        raise CommandLineError(f"one form at a time: {' or '.join(forms)}")
    if arguments["--html"]:
        from capture.cli._writing import check_target

        check_target(arguments["--html"], arguments["--force"], "--html=FILE")
    _context(arguments)


def _keep_sections(comparison: Comparison, arguments: dict[str, Any]) -> None:
    sections = [option for option in SECTIONS if arguments.get(option)]
    if sections:
        kinds = {kind for option in sections for kind in SECTIONS[option]}
        comparison.causes = [each for each in comparison.causes if each.kind in kinds]
        comparison.outcomes = [each for each in comparison.outcomes if each.kind in kinds]
        if not kinds & {"result", "metric", "output"}:
            comparison.agreements = []


def _tell(comparison: Comparison, runs: Sequence[RunRecord], arguments: dict[str, Any]) -> None:
    """Write or print it in the form that is asked for."""
    if arguments["--html"]:
        _write_page(comparison, arguments["--html"], arguments["--force"])
    elif arguments["--json"]:
        from capture import plainjson

        # in ASCII, in which nothing hides on a terminal
        say(plainjson.dumps(comparison.to_dict(), indent=2, allow_nan=False))
    elif arguments["--md"]:
        from capture.pages.comparison import as_markdown

        say(as_markdown(comparison), end="")
    else:
        with paged(not arguments["--no-pager"]):
            _Text(comparison, runs, bool(arguments["--all"]), bool(arguments["--out"])).print()


def _context(arguments: dict[str, Any]) -> int:
    from capture.cli._arguments import whole_number

    number = whole_number(arguments, "--context")
    return 3 if number is None else number


def _runs(arguments: dict[str, Any], stores: NamedStores) -> list[RunRecord]:
    """Return what is compared: runs, and at most one folder as it is now."""
    words = [str(each) for each in arguments["RUN"]]
    folders = [word for word in words if is_folder(word)]
    runs: list[Any] = [None if word in folders else _run(stores, word) for word in words]
    for place, word in enumerate(words):
        if word in folders:
            from capture.query.working_tree import FolderNotFoundError, InterpreterError, working_tree

            known = [each for each in runs if each is not None]
            try:
                runs[place] = working_tree(known, os.path.expanduser(word), python=arguments["--python"])
            except (FolderNotFoundError, InterpreterError) as error:
                raise CommandLineError(str(error)) from error
    return runs


def _run(stores: NamedStores, word: str) -> RunRecord:
    """Return a run; where a folder has the name of none, say how that is named."""
    try:
        return stores.get(word)
    except RunNotFoundError as error:
        if not os.path.isdir(word):
            raise
        raise CommandLineError(f"{error}\nthere is a folder of that name: write ./{word} for it") from error


def is_folder(word: str) -> bool:
    """Say whether an argument names a folder, and no run."""
    from capture.query.addresses import split_run

    if split_run(word)[0] is not None:
        return False
    return word in (".", "..", "~") or "/" in word or os.sep in word


def _write_page(comparison: Comparison, path: str, force: bool) -> None:
    from capture.cli._console import hint
    from capture.cli._writing import write_whole
    from capture.pages.comparison import as_html

    write_whole(path, as_html(comparison).encode("utf-8"), force, "--html=FILE")
    hint(f"written: {visible(path)}")


# ----------------------------------------------------------------------------------------------------------------- text


class _Text:
    """A comparison on a terminal, or in a pipe."""

    def __init__(self, comparison: Comparison, runs: Sequence[RunRecord], every: bool, whole_output: bool) -> None:
        self._comparison, self._runs, self._every, self._whole_output = comparison, runs, every, whole_output
        self._is_pair = len(runs) == 2

    def print(self) -> None:
        comparison = self._comparison
        self._print_runs()
        causes = [each for each in comparison.causes if each.counts]
        outcomes = [each for each in comparison.outcomes if not each.same and each.kind != "usage"]
        if causes:
            heading("What differs, the likeliest cause first" if comparison.explains else RARELY)
            self._print_causes(causes)
        if outcomes or (causes and comparison.agreements):
            heading("What came out")
            if outcomes:
                self._print_outcomes(outcomes)
            if comparison.agreements:
                say(f"the same: {', '.join(comparison.agreements)}")
        if not comparison.differ:
            say()
            say("no difference")
            if comparison.agreements:
                say(f"the same: {', '.join(comparison.agreements)}")
        usage = [each for each in comparison.outcomes if each.kind == "usage"]
        if usage:
            heading("What it took")
            self._print_outcomes(usage)
        if self._every:
            differing = [each for each in comparison.causes if not each.same]
            self._print_rest("What differs in any two runs", [each for each in differing if not each.counts])
            equal = [each for each in (*comparison.causes, *comparison.outcomes) if each.same]
            self._print_rest("What is equal", equal)
        if comparison.limits:
            heading("To know")
            for sentence in comparison.limits:
                say(f"- {visible(sentence)}")

    def _print_runs(self) -> None:
        rows = []
        for name, run in zip(self._comparison.names, self._runs):
            note = getattr(run, "description", None) or state_of(run)
            rows.append([name, run.name, str(note), format_time(run.start_time), format_duration(run.duration)])
        print_table(["run", "experiment", "status", "started", "duration"], rows)
        stores = stores_of(self._runs)
        if stores:
            say()
            print_table(["store", ""], [[name, url] for url, name in stores.items()])

    # ------------------------------------------------------------------------------------------------------- causes

    def _print_causes(self, causes: Sequence[Difference]) -> None:
        much = [each for each in causes if each.explains or self._every]
        little = [each for each in causes if each not in much]
        shown = much if self._every else much[:MOST_SHOWN]
        if self._is_pair or not shown or not self._print_columns(shown):
            for number, each in enumerate(shown, 1):
                self._print_cause(number, each)
        else:
            for number, each in enumerate(shown, 1):
                self._print_reasons(number, each)
        if len(shown) < len(much):
            say(f"and {len(much) - len(shown):,} more; --all shows them")
        if little:
            if much:
                heading("Less likely")
            self._print_little(little)

    def _print_little(self, little: Sequence[Difference]) -> None:
        """Print unlikely causes, a line for those of one kind that share a reason."""
        groups: dict[tuple[str, str], list[Difference]] = {}
        for each in little:
            groups.setdefault((each.kind, each.why), []).append(each)
        for (kind, why), group in groups.items():
            told = [f"{_name(each)} {self._told(each)}".strip() for each in group[:MOST_TOGETHER]]
            if len(group) > MOST_TOGETHER:
                told.append(f"{len(group) - MOST_TOGETHER:,} more (--all shows them)")
            say(f"{kind} {', '.join(told)}")
            reasons = [visible(why)] if why else []
            if any(each.detail for each in group):
                reasons.append("--all shows the lines")
            if reasons:
                say(f"    {styled('; '.join(reasons), 'dim')}")

    def _print_cause(self, number: int, each: Difference) -> None:
        name = styled(f"{each.kind} {_name(each)}", "bold")
        say(f"{number:>2}. {name}  {self._told(each)}".rstrip())
        self._print_reason(each)
        self._print_detail(each)

    def _print_reasons(self, number: int, each: Difference) -> None:
        if each.why or each.detail:
            say()
            say(f"{number:>2}. {styled(f'{each.kind} {_name(each)}', 'bold')}")
            self._print_reason(each)
            self._print_detail(each)

    def _print_reason(self, each: Difference) -> None:
        if each.why:
            say(f"    {styled(visible(each.why), 'dim')}")

    def _print_detail(self, each: Difference) -> None:
        lines = each.detail.split("\n") if each.detail else []
        most = MOST_DATA_LINES if each.kind == "input" else MOST_DETAIL_LINES
        whole = self._every or (self._whole_output and each.kind == "output")
        shown = lines if whole else lines[:most]
        for line in shown:
            cut = line if whole or len(line) <= LONGEST_LINE else line[: LONGEST_LINE - 1] + "…"
            say(f"      {_coloured(cut)}".rstrip())
        if len(shown) < len(lines):
            say(f"      ... {len(lines) - len(shown):,} more lines; --all shows them")

    def _texts(self, each: Difference) -> list[str]:
        return shown_values(each, None if self._every else LONGEST_VALUE)

    def _told(self, each: Difference) -> str:
        """Return the values of a cause; of a source that all have they are digests, which say nothing more."""
        return "" if each.kind == "source" and MISSING not in each.values else self._values(each)

    def _values(self, each: Difference) -> str:
        told = self._texts(each)
        if self._is_pair:
            return f"{told[0]} → {told[1]}"
        groups: dict[str, list[str]] = {}
        for name, value in zip(self._comparison.names, told):
            groups.setdefault(value, []).append(visible(name))
        return "   ".join(f"{value} ({', '.join(names)})" for value, names in groups.items())

    # ------------------------------------------------------------------------------------------------------- tables

    def _print_columns(self, differences: Sequence[Difference]) -> bool:
        """Print values in columns, like runs in one; say whether the screen has room for that."""
        columns: dict[tuple[str, ...], list[str]] = {}
        told = [self._texts(each) for each in differences]
        for place, name in enumerate(self._comparison.names):
            columns.setdefault(tuple(values[place] for values in told), []).append(name)
        heads = ["", "", "", *(", ".join(names) for names in columns.values())]
        rows = [
            [f"{number}.", each.kind, _name(each), *(column[number - 1] for column in columns)]
            for number, each in enumerate(differences, 1)
        ]
        if not _has_room(heads, rows):
            return False
        print_table(heads, rows)
        return True

    def _print_outcomes(self, outcomes: Sequence[Difference]) -> None:
        shown = outcomes if self._every else outcomes[:MOST_SHOWN]
        told = [self._texts(each) for each in shown]
        names = self._comparison.names
        heads = ["", "", *names, *([""] if self._is_pair else [])]
        rows = [
            [each.kind, _name(each), *values, *([each.why] if self._is_pair else [])]
            for each, values in zip(shown, told)
        ]
        if not _has_room(heads, rows):
            self._print_one_by_one(shown)
        else:
            print_table(heads, rows)
            if not self._is_pair:
                self._print_partings(shown)
        if len(shown) < len(outcomes):
            say(f"and {len(outcomes) - len(shown):,} more; --all shows them")
        for each in shown:
            if each.detail and (self._every or self._whole_output):
                say()
                self._print_detail(each)

    def _print_one_by_one(self, outcomes: Sequence[Difference]) -> None:
        """Print what a narrow screen has no room for side by side."""
        for each in outcomes:
            say(f"{styled(f'{each.kind} {_name(each)}'.rstrip(), 'bold')}  {self._values(each)}")
            self._print_reason(each)

    def _print_partings(self, outcomes: Sequence[Difference]) -> None:
        """Say where metrics of more than two runs part; a table of so many columns has no room for it."""
        metrics = [each for each in outcomes if each.kind == "metric" and each.why]
        if metrics:
            say()
        for each in metrics:
            say(f"metric {_name(each)}: {visible(each.why)}")

    def _print_rest(self, title: str, differences: Sequence[Difference]) -> None:
        """Print what counts for nothing: noise with the value of each run, what is equal with its one value."""
        if not differences:
            return
        heading(title)
        rows = []
        for each in differences:
            told = shown_values(each)
            rows.append([each.kind, _name(each), *([told[0], each.why] if each.same else told)])
        print_table([""] * len(rows[0]), rows)


#: what the names of a kind begin with, which its own name says already
_PREFIXES = {"config": "config.", "seed": "config.", "package": "packages.", "git": "git."}


def _has_room(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> bool:
    """Say whether a table fits the screen, where there is one."""
    return not is_terminal() or max(map(cell_width, aligned(heads, rows, ["left"] * len(heads)))) <= screen_size()[0]


def _name(each: Difference) -> str:
    name = each.name.removeprefix(_PREFIXES.get(each.kind, ""))
    return "" if name == each.kind else visible(name)


def _coloured(line: str) -> str:
    text = escape_output(line)
    if not colour_enabled():
        return text
    if line.startswith(("---", "+++")):
        return styled(text, "bold")
    return styled(text, {"+": "green", "-": "red", "@": "cyan"}.get(line[:1]))
