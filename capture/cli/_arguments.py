"""Command lines of the subcommands: parsed by docopt, and the store and the runs that they name."""

from __future__ import annotations

from capture.errors import CommandLineError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from capture.filters import Filter
    from capture.hooks import Reader
    from capture.query.client import Store

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
        raise CommandLineError(
            f"these arguments are not understood: {' '.join(arguments)}{because}{_slip(usage, words[1:])}\n{lines}\n"
            f"capture {arguments[0]} --help says more."
        ) from None
    return {name: _dashes_back(value) for name, value in parsed.items()}


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
    from capture.query.client import open_store
    from capture.settings import SETTINGS

    url = arguments.get("--store")
    check_url(SETTINGS.STORE if url is None else url)
    try:
        store = open_store(url)
    except FileNotFoundError as error:
        raise CommandLineError(f"{error}\nname another with --store=URL or in CAPTURE_STORE.") from error
    watch(store.reader)
    return store


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


def tell_unreadable() -> bool:
    """Say on stderr which runs were left out by the readers that are watched; return whether there are any."""
    unreadable: dict[str, dict[str, str]] = {}
    for reader in _watched:
        unreadable.setdefault(reader.url, {}).update(reader.unreadable)
    _watched.clear()
    for url, labels in unreadable.items():
        if labels:
            import shlex

            from capture.cli._console import hint
            from capture.wording import first_few, visible

            what = "run cannot be read, and is" if len(labels) == 1 else "runs cannot be read, and are"
            doctor = f"capture doctor --store={shlex.quote(url)}"
            hint(visible(f"{len(labels)} {what} left out: {first_few(list(labels))}; {doctor} says what is wrong"))
    return any(unreadable.values())


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
