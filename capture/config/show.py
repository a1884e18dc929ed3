"""A configuration as text: a tree of entries, what updates did to each, what it means, and who set it."""

from __future__ import annotations

from capture.config.updates import join_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from capture.config.origin import Origin
    from capture.config.summary import ConfigSummary

BLUE, GREEN, RED, GREY, END = "\033[34m", "\033[32m", "\033[31m", "\033[90m", "\033[0m"

#: Origins that need no mention, unless asked for: where entries are declared.
DECLARING = frozenset({"config scope", "config dict", "config file", "dataclass", "attrs class", "pydantic model"})

#: Docs and origins stand in columns; an entry wider than this pushes its own to the right, and no others.
_WIDEST_ENTRY, _WIDEST_DOC = 44, 88
#: Longer values are cut: a terminal is not helped by twenty megabytes.
_LONGEST_VALUE = 2000


class _Line:
    """One line before it is laid out: the entry, its doc, who set it."""

    __slots__ = ("color", "doc", "entry", "origin")

    def __init__(self, entry: str, color: str = "", doc: str = "", origin: str = "") -> None:
        self.entry = entry
        self.color = color
        self.doc = doc
        self.origin = origin


def format_config(
    values: Mapping[Any, Any],
    summary: ConfigSummary,
    docs: Mapping[str, str] | None = None,
    origins: Mapping[str, Origin] | None = None,
    color: bool | None = None,
    with_origin: bool | str = True,
) -> str:
    """Lay out a configuration for people to read.

    Parameters
    ----------
    values : mapping
        The configuration, nested.
    summary : ConfigSummary
        What updates added, modified and changed the type of.
    docs : mapping of str to str, optional
        By dotted path; ``__doc__`` below a path is the docstring of that group. Default: those of `summary`.
    origins : mapping of str to Origin, optional
        By dotted path.
    color : bool, optional
        Whether to mark with ANSI colours: modified blue, added green, typechanged red, docs and origins grey.
        None is no.
    with_origin : bool or "all"
        Whether each line ends with who set the entry: only where it is not simply declared in a config scope, dict,
        file or class; with "all" everywhere.

    Returns
    -------
    str
        A legend, then one line per entry and group (more where a value has several), no trailing white space.

    Examples
    --------
    >>> from capture.config.origin import Origin
    >>> from capture.config.summary import ConfigSummary
    >>> print(format_config(
    ...     {"lr": 0.5, "model": {"width": 8}},
    ...     ConfigSummary(modified=["lr"], docs={"lr": "learning rate"}),
    ...     origins={"lr": Origin("command line")},
    ... ))
    Configuration (modified, added, typechanged, doc):
      lr = 0.5    # learning rate    <- command line
      model:
        width = 8
    """
    docs = summary.docs if docs is None else docs
    shown = _origins_to_show(origins or {}, with_origin)
    lines = list(_lines(values, summary, docs, shown, "", "  "))
    legend = [("modified", BLUE), ("added", GREEN), ("typechanged", RED), ("doc", GREY)]
    names = ", ".join(_painted(name, hue if color else "") for name, hue in legend)
    return "\n".join([f"Configuration ({names}):", *_laid_out(lines, bool(color))])


def _origins_to_show(origins: Mapping[str, Origin], with_origin: bool | str) -> dict[str, str]:
    if not with_origin:
        return {}
    return {
        path: str(origin) for path, origin in origins.items() if with_origin == "all" or origin.kind not in DECLARING
    }


def _lines(
    values: Mapping[Any, Any],
    summary: ConfigSummary,
    docs: Mapping[str, str],
    origins: Mapping[str, str],
    path: str,
    indent: str,
) -> Iterator[_Line]:
    docstring = values.get("__doc__") or docs.get(join_path(path, "__doc__"))
    if docstring:
        text = str(docstring).strip().replace("\n", "\n" + indent)
        yield from (_Line(line.rstrip(), GREY) for line in f'{indent}"""{text}"""'.split("\n"))
    for key, value in values.items():
        if key == "__doc__":
            continue
        here = f"{path}.{key}" if path else str(key)
        doc = docs.get(here)
        marks = _color(here, summary), _one_line(doc) if doc else "", origins.get(here, "")
        if isinstance(value, dict) and value:
            yield _Line(f"{indent}{_key(key)}:", *marks)
            yield from _lines(value, summary, docs, origins, here, indent + "  ")
        else:
            first, *others = _text(value).split("\n")
            yield _Line(f"{indent}{_key(key)} = {first}".rstrip(), *marks)
            yield from (_Line(f"{indent}    {other}".rstrip(), marks[0]) for other in others)


def _color(path: str, summary: ConfigSummary) -> str:
    if path in summary.typechanged:
        return RED
    if path in summary.added:
        return GREEN
    return BLUE if path in summary.modified else ""


def _key(key: object) -> str:
    """Return a key as it is, unless it would break the layout or look like something else."""
    return key if isinstance(key, str) and key.isprintable() and key else repr(key)


def _text(value: object) -> str:
    if isinstance(value, (str, bytes)) and len(value) > _LONGEST_VALUE:
        return f"{value[:_LONGEST_VALUE]!r}... ({len(value)} {'bytes' if isinstance(value, bytes) else 'characters'})"
    try:
        text = repr(value)
    except Exception as error:  # noqa: BLE001 - a repr of the user's may raise anything; the line says what
        return f"<{type(value).__name__} whose repr raises {type(error).__name__}>"
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}... ({len(text)} characters)"


def _one_line(text: str) -> str:
    words = " ".join(text.split())
    return words if words.isprintable() else "".join(c if c.isprintable() else "?" for c in words)


def _laid_out(lines: list[_Line], color: bool) -> Iterator[str]:
    doc_column = _column([len(line.entry) for line in lines if line.doc or line.origin], _WIDEST_ENTRY)
    origin_column = _column([_width(line, doc_column) for line in lines if line.origin], _WIDEST_DOC)
    for line in lines:
        text = _painted(line.entry, line.color if color else "")
        if line.doc:
            text += " " * _gap(len(line.entry), doc_column) + _painted(f"# {line.doc}", GREY if color else "")
        if line.origin:
            gap = _gap(_width(line, doc_column), origin_column)
            text += " " * gap + _painted(f"<- {line.origin}", GREY if color else "")
        yield text


def _column(widths: list[int], widest: int) -> int:
    return max((width for width in widths if width <= widest), default=0) + 4


def _gap(width: int, column: int) -> int:
    return max(column - width, 4)


def _width(line: _Line, doc_column: int) -> int:
    """Return how wide the line is up to its doc."""
    if not line.doc:
        return len(line.entry)
    return max(doc_column, len(line.entry) + 4) + 2 + len(line.doc)


def _painted(text: str, color: str) -> str:
    """Return `text` in `color`; the indentation stays out of it, so that nothing but text is coloured."""
    if not color:
        return text
    words = text.lstrip(" ")
    return f"{text[: len(text) - len(words)]}{color}{words}{END}" if words else ""
