"""Command lines of the subcommands: parsed by docopt, and the store and the runs that they name."""

from __future__ import annotations

import os

from capture.errors import CommandLineError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from capture.filters import Filter
    from capture.hooks import Reader, RunObserver
    from capture.query.client import Store, StoredRun

_MINUS = "\N{MINUS SIGN}"  #: stands for the dash of ``-1``, which docopt takes for an option


def parse(usage: str, arguments: list[str]) -> dict[str, Any] | None:
    """Return what docopt makes of the arguments of a subcommand, its name the first; None if only help was asked for.

    Parameters
    ----------
    usage : str
        The help text of the subcommand, with ``Usage:`` and ``Options:``. A negative number is a run, not an option.
        An option that stands there as ``--name=[VALUE]`` has the value "" where none is given.

    Raises
    ------
    CommandLineError
        It shows the usage lines.
    """
    if any(each in ("-h", "--help") for each in arguments[1:]):
        print(usage, end="" if usage.endswith("\n") else "\n")
        return None
    import docopt

    words = [_MINUS + each[1:] if each[:1] == "-" and each[1:].isdecimal() else each for each in arguments]
    words = [each + "=" if f" {each}=[" in usage and each[:2] == "--" else each for each in words]
    try:
        parsed = docopt.docopt(usage, words, False)
    except docopt.DocoptExit as error:
        lines = usage[usage.index("Usage:") :].partition("\n\n")[0]
        said = str(error).partition("\n")[0].strip()
        because = "" if not said or said.startswith(("Usage", "Warning")) else f" ({said})"
        given = " ".join(map(_masked, arguments))
        raise CommandLineError(
            f"these arguments are not understood: {given}{because}{_slip(usage, words[1:])}\n{lines}\n"
            f"capture {arguments[0]} --help says more."
        ) from None
    return {name: _dashes_back(value) for name, value in parsed.items()}


def _masked(word: str) -> str:
    """Return a word of the command line without the password of a URL in it."""
    from capture.secrets import redact_url

    name, equals, value = word.partition("=") if word.startswith("--") else ("", "", word)
    return f"{name}{equals}{redact_url(value)}"


def _slip(usage: str, words: list[str]) -> str:
    """Ask whether another option was meant by one that there is not; "" if all of them are known."""
    import re

    from capture.errors import suggest

    known = set(re.findall(r"--[a-z][a-z-]*", usage))
    before_end = words[: words.index("--")] if "--" in words else words
    for word in before_end:
        name = word.partition("=")[0]
        if name[:2] == "--" and not any(each.startswith(name) for each in known):
            close = suggest(name, sorted(known))
            return f"\ndid you mean {close}?" if close else ""
    return ""


def _dashes_back(value: Any) -> Any:
    if isinstance(value, str):
        return "-" + value[1:] if value[:1] == _MINUS and value[1:].isdecimal() else value
    return [_dashes_back(each) for each in value] if isinstance(value, list) else value


def chosen_store(arguments: dict[str, Any]) -> Store:
    """Open the store that ``--store`` names, else the default one."""
    return _opened(arguments.get("--store"), "name another with --store=URL or in CAPTURE_STORE.")


def _opened(url: str | None, otherwise: str) -> Store:
    """Open a store, the default one if none is named; `otherwise` says what to do where there is none."""
    from capture.query.client import open_store
    from capture.settings import SETTINGS

    check_url(SETTINGS.STORE if url is None else url)
    try:
        store = open_store(url)
    except FileNotFoundError as error:
        raise CommandLineError(f"{error}\n{otherwise}") from error
    watch(store.reader)
    return store


class NamedStores:
    """The stores of the runs that a command line names: ``STORE::RUN``, or a run alone, of the store of ``--store``.

    Each is opened when the first run of it is asked for: where every run names its store, there need be no other.
    """

    def __init__(self, arguments: dict[str, Any]) -> None:
        self._arguments = arguments
        self._stores: dict[str | None, Store] = {}  # by the word that names it; None: that of --store

    @property
    def chosen(self) -> Store:
        """The store of runs that stand alone, and of conditions."""
        if None not in self._stores:
            self._stores[None] = chosen_store(self._arguments)
        return self._stores[None]

    def of(self, word: str) -> tuple[Store, str]:
        """Return the store of the run that a word names, and what the run is called there.

        Raises
        ------
        CommandLineError
            If there is no such store, or the word names something else than a run.
        """
        from capture.query.addresses import split_run

        url, run = split_run(word)
        if url is None:
            check_is_run(word)
            return self.chosen, word
        if not url or not run:
            what = "no store stands before" if not url else "no run stands behind"
            raise CommandLineError(
                f"{what} the two colons of {_masked(word)}: is a variable not set?\n"
                "what can stand there:  STORE::RUN, as in runs::12, sqlite:///lab.db::latest"
            )
        if url not in self._stores:
            otherwise = (
                f"it stands before the two colons of {_masked(word)}, which name run {run} of that store;"
                " a run whose label has such colons is named by its uid."
            )
            self._stores[url] = _opened(url, otherwise)
        return self._stores[url], run

    def get(self, word: str) -> StoredRun:
        """Return the run that a word names."""
        store, run = self.of(word)
        return store.get(run)

    def observer_of(self, store: Store) -> RunObserver:
        """Return an observer of one of these stores, which knows its errors."""
        from capture.registry import make_observer
        from capture.settings import SETTINGS

        named = next(url for url, each in self._stores.items() if each is store)
        return make_observer(named or self._arguments.get("--store") or SETTINGS.STORE)

    def close(self) -> None:
        """Let go of connections."""
        for store in self._stores.values():
            store.close()

    def __enter__(self) -> NamedStores:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def check_is_run(word: str) -> None:
    """Refuse a store or the folder of a run in place of a run; CommandLineError says how that is named."""
    from capture.query.addresses import SEPARATOR, split_run
    from capture.registry import split_url

    if split_run(word)[0] is not None:
        return
    if "://" in word or ("/" in word and split_url(word)[0] != "file"):  # a label may have a slash and a colon in it
        raise CommandLineError(
            f"{_masked(word)} names a store, and no run of it: a run is named behind two colons, as in runs::12"
        )
    is_path = word in (".", "..") or "/" in word or os.sep in word
    if is_path and os.path.isfile(os.path.join(word, "run.json")):
        folder, run = os.path.split(os.path.abspath(word))
        store = folder if os.path.isabs(word) else os.path.relpath(folder)
        raise CommandLineError(f"{word} is the folder of a run: write {store}{SEPARATOR}{run} for that run")


def check_url(url: str) -> None:
    """Refuse a URL that cannot be one of a store; CommandLineError says why."""
    from capture.errors import ObserverError
    from capture.registry import observer_class

    try:
        observer_class(url)
    except ObserverError as error:
        raise CommandLineError(str(error)) from error


_watched: list[Any] = []  #: the readers that this command has opened


def watch(reader: Reader) -> None:
    """Let `tell_unreadable` tell of the runs that a reader leaves out, in place of the log."""
    if hasattr(reader, "logs_unreadable"):
        reader.logs_unreadable = False
        _watched.append(reader)


def tell_unreadable(tells_damage: bool = True) -> bool:
    """Say on stderr which runs were left out by the readers that are watched; return whether there are any.

    And which have lost something, unless the command itself has told so.
    """
    unreadable: dict[str, dict[str, str]] = {}
    damaged: dict[str, dict[str, Any]] = {}
    for reader in _watched:
        unreadable.setdefault(reader.url, {}).update(reader.unreadable)
        damaged.setdefault(reader.url, {}).update(getattr(reader, "damaged", {}))
    _watched.clear()
    for url, labels in damaged.items():
        if labels and tells_damage:
            _tell_damaged(url, list(labels))
    for url, labels in unreadable.items():
        if labels:
            import shlex

            from capture.cli._console import hint
            from capture.wording import first_few, visible

            what = "run cannot be read, and is" if len(labels) == 1 else "runs cannot be read, and are"
            doctor = f"capture doctor --store={shlex.quote(url)}"
            hint(visible(f"{len(labels)} {what} left out: {first_few(list(labels))}; {doctor} says what is wrong"))
    return any(unreadable.values())


def _tell_damaged(url: str, labels: list[str]) -> None:
    """Say of which runs, among those that were looked at, something is lost."""
    import shlex

    from capture.cli._console import hint
    from capture.wording import counted, first_few, visible

    verb = "is" if len(labels) == 1 else "are"
    runs = shlex.join(labels) if len(labels) < 5 else "--all"
    verify = f"capture verify --store={shlex.quote(url)} {runs}"
    hint(visible(f"{counted(len(labels), 'run')} {verb} damaged: {first_few(labels)}; {verify} says what is lost"))


def condition(arguments: dict[str, Any]) -> Filter | None:
    """Return the condition that the words of ``EXPR`` and ``--mine`` make; None if every run is meant."""
    words = list(arguments.get("EXPR") or [])
    return condition_of(words, bool(arguments.get("--mine")), lambda: known_paths_of(arguments))


def known_paths_of(arguments: dict[str, Any]) -> list[str]:
    """Return the paths that the newest runs have values at, for a hint: none if the store cannot be read."""
    from capture.query.asking import LOOKED_AT, known_paths

    try:
        with chosen_store(arguments) as store:
            return known_paths(store.find(limit=LOOKED_AT))
    except Exception as error:  # noqa: BLE001 - drivers of all kinds; what is wrong with the condition is said without
        from capture.complaints import logger

        logger().debug("the paths of the newest runs cannot be read: %s", error)
        return []


def condition_of(
    words: list[str], mine: bool = False, known: Callable[[], list[str]] | None = None
) -> Filter | None:
    """Return the condition that words make; CommandLineError if it cannot be understood."""
    from capture.expressions import ExpressionError
    from capture.query import asking

    try:
        return asking.condition(words, mine=mine, known=known)
    except ExpressionError as error:
        raise CommandLineError(str(error)) from error
    except asking.NotAConditionError as error:
        word = error.word
        raise CommandLineError(
            f"{word} is the name of a run: capture show {word} shows it. For a project of that name, write {word}/"
        ) from error


def whole_number(arguments: dict[str, Any], name: str, smallest: int = 0) -> int | None:
    """Return the value of an option that is a whole number; None if it was not given."""
    text = arguments.get(name)
    if text is None:
        return None
    if not text.isdecimal() or int(text) < smallest:
        raise CommandLineError(f"{name} takes a whole number from {smallest} on, got {text!r}")
    return int(text)


def seconds(arguments: dict[str, Any], name: str) -> float:
    """Return the value of an option that is a time to wait."""
    try:
        value = float(arguments[name])
    except ValueError:
        value = 0.0
    if not 0 < value < 1e6:
        raise CommandLineError(f"{name} takes a number of seconds, got {arguments[name]!r}")
    return value
