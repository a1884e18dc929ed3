"""``capture cp``: copy runs from one store to another."""

from __future__ import annotations

import sys

from capture.errors import CommandLineError, RunNotFoundError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from capture.copying import Copied
    from capture.hooks import Reader
    from capture.records import RunRecord


def run(source: str, target: str, runs: list[str], verify: bool) -> int:
    """Copy runs; say what became of each; return 1 if one of them is not there whole."""
    import tempfile

    from capture.copying import CopyError, compare_copy, copy_run
    from capture.delivery import identity_of
    from capture.registry import make_observer, open_reader
    from capture.secrets import redact_url
    from capture.stores import open_store

    origin = open_store(source)
    observer = make_observer(target)
    identity = identity_of(make_observer(source)) or redact_url(source)
    if identity_of(observer) == identity:
        raise CommandLineError(f"{redact_url(source)} and {redact_url(target)} are one store")
    reader = open_reader(target)
    records = list(_chosen(origin, runs))
    done = failed = 0
    with tempfile.TemporaryDirectory(prefix="capture-cp-") as folder:
        for place, record in enumerate(records, 1):
            show = _Progress(f"[{place}/{len(records)}] {record.label}")
            try:
                copied = copy_run(record, identity, observer, reader, folder, show)
                if verify:
                    compare_copy(record, reader, copied)
            except CopyError as error:
                show.clear()
                print(f"{record.label}: not copied: {error}", file=sys.stderr)
                failed += 1
                continue
            show.clear()
            print(_sentence(copied, verify))
            done += bool(copied.events)
            failed += not copied.is_complete
    origin.close()
    reader.close()
    print(f"{done} of {len(records)} runs copied to {redact_url(target)}" + (f", {failed} not whole" if failed else ""))
    return 1 if failed else 0


def _sentence(copied: Copied, verified: bool) -> str:
    if not copied.events:
        text = f"{copied.source} -> {copied.label}: is there already"
    else:
        text = f"{copied.source} -> {copied.label}: {copied.events} events, {copied.files} files, {_size(copied.size)}"
    if copied.missing:
        text += "".join(f"\n  the store it comes from has no bytes of: {each}" for each in copied.missing)
    if copied.differences:
        text += f"\n  the copy differs in: {', '.join(copied.differences)}"
    elif verified:
        text += ", compared"
    return text


def _size(size: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


class _Progress:
    """A line that is overwritten, on a terminal only."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._shown = 0.0
        self._is_terminal = sys.stderr.isatty()

    def __call__(self, copied: Copied) -> None:
        import time

        now = time.monotonic()
        if self._is_terminal and now - self._shown > 0.1:
            self._shown = now
            print(f"\r\x1b[K{self._text}: {copied.files} files, {_size(copied.size)}", end="", file=sys.stderr)

    def clear(self) -> None:
        if self._shown:
            print("\r\x1b[K", end="", file=sys.stderr)


def _chosen(store: Reader, runs: list[str]) -> Iterator[RunRecord]:
    """Yield the runs that are named, or that fulfil a condition; all of them, oldest first, if nothing is said."""
    if not runs:
        for label in store.labels():
            yield store.get(label)
        return
    seen = set()
    for text in runs:
        for record in _meant(store, text):
            if str(record.label) not in seen:
                seen.add(str(record.label))
                yield record


def _meant(store: Reader, text: str) -> list[RunRecord]:
    try:
        return [store.get(text)]
    except RunNotFoundError as error:
        if not any(sign in text for sign in "<>= "):
            raise CommandLineError(str(error)) from error
    from capture.expressions import parse

    return list(store.find(parse(text)))[::-1]
