"""``capture cp``: copy runs from one store to another."""

from __future__ import annotations

import sys

from capture.cli._arguments import check_url, watch
from capture.cli._console import hint, say
from capture.errors import CaptureError, CommandLineError, RunNotFoundError
from capture.wording import format_size, visible

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from capture.copying import Copied
    from capture.hooks import Reader, RunObserver


USAGE = """\
Copy runs with their files from the store at one URL to that at another.

Usage:
  capture cp [--verify] SOURCE TARGET [RUN...]

SOURCE and TARGET are folders or URLs. All runs are copied, or those that are named, or those for which a condition such
as "config.lr < 0.1" holds. What is there already is not copied again. Files that are missing or damaged are named, and
listed in the copy without bytes; the same command brings them when they are mended. The copy of a run that has lost
output, measurements or documents keeps the tag half-copied until then. Status 1: not all is there whole.

Options:
  --verify  Read each copy again, bytes included, and compare it.
"""


def run(arguments: dict[str, Any]) -> int:
    """Copy what the arguments name."""
    return copy(arguments["SOURCE"], arguments["TARGET"], arguments["RUN"], arguments["--verify"])


def copy(source: str, target: str, runs: list[str], verify: bool) -> int:
    """Copy runs; say what became of each; return 1 if one of them is not there whole."""
    import tempfile

    from capture.copying import StoreLostError, is_passing
    from capture.delivery import identity_of
    from capture.registry import make_observer
    from capture.secrets import redact_url
    from capture.stores import open_store

    for url in (source, target):
        check_url(url)
    _refuse_condition(target)
    try:
        origin = open_store(source)
    except FileNotFoundError as error:
        raise CommandLineError(str(error)) from error
    watch(origin)
    told, observer = make_observer(source), make_observer(target)
    identity = identity_of(told) or redact_url(source)
    if identity_of(observer) == identity:
        raise CommandLineError(f"{_shown(source, identity)} and {_shown(target, identity)} are one store")
    labels = list(_chosen(origin, runs))
    if not labels:
        if not runs:
            print(f"{_shown(source, identity)} holds no runs", file=sys.stderr)
        origin.close()
        return 1
    copying = _Copying(origin, identity, observer, target, verify, lambda error: is_passing(told, error))
    where = _shown(target, identity_of(observer))
    with tempfile.TemporaryDirectory(prefix="capture-cp-") as folder:
        for place, label in enumerate(labels, 1):
            show = _Progress(f"[{place}/{len(labels)}] {visible(str(label))}")
            try:
                said = copying.copy(label, folder, show)
            except KeyboardInterrupt:
                show.clear()
                done = f"{copying.done} of {len(labels)} runs were copied to {where}"
                print(f"stopped: {done}; the same command goes on from here", file=sys.stderr)
                raise
            except Exception as error:  # noqa: BLE001 - other people's stores; what it was is said, the others go on
                show.clear()
                copying.failed += 1
                what = str(error) if isinstance(error, CaptureError) else f"{type(error).__name__}: {error}"
                print(f"{visible(str(label))}: not copied: {visible(what, lines=True)}", file=sys.stderr)
                if isinstance(error, StoreLostError) or is_passing(told, error):
                    copying.failed += len(labels) - place
                    print(f"{len(labels) - place} more were not tried", file=sys.stderr)
                    break
                continue
            show.clear()
            say(visible(said, lines=True))
    origin.close()
    copying.close()
    print(
        f"{copying.done} of {len(labels)} runs copied to {where}"
        + (f", {copying.failed} not whole" if copying.failed else "")
    )
    return 1 if copying.failed else 0


def _shown(url: str, identity: str | None) -> str:
    """Return what a store is called: as it was named; if that has a login in it, as the store calls itself."""
    from capture.secrets import redact_url

    return url if redact_url(url) == url else identity or redact_url(url)


def _refuse_condition(target: str) -> None:
    """Refuse a target that is no store yet and reads as a condition: then it is the target that was left out."""
    import os

    from capture.expressions import ExpressionError, parse
    from capture.registry import split_url

    if split_url(target)[0] != "file" or os.path.exists(target) or not any(sign in target for sign in "<>= "):
        return
    try:
        parse(target)
    except ExpressionError:
        return
    raise CommandLineError(
        f"no store is at {target!r}, which reads as a condition: TARGET comes before it"
        f"\n  to copy these runs:       capture cp SOURCE TARGET {target!r}"
        f"\n  for a folder of that name:  ./{target}"
    )


class _Copying:
    """Copies runs, one at a time, and counts."""

    def __init__(
        self,
        origin: Reader,
        identity: str,
        observer: RunObserver,
        target: str,
        verify: bool,
        passing: Callable[[BaseException], bool],
    ) -> None:
        self._passing = passing
        self.done = self.failed = 0
        self._origin, self._identity, self._verify = origin, identity, verify
        self._observer, self._target = observer, target
        self._reader: Reader | None = None

    def copy(self, label: Any, folder: str, show: _Progress) -> str:
        """Copy one run; return what is said of it."""
        from capture.copying import CopyError, compare_copy, copy_run

        record = self._origin.get(label)
        if self._origin.is_alive(record):
            raise CopyError("it is still going on: copy it when it has ended")
        copied = copy_run(record, self._identity, self._observer, self._open(), folder, show, self._passing)
        self.done += bool(copied.events)
        reader = self._open()
        if self._verify and reader is not None:
            compare_copy(record, reader, copied)
        self.failed += not copied.is_complete
        return _sentence(copied, self._verify)

    def _open(self) -> Reader | None:
        """Return a reader of the store that is copied to; None as long as there is none."""
        from capture.registry import open_reader

        if self._reader is None:
            try:
                self._reader = open_reader(self._target)
            except FileNotFoundError:
                return None
        return self._reader

    def close(self) -> None:
        if self._reader is not None:
            self._reader.close()


def _sentence(copied: Copied, verified: bool) -> str:
    if not copied.events:
        text = f"{copied.source} -> {copied.label}: is there already"
    else:
        size = format_size(copied.size)
        text = f"{copied.source} -> {copied.label}: {copied.events} events, {copied.files} files, {size}"
    if copied.missing:
        text += "".join(f"\n  the store it comes from has no bytes of: {each}" for each in copied.missing)
    text += "".join(f"\n  left out, since its bytes are damaged: {each}: {why}" for each, why in copied.damaged.items())
    text += "".join(f"\n  the run it was made from is damaged: {each}" for each in copied.lost)
    if copied.is_of_half:
        text += "\n  the run it was made from is itself a copy that broke off: copy it there again, from where it came"
    if copied.differences:
        text += f"\n  the copy differs in: {', '.join(copied.differences)}"
    elif verified and copied.is_complete:
        text += ", compared"
    return text


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
            print(f"\r\x1b[K{self._text}: {copied.files} files, {format_size(copied.size)}", end="", file=sys.stderr)

    def clear(self) -> None:
        if self._shown:
            print("\r\x1b[K", end="", file=sys.stderr)


def _chosen(store: Reader, runs: list[str]) -> Iterator[Any]:
    """Yield the labels of runs that are named, or that fulfil a condition; of all, oldest first, if nothing is said.

    Records are not kept: there may be many, and each may be large.
    """
    if not runs:
        yield from store.labels()
        return
    seen = set()
    for text in runs:
        for label in _meant(store, text):
            if str(label) not in seen:
                seen.add(str(label))
                yield label


def _meant(store: Reader, text: str) -> list[Any]:
    try:
        return [store.get(text).label]
    except RunNotFoundError:
        if not any(sign in text for sign in "<>= "):
            raise
    from capture.cli._arguments import condition_of
    from capture.cli._runs import nothing_fulfils
    from capture.query.asking import LOOKED_AT, known_paths

    where = condition_of([text], known=lambda: known_paths(store.find(None, LOOKED_AT)))
    labels = [record.label for record in store.find(where)][::-1]
    if not labels and where is not None:
        hint(nothing_fulfils(store, where))
    return labels
