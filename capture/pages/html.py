"""HTML that cannot be broken from inside: a tree of elements that escapes all it is given, and the page around it.

What a record holds was written by others, and a page about it is opened by people who trust us. Text becomes HTML in
one place, `element`, which escapes whatever is not `Html` already, spells out control characters and those that turn
the direction of writing, and refuses what could run or be fetched: handlers, styles, links that lead elsewhere. The
page carries a Content-Security-Policy as a second lock: nothing is loaded, and no script runs but that of `looks`.
"""

from __future__ import annotations

import html

from capture.pages.looks import SCRIPT, STYLE
from capture.query._images import image_type
from capture.wording import visible

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence
    from typing import Any

#: elements without an end tag
_VOID = frozenset(("br", "hr", "img", "input", "link", "meta", "wbr"))


class Html(str):
    """Text that is HTML already, made by `element`."""

    __slots__ = ()


def escape(text: object) -> Html:
    r"""Return any text as HTML that shows it.

    Examples
    --------
    >>> print(escape("<b>&\x00"))
    &lt;b&gt;&amp;\x00
    """
    return text if isinstance(text, Html) else Html(html.escape(visible(str(text), lines=True)))


def element(tag: str, *children: Any, **attributes: Any) -> Html:
    """Return an element of HTML or SVG.

    Parameters
    ----------
    tag : str
        Of our making, never of a record's.
    children : Html, str, number, None, or sequences of these
        What is no `Html` is escaped; None and False are left out.
    attributes : str, number, bool or None
        True stands for an attribute without a value; None and False leave it out. An underline at the end of a name is
        dropped (``class_``), others stand for dashes (``data_sort``).

    Raises
    ------
    ValueError
        If an attribute could run something or load something.

    Examples
    --------
    >>> element("p", "a < b", element("br"), class_="note")
    '<p class="note">a &lt; b<br></p>'
    """
    start = f"<{tag}{''.join(_attribute(name, value) for name, value in attributes.items())}>"
    return Html(start) if tag in _VOID else Html(f"{start}{together(children)}</{tag}>")


class Cell:
    """What stands in a cell of a table, and by what rows are sorted, where that is not its text."""

    __slots__ = ("content", "sort")

    def __init__(self, content: Any, sort: Any = None) -> None:
        self.content, self.sort = content, sort


def together(*children: Any) -> Html:
    """Return things one after the other, escaped where they are not `Html`."""
    parts: list[str] = []
    _collect(children, parts)
    return Html("".join(parts))


def _collect(child: Any, parts: list[str]) -> None:
    if child is None or child is False:
        return
    if isinstance(child, str):
        parts.append(escape(child))
    elif hasattr(child, "__iter__"):
        for each in child:
            _collect(each, parts)
    else:
        parts.append(escape(child))


def _attribute(name: str, value: Any) -> str:
    if value is None or value is False:
        return ""
    name = name[:-1] if name.endswith("_") else name.replace("_", "-")
    if name.startswith("on") or name in ("style", "srcdoc", "action", "formaction"):
        raise ValueError(f"an attribute {name!r} could run something: pages have none")
    if name == "href" and not str(value).startswith("#"):
        raise ValueError(f"a link leads to a place in the page, which begins with #; got {value!r:.80}")
    if name == "src" and not str(value).startswith("data:image/"):
        raise ValueError(f"an image lies in the page itself, as data:image/...; got {value!r:.80}")
    return f" {name}" if value is True else f' {name}="{escape(value)}"'


def image(data: bytes, name: str) -> Html:
    """Return an image that lies in the page itself; ValueError if its bytes are of no type that is shown."""
    import base64

    kind = image_type(data)
    if kind is None:
        raise ValueError(f"{name!r} is no PNG, JPEG, GIF or WebP")
    return element("img", src=f"data:{kind};base64,{base64.b64encode(data).decode()}", alt=name, loading="lazy")


def folded(summary: Any, *content: Any, opened: bool = False, class_: str | None = None, id: str | None = None) -> Html:
    """Return something that is shown when its summary is clicked."""
    return element("details", element("summary", summary), content, id=id, class_=class_, open=opened)


def table(
    headings: Sequence[Any],
    rows: Iterable[Sequence[Any]],
    class_: str | None = None,
    numbers: Collection[int] = (),
    row_heading: int | None = None,
    caption: str | None = None,
) -> Html:
    """Return a table in a frame that scrolls if it is wide.

    Parameters
    ----------
    headings : sequence
        May be empty.
    rows : iterable of sequences
        Of what `element` takes, or `Cell`.
    class_ : str, optional
        "sorts" lets the reader sort it by a click on a heading.
    numbers : collection of int
        Columns that are aligned to the right.
    row_heading : int, optional
        The column that names the rows.
    caption : str, optional
        What the table is about. It is read aloud and not shown: a heading stands above most tables.
    """

    def cell(place: int, content: Any) -> Html:
        inner, sort = (content.content, content.sort) if isinstance(content, Cell) else (content, None)
        side = "number" if place in numbers else None
        if place == row_heading:
            return element("th", inner, scope="row", class_=side, data_sort=sort)
        return element("td", inner, class_=side, data_sort=sort)

    top = [
        element("th", heading, scope="col", class_="number" if place in numbers else None)
        for place, heading in enumerate(headings)
    ]
    inner = element(
        "table",
        element("caption", caption, class_="heard") if caption else None,
        element("thead", element("tr", top)) if top else None,
        element("tbody", [element("tr", [cell(*each) for each in enumerate(row)]) for row in rows]),
        class_=class_,
    )
    return element("div", inner, class_="wide")


def diff(text: str) -> Html:
    """Return a unified diff, its lines coloured by what became of them."""
    return element("pre", element("code", [_diff_line(line) for line in text.rstrip("\n").split("\n")]), class_="diff")


def _diff_line(line: str) -> Html:
    kinds = (("+++", "file"), ("---", "file"), ("@@", "place"), ("+", "added"), ("-", "gone"))
    kind = next((kind for start, kind in kinds if line.startswith(start)), None)
    return element("span", line, "\n", class_=kind)


def page(title: str, *content: Any) -> str:
    """Return a whole page, which needs nothing but itself.

    Parameters
    ----------
    title : str
    content : Html and other things that `element` takes
    """
    policy = (
        f"default-src 'none'; style-src '{_fingerprint(STYLE)}'; script-src '{_fingerprint(SCRIPT)}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("meta", name="referrer", content="no-referrer"),
        element("meta", name="robots", content="noindex"),
        element("title", title),
        element("style", Html(STYLE)),
    )
    body = element("body", content, element("script", Html(SCRIPT)))
    return f"<!DOCTYPE html>\n{element('html', head, body, lang='en')}\n"


def _fingerprint(text: str) -> str:
    """Return what a policy calls a text that is allowed."""
    import base64
    import hashlib

    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
