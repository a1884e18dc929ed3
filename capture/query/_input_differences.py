"""What the runs read: files by digest, folders by manifest, what was fetched from URLs."""

from __future__ import annotations

from capture.file_uses import why_unknown
from capture.filters import MISSING
from capture.query._compared import changed_lines, content_of, digest_of, listed, rows_of, text_of, unified
from capture.query._difference import Difference
from capture.query._grounds import weight_of
from capture.wording import counted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from capture.query._compared import Compared
    from capture.records import RunRecord

    Homes = dict[str | None, str]  # names of the inputs of a run by digest


class Input:
    """A file, a folder or a URL that a run read.

    Attributes
    ----------
    digest : str or None
        SHA-256 of its bytes; of a folder, that of its manifest; of a sample, with ``~`` before it.
    size : int or None
        Bytes.
    why : str
        Why there is no digest.
    path : str
        Where it lay, absolute, or the URL.
    manifest : str or None
        Name of what is kept of a folder's files.
    """

    __slots__ = ("digest", "manifest", "path", "size", "why")

    def __init__(
        self, digest: str | None, size: int | None, why: str, path: str, manifest: str | None = None
    ) -> None:
        self.digest, self.size, self.why, self.path, self.manifest = digest, size, why, path, manifest

    def is_same(self, other: Input) -> bool | None:
        """Say whether both had the same content; None where nobody knows."""
        if self.size is not None and other.size is not None and self.size != other.size:
            return False
        if self.digest is None or other.digest is None or self.is_sampled is not other.is_sampled:
            return None
        return self.digest == other.digest

    @property
    def is_sampled(self) -> bool:
        """Whether the digest is that of a sample."""
        return self.digest is not None and self.digest.startswith("~")


def input_differences(compared: Compared, config: Sequence[Difference]) -> list[Difference]:
    """Compare the inputs by name and digest.

    Parameters
    ----------
    compared : Compared
    config : sequence of Difference
        What differs in the configuration: a file that it names follows from it.
    """
    tables = [inputs_of(run) for run in compared.runs]
    homes = [{each.digest: name for name, each in reversed(table.items())} for table in tables]
    _state_coverage(compared)
    found = []
    unknown: dict[str, list[str]] = {}
    for name in sorted(dict.fromkeys(name for table in tables for name in table)):
        entries = [table.get(name) for table in tables]
        if _is_unknown(compared, entries):
            unknown.setdefault(compared.named(each is None for each in entries), []).append(name)
            continue
        difference = _compare_input(compared, name, entries, homes, config)
        if difference is not None:
            found.append(difference)
    for runs, names in unknown.items():
        compared.limit(f"whether {runs} read {listed(names)}, too, is not known")
    return found


def inputs_of(run: RunRecord) -> dict[str, Input]:
    """Return what a run read, by name: relative to its base folder, else the absolute path, or the URL."""
    base = str(run.experiment.get("base_dir") or "").rstrip("/\\")
    found: dict[str, Input] = {}
    for stored in run.resources:
        found[_relative(stored.name, base)] = Input(digest_of(stored), stored.size, "", stored.name)
    lineage = run.facts.get("lineage")
    facts = lineage if isinstance(lineage, dict) else {}
    for entry in rows_of(facts.get("inputs")):
        path = str(entry.get("path"))
        digest, size = _digest_and_size(entry)
        if digest is not None and entry.get("sampled"):
            digest = "~" + digest
        manifest = entry.get("manifest")
        source = manifest.get("source") if isinstance(manifest, dict) else None
        why = str(entry.get("why") or "")
        found[str(entry.get("name") or _relative(path, base))] = Input(digest, size, why, path, source)
    for entry in rows_of(facts.get("urls")):
        url = str(entry.get("url"))
        found[url] = Input(*_digest_and_size(entry), str(entry.get("why") or ""), url)
    return found


def _digest_and_size(entry: dict[str, Any]) -> tuple[str | None, int | None]:
    """Return digest and size as a record tells them, which may hold anything."""
    digest, size = entry.get("digest"), entry.get("size")
    return digest if isinstance(digest, str) else None, size if type(size) is int else None


def _relative(path: str, base: str) -> str:
    inside = base and path.startswith(base) and path[len(base) : len(base) + 1] in ("/", "\\")
    return path[len(base) + 1 :].replace("\\", "/") if inside else path


def _state_coverage(compared: Compared) -> None:
    """Say which inputs may have gone unseen."""
    runs = zip(compared.names, compared.facts("lineage"), compared.has_run(), _reasons(compared))
    for name, facts, there, why in runs:
        if not there:
            continue
        coverage = facts.get("coverage")
        if not isinstance(coverage, dict):
            because = f": {why}" if why.startswith("it ") else ""
            compared.limit(f"which files {name} read is not recorded, but for those that it named itself{because}")
        elif isinstance(coverage.get("unseen"), list) and coverage["unseen"]:
            unseen = [str(each) for each in coverage["unseen"]]
            compared.limit(f"inputs of {name} may have gone unseen: {listed(unseen)}")


def _reasons(compared: Compared) -> list[str]:
    """Return of each run why it is not known which files it read; "" where it is, and of a working tree."""
    runs = zip(compared.runs, compared.states, compared.has_run())
    return [why_unknown(run, state) if is_run else "" for run, state, is_run in runs]


def _is_unknown(compared: Compared, entries: Sequence[Input | None]) -> bool:
    """Say whether others were seen to read an input, and of each run that has it not nobody knows what it read."""
    if None not in entries:
        return False
    unknown = [bool(why) for why in _reasons(compared)]
    were_seen = [not each for each, entry in zip(unknown, entries) if entry is not None]
    return any(were_seen) and all(each for each, entry in zip(unknown, entries) if entry is None)


def _compare_input(
    compared: Compared,
    name: str,
    entries: Sequence[Input | None],
    homes: Sequence[Homes],
    config: Sequence[Difference],
) -> Difference | None:
    values = [MISSING if each is None else each.digest or _sized(each) for each in entries]
    there = [each for each in entries if each is not None]
    if len(there) < len(entries):
        return _more_or_fewer(compared, name, values, there, homes, config)
    known = next((each for each in there if each.digest is not None), there[0])
    verdicts = [first.is_same(each) for first in (there[0], known) for each in there if each is not first]
    if all(verdicts):
        return Difference("input", name, values, same=True) if compared.every else None
    if False not in verdicts:
        why = next((each.why for each in there if each.why), "") or "there is no digest of it"
        compared.limit(f"whether {name} had the same content cannot be told: {why}")
        return None
    difference = Difference("input", name, values, weight=weight_of("input, other content"))
    difference.why, difference.detail = _what_changed(compared, name, entries)
    return difference


def _sized(entry: Input) -> str:
    return "no digest" if entry.size is None else f"no digest, {entry.size} bytes"


def _more_or_fewer(
    compared: Compared,
    name: str,
    values: list[Any],
    there: Sequence[Input],
    homes: Sequence[Homes],
    config: Sequence[Difference],
) -> Difference | None:
    """Judge a file that only some of the runs read: it may lie elsewhere, or be named by the configuration."""
    digest = there[0].digest
    if digest and not digest.startswith("~"):
        paths = [names.get(digest) for names in homes]
        if None not in paths:
            why = f"the same content under another path: {listed(sorted(set(map(str, paths))))}"
            return Difference("input", name, values, why=why, same=True) if compared.every else None
    readers = f"only {compared.named(value is not MISSING for value in values)} read it"
    gone = [value is MISSING and not is_run for value, is_run in zip(values, compared.has_run())]
    if any(gone):
        return Difference("input", name, values, weight=weight_of("input, other content"), why="it is not there now")
    for entry in config:
        if any(_names(value, name, there[0].path) for value in entry.values):
            why = f"{readers}: follows from {entry.name}"
            return Difference("input", name, values, weight=weight_of("input, follows"), why=why)
    return Difference("input", name, values, weight=weight_of("input, more or fewer"), why=readers)


def _names(value: Any, name: str, path: str) -> bool:
    """Say whether a value of the configuration names a file, or a folder that it lies in."""
    if not isinstance(value, str) or not value.strip("./\\"):
        return False
    short = value.replace("\\", "/").removeprefix("./").rstrip("/")
    return any(each == short or each.startswith(short + "/") or each.endswith("/" + short) for each in (name, path))


def _what_changed(compared: Compared, name: str, entries: Sequence[Input | None]) -> tuple[str, str]:
    """Say how the content of an input differs, where the store has it: of a folder by files, of a text by lines."""
    there = [each for each in entries if each is not None]
    first, last = next((one, other) for one in there for other in there if one.is_same(other) is False)
    runs = entries.index(first), entries.index(last)
    if first.manifest or last.manifest:
        return _files_that_changed(compared, runs, first, last)
    why = "it had other content"
    if first.size != last.size and None not in (first.size, last.size):
        why += f": {first.size:,} -> {last.size:,} bytes"
    texts = [_stored_text(compared.runs[run], entry.path) for run, entry in zip(runs, (first, last))]
    if texts[0] is None or texts[1] is None:
        return why, ""
    labels = (f"{compared.names[runs[0]]}/{name}", f"{compared.names[runs[1]]}/{name}")
    diff = unified(texts[0], texts[1], labels, compared.context)
    added, removed = changed_lines(diff) if diff else (0, 0)
    return (f"{why}, +{added} -{removed} lines" if diff else why), diff


def _stored_text(run: RunRecord, path: str) -> str | None:
    stored = next((each for each in run.resources if each.name == path), None)
    return None if stored is None else text_of(content_of(stored))


def _files_that_changed(compared: Compared, runs: tuple[int, int], first: Input, last: Input) -> tuple[str, str]:
    from capture.errors import RecordError
    from capture.probes.lineage.manifests import compare_manifests

    try:
        manifests = [
            compared.runs[run].kept_file(str(entry.manifest)).read() for run, entry in zip(runs, (first, last))
        ]
        changes = compare_manifests(*manifests)
    except (KeyError, OSError, RecordError):
        return "files in the folder differ; the lists of them are not both in the store", ""
    told = [f"{len(names):,} {what}" for what, names in changes.items() if names]
    lines = [f"{sign} {each}" for what, sign in _SIGNS.items() for each in changes[what]]
    number = sum(map(len, changes.values()))
    why = f"{counted(number, 'file')} of the folder differ{'s' if number == 1 else ''}: {listed(told)}"
    return why, "\n".join(lines)


_SIGNS = {"added": "+", "removed": "-", "changed": "~", "unsure": "?"}
