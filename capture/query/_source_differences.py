"""The code of the runs: source files byte by byte, what a change in them is worth, and the state of the repository."""

from __future__ import annotations

import os

from capture.filters import MISSING
from capture.query._compared import (
    all_same,
    changed_lines,
    content_of,
    digest_of,
    is_damaged,
    listed,
    rows_of,
    text_of,
    unified,
)
from capture.query._difference import Difference
from capture.query._grounds import weight_of
from capture.query.remotes import remote_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ast
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import Any

    from capture.query._compared import Compared
    from capture.records import RunRecord, StoredFile

UNKNOWN = "unknown"  #: instead of a digest
_LINE_DIGITS = 9  #: of the number of a line; more are none
NO_BYTES = "the store lacks the bytes of it in {}, so what changed cannot be shown"
DAMAGED = "the stored bytes of {} in run {} are damaged: they are not those that were recorded"
BY_DIGEST = "the recorded digests differ; what changed cannot be shown, since stored bytes are damaged"


class Statement:
    """A statement of a config scope.

    Attributes
    ----------
    code : str
        What it does, whatever its layout and place.
    names : set of str
        Names that it reads.
    """

    __slots__ = ("code", "names")

    def __init__(self, code: str, names: set[str]) -> None:
        self.code, self.names = code, names


class Sources:
    """The source files of the runs, read and parsed when they are needed.

    Attributes
    ----------
    code_differs : bool
        Whether the code of any source differs, or may; comments and config scopes are no code. Set by `differences`.
    complete : bool
        Whether every run names its sources and every difference between them could be judged.
    """

    def __init__(self, compared: Compared) -> None:
        self._compared = compared
        self._files = [{stored.name: stored for stored in run.sources} for run in compared.runs]
        self._digests = [_digests(run) for run in compared.runs]
        self._trees: dict[tuple[str, ...], ast.Module | None] = {}  # by content: most runs share most of their files
        self._read: set[str] | None = None
        self.code_differs = False
        self.complete = all(self._files)

    # ------------------------------------------------------------------------------------------------- what differs

    def differences(self) -> list[Difference]:
        """Compare the files."""
        compared = self._compared
        if not all(self._files):
            lost = list(map(_has_no_code, compared.runs))
            missing = [not files and not each for files, each in zip(self._files, lost)]
            if any(self._files) and any(missing):
                compared.limit(f"the code of {compared.named(missing)} is not recorded: sources cannot be compared")
            return self._main_file_gone(lost) if any(lost) else []
        found = [each for each in compared.differences("source", self._digests, "source, code") if self._is_known(each)]
        self._state_unknown()
        for each in found:
            if not each.same:
                self._judge(each)
        return found

    def _main_file_gone(self, lost: Sequence[bool]) -> list[Difference]:
        """Return the one difference that is sure where a folder does not have the main file of the first run."""
        name = self._compared.runs[0].experiment.get("mainfile")
        values = [digests.get(str(name), MISSING) for digests in self._digests]
        if not isinstance(name, str) or all(value is MISSING for value in values):
            return []
        why = f"it is not in {self._compared.named(lost)}"
        return [Difference("source", name, values, weight=weight_of("source, code"), why=why)]

    def _unknown(self, name: str) -> bool:
        """Say whether nobody knows if a file was the same: of none, or of some, there are no bytes and no digest."""
        digests = [files[name] for files in self._digests if name in files]
        return UNKNOWN in digests or len({digest.startswith("md5 ") for digest in digests}) > 1

    def _is_known(self, difference: Difference) -> bool:
        return MISSING in difference.values or not self._unknown(difference.name)

    def _state_unknown(self) -> None:
        names = [name for name in self._digests[0] if all(name in files for files in self._digests)]
        unknown = [name for name in names if self._unknown(name)]
        if unknown:
            self.complete = False
            self._compared.limit(
                f"whether {listed(unknown)} had the same content cannot be told: the store lacks the bytes of it"
            )

    def _judge(self, difference: Difference) -> None:
        """Say what the change of one file is worth."""
        name, compared = difference.name, self._compared
        present = [run for run, value in enumerate(difference.values) if value is not MISSING]
        if len(present) < len(compared.runs):
            renamed = self._names_elsewhere(name, present)
            if renamed:
                difference.weight = weight_of("source, comments")
                difference.why = f"the same content under another path: {listed(renamed)}"
                return
            users = compared.named(value is not MISSING for value in difference.values)
            difference.why = f"only {users} used it" if all(compared.has_run()) else f"it is part of {users} only"
            difference.weight = weight_of("source, more or fewer")
            self.code_differs = True
            return
        firsts = self._distinct(difference)
        contents = [content_of(self._files[run][name]) for run in firsts]
        lacking = [compared.names[run] for run, data in zip(firsts, contents) if data is None]
        if lacking:
            damaged = [compared.names[run] for run in firsts if is_damaged(self._files[run][name])]
            for each in damaged:
                compared.limit(DAMAGED.format(name, each))
            missing = [each for each in lacking if each not in damaged]
            difference.why = NO_BYTES.format(listed(missing)) if missing else BY_DIGEST
            difference.weight, self.code_differs, self.complete = weight_of("source, code"), True, False
            return
        difference.detail, lines = self._diffs(name, firsts, contents)
        verdicts = [self._verdict(name, firsts[0], run) for run in firsts[1:]]
        ground, why = max(verdicts, key=lambda verdict: weight_of(verdict[0]))
        self.code_differs = self.code_differs or ground == "source, code"
        difference.weight, difference.why = weight_of(ground), f"{lines}{why}"

    def _names_elsewhere(self, name: str, present: Sequence[int]) -> list[str]:
        """Return what a file is called by the runs that lack its name; empty unless all of them have its content."""
        contents = {self._digests[run][name] for run in present}
        if len(contents) > 1 or UNKNOWN in contents:
            return []
        [content] = contents
        lacking = [digests for run, digests in enumerate(self._digests) if run not in present]
        names = [next((other for other, each in digests.items() if each == content), "") for digests in lacking]
        return list(dict.fromkeys(names)) if all(names) else []

    def _distinct(self, difference: Difference) -> list[int]:
        """Return the first run of each content, the first run first."""
        firsts: dict[Any, int] = {}
        for run, value in enumerate(difference.values):
            firsts.setdefault(value, run)
        return list(firsts.values())

    def _diffs(self, name: str, runs: Sequence[int], contents: Sequence[bytes | None]) -> tuple[str, str]:
        """Return the unified diffs of a file with that of the first run, and how many lines they change."""
        texts = [text_of(data) for data in contents]
        if any(text is None for text in texts):
            return "", "its bytes are no text in UTF-8; "
        diffs = []
        for run, text in zip(runs[1:], texts[1:]):
            labels = tuple(f"{self._compared.names[each]}/{name}" for each in (runs[0], run))
            diffs.append(unified(texts[0] or "", text or "", labels, self._compared.context))  # type: ignore[arg-type]
        if not all(diffs):
            return "\n".join(diffs), ""
        added, removed = changed_lines(diffs[0])
        return "\n".join(diffs), f"+{added} -{removed} lines; " if len(diffs) == 1 else ""

    def _verdict(self, name: str, first: int, other: int) -> tuple[str, str]:
        """Judge the change of one file between two runs by what Python makes of it."""
        if not name.endswith((".py", ".pyi", ".pyw")):
            return "source, code", "it is no file of Python's"
        before, after = self.tree(first, name), self.tree(other, name)
        if before is None or after is None:
            return "source, code", "Python cannot parse it"
        if _told(before) == _told(after):
            return "source, comments", "comments or formatting only: the code is the same"
        if _told(before, _is_string) == _told(after, _is_string):
            return "source, comments", "docstrings, comments or formatting only"
        changed = _changed_parts(before, after)
        if _told(before, _is_config_scope) == _told(after, _is_config_scope):
            if not all(self._compared.has_run()):  # what they set is known of runs only
                return "config, default changed", f"changes config scopes: {listed(changed)}"
            return "source, config scopes", f"only config scopes: {listed(changed)}"
        return "source, code", f"changes {listed(changed)}"

    # ----------------------------------------------------------------------------------------- what the code tells

    def tree(self, run: int, name: str) -> ast.Module | None:
        """Return a source of a run as Python parses it; None where it cannot."""
        import ast
        import warnings

        stored = self._files[run].get(name)
        digest = self._digests[run].get(name, UNKNOWN)
        key = (str(run), name) if digest == UNKNOWN else (digest,)
        if key not in self._trees:
            text = text_of(content_of(stored)) if stored is not None else None
            tree = None
            if text is not None:
                try:
                    with warnings.catch_warnings():
                        warnings.simplefilter("ignore")  # about their escapes, which their own run has told of
                        tree = ast.parse(text)
                except (SyntaxError, ValueError, RecursionError, MemoryError):
                    tree = None
            self._trees[key] = tree
        return self._trees[key]

    def statement(self, run: int, origin: str) -> Statement | None:
        """Return the statement that an origin names by file and line; None where that cannot be found."""
        import ast

        place = origin.rpartition("(")[2].rstrip(")")
        file, _, line = place.rpartition(":")
        if not file or not line.isdecimal() or len(line) > _LINE_DIGITS:
            return None
        names = [name for name in self._files[run] if os.path.basename(name) == file]
        tree = self.tree(run, names[0]) if len(names) == 1 else None
        if tree is None:
            return None
        around = [
            node
            for node in ast.walk(tree)
            if isinstance(node, ast.stmt) and node.lineno <= int(line) <= (node.end_lineno or node.lineno)
        ]
        if not around:
            return None
        inner = max(around, key=lambda node: node.lineno)
        return Statement(_told(inner), {each.id for each in ast.walk(inner) if isinstance(each, ast.Name)})

    def is_read_by_nothing(self, path: str) -> str | None:
        """Return a sentence if no recorded source mentions an entry of the configuration; None if one may read it.

        A source that cannot be parsed, and anything that takes the configuration as a whole, may read it.
        """
        mentioned = self._mentioned()
        if not mentioned or "_config" in mentioned or "config" in mentioned:
            return None
        if any(part in mentioned for part in path.split(".")):
            return None
        return f"no recorded source mentions {path.rpartition('.')[2]} outside of config scopes"

    def _mentioned(self) -> set[str]:
        """Return the names in the code of all runs, but for entries that config scopes only set.

        There are none where some of the code is not known.
        """
        if self._read is None:
            self._read = set()
            trees = self._all_trees()
            for tree in [] if None in trees else trees:
                assert tree is not None
                self._read.update(_words_in(tree), _read_by_scopes(tree))
        return self._read

    def _all_trees(self) -> list[ast.Module | None]:
        """Return the sources of all runs as Python parses them, each content once."""
        trees = [self.tree(run, name) for run, files in enumerate(self._files) for name in files]
        return list({id(tree): tree for tree in trees}.values())

    def imported(self) -> set[str]:
        """Return the top-level names of the modules that the sources of any run import."""
        import ast

        found: set[str] = set()
        for tree in self._all_trees():
            for node in ast.walk(tree or ast.Module([], [])):
                if isinstance(node, ast.Import):
                    found.update(each.name.partition(".")[0] for each in node.names)
                elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                    found.add(node.module.partition(".")[0])
        return found


def _digests(run: RunRecord) -> dict[str, str]:
    """Return by name what tells contents of sources apart; of a file whose bytes and digest nobody has, its MD5."""
    md5: dict[str, Any] = {}
    listed_sources = run.experiment.get("sources")
    for entry in listed_sources if isinstance(listed_sources, list) else ():
        if isinstance(entry, (list, tuple)) and len(entry) == 2:
            md5[str(entry[0])] = entry[1]
    return {stored.name: _digest(stored, md5.get(stored.name)) for stored in run.sources}


def _digest(stored: StoredFile, md5: Any) -> str:
    return digest_of(stored) or (f"md5 {md5}" if md5 else UNKNOWN)


# ------------------------------------------------------------------------------------------------------- Python's view


def _told(tree: ast.AST, is_left_out: Callable[[ast.AST], bool] = bool) -> str:
    """Return what code does, whatever its layout, as a text; two of them are equal if the code is.

    It is what `ast.dump` is for. That one calls itself for each level, and code can have more of them than Python
    allows calls: a sum of a thousand terms, a long chain of elif.

    Parameters
    ----------
    tree : ast.AST
    is_left_out : callable
        ``is_left_out(node) -> bool``: of statements that are passed over, with all that is in them.
    """
    import ast

    parts: list[str] = []
    waiting: list[Any] = [tree]
    while waiting:
        each = waiting.pop()
        if isinstance(each, ast.AST):
            parts.append(type(each).__name__)
            waiting += [getattr(each, name, None) for name in reversed(each._fields)]
        elif isinstance(each, list):
            kept = [one for one in each if not is_left_out(one)] if is_left_out is not bool else each
            parts.append(f"[{len(kept)}")
            waiting += reversed(kept)
        else:
            parts.append(hex(each) if type(each) is int else repr(each))  # decimals of a long one take long
    return " ".join(parts)


def _walked(tree: ast.AST, is_left_out: Callable[[ast.AST], bool]) -> Iterator[ast.AST]:
    """Yield the nodes of code but for some statements and what is in them."""
    import ast

    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if not is_left_out(node):
            yield node
            waiting += ast.iter_child_nodes(node)


def _is_string(node: ast.AST) -> bool:
    """Say whether a statement is only a text: a docstring, or one that nobody uses."""
    import ast

    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _is_config_scope(node: ast.AST) -> bool:
    """Say whether a statement is a function that is decorated as a config scope (``@ex.config``)."""
    import ast

    if not isinstance(node, ast.FunctionDef):
        return False
    decorators = [each.func if isinstance(each, ast.Call) else each for each in node.decorator_list]
    return any(isinstance(each, ast.Attribute) and each.attr in ("config", "named_config") for each in decorators)


def _changed_parts(before: ast.Module, after: ast.Module) -> list[str]:
    """Return the functions, classes and other parts that were changed, in the order of the file."""
    old, new = dict(_parts(before.body)), dict(_parts(after.body))
    changed = [name for name in new if old.get(name) != new[name]]
    changed += [name for name in old if name not in new]
    return changed or ["the order of its parts"]


def _parts(body: Sequence[ast.stmt], prefix: str = "") -> Iterator[tuple[str, str]]:
    import ast

    rest = []
    for node in body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield f"{prefix}{node.name}()", _told(node)
        elif isinstance(node, ast.ClassDef):
            yield from _parts(node.body, f"{prefix}{node.name}.")
            rest.append("|".join(map(_told, [*node.bases, *node.keywords, *node.decorator_list])))
        else:
            rest.append(_told(node))
    yield (f"class {prefix[:-1]}" if prefix else "top-level code"), "\n".join(rest)


def _read_by_scopes(tree: ast.AST) -> Iterator[str]:
    """Yield the names that config scopes read, to compute others from them."""
    import ast

    for scope in ast.walk(tree):
        if _is_config_scope(scope):
            for node in ast.walk(scope):
                if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
                    yield node.id


def _words_in(tree: ast.AST) -> Iterator[str]:
    """Yield the names, parameters, attributes and texts of code outside of config scopes."""
    import ast

    for node in _walked(tree, _is_config_scope):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif isinstance(node, ast.keyword) and node.arg:
            yield node.arg


# ----------------------------------------------------------------------------------------------------- the repository


def git_differences(compared: Compared, sources: Sources, sources_differ: bool) -> list[Difference]:
    """Compare the states of the main repositories, and files in no commit that were kept."""
    facts = [_main_repository(run) for run in compared.runs]
    tables = [None if _has_no_code(run) else _repository(run, fact) for run, fact in zip(compared.runs, facts)]
    if not any(tables):
        return []
    explained = "git, explained" if sources.complete else "git, unexplained"
    if not sources.complete:
        why = "not all sources could be compared"
    elif sources_differ:
        why = "the sources that changed are listed"
    else:
        why = "all source files that the runs used are the same"
    found = compared.differences("git", tables, lambda name, values: (explained, why), "git.")
    for each in found:
        if each.name in ("git.branch", "git.url"):
            each.weight = min(each.weight, weight_of("git, explained"))
        elif each.name == "git.patch" and not each.same and (sources_differ or compared.every or not sources.complete):
            each.detail = _patches(compared, facts)
    return found + _untracked_differences(compared, facts)


def _has_no_code(run: RunRecord) -> bool:
    """Say whether it is a folder in which the sources of the runs were not found."""
    return getattr(run, "is_working_tree", False) and getattr(run, "root", None) is None


def _git(run: RunRecord) -> Mapping[str, Any]:
    return run.git if isinstance(run.experiment.get("repositories"), list) else {}


def _main_repository(run: RunRecord) -> dict[str, Any]:
    """Return the late facts of the repository that `RunRecord.git` is of; empty where there are none."""
    states = [each for each in rows_of(run.facts.get("git")) if not each.get("distribution")]
    return next((each for each in states if each.get("commit") == _git(run).get("commit")), {}) if states else {}


def _repository(run: RunRecord, fact: dict[str, Any]) -> dict[str, Any]:
    main = _git(run)
    state = {key: value for key in ("commit", "branch", "dirty", "url") if (value := main.get(key)) is not None}
    if "url" in state and not remote_of(run, state["url"]):
        del state["url"]
    patch = fact.get("patch")
    if isinstance(patch, dict) and isinstance(patch.get("digest"), str):
        state["patch"] = patch["digest"]
    return state


def _patches(compared: Compared, facts: Sequence[dict[str, Any]]) -> str:
    """Return the unified diff of two patches' contents; "" where one is not kept."""
    texts = []
    for run, fact in zip(compared.runs, facts):
        try:
            texts.append(text_of(content_of(run.kept_file(fact["patch"]["source"]))))
        except (KeyError, TypeError):
            texts.append("")
    if None in texts or all_same(texts):
        return ""
    other = next(place for place, text in enumerate(texts) if text != texts[0])
    labels = (f"{compared.names[0]}/changes", f"{compared.names[other]}/changes")
    return unified(texts[0] or "", texts[other] or "", labels, compared.context)


def _untracked_differences(compared: Compared, facts: Sequence[dict[str, Any]]) -> list[Difference]:
    """Compare files that are in no commit, and were kept although no run is known to have used them."""
    told_elsewhere = _inputs_and_outputs(compared)

    def table(fact: dict[str, Any]) -> dict[str, Any] | None:
        entries = [each for each in rows_of(fact.get("untracked")) if isinstance(each.get("path"), str)]
        root = str(fact.get("root") or "")
        return {
            each["path"]: each.get("digest") or each.get("link") or each.get("size")
            for each in entries
            if not each.get("used") and f"{root}/{each['path']}" not in told_elsewhere
        }

    tables = [table(fact) if isinstance(fact.get("untracked"), list) else None for fact in facts]
    # Where it was watched what the runs opened, a file that none of them did is one that lies around: a log, a plot.
    ground = "noise" if all(map(_was_watched, compared.runs)) else "git, untracked"
    why = "a file in no commit, which none of the runs was seen to open"
    return compared.differences("git", tables, lambda name, values: (ground, why), "git.untracked ")


def _was_watched(run: RunRecord) -> bool:
    lineage = run.facts.get("lineage")
    return isinstance(lineage, dict) and isinstance(lineage.get("inputs"), list)


def _inputs_and_outputs(compared: Compared) -> set[str]:
    """Return the paths of what the runs are known to have read and written, which is compared as such."""
    paths: set[str] = set()
    for lineage in compared.facts("lineage"):
        for entry in (*rows_of(lineage.get("inputs")), *rows_of(lineage.get("outputs"))):
            paths.update(str(entry[key]).replace("\\", "/") for key in ("path", "real") if key in entry)
    return paths
