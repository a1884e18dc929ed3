"""Markdown that shows other people's text as it is, on sites that turn much into links, mentions and HTML.

What stands in a code span is not looked at by them. Text that would end a span, or a cell of a table, is written in
character references within ``<code>``, which cannot end anything.
"""

from __future__ import annotations

import re

from capture.wording import visible

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: punctuation that may mean something: written as references, which mean nothing but themselves
_REFERENCES = {ord(sign): f"&#{ord(sign)};" for sign in "\\`*_[]<>|~&$"}

#: the same for text that people also read as it stands in a table
_ESCAPES = {**{ord(sign): f"\\{sign}" for sign in "\\`*_[]|~!"}, ord("&"): "&amp;", ord("<"): "&lt;", ord(">"): "&gt;"}

#: A site looks for names and links in what its Markdown became, where references are characters again; a comment
#: between two characters is what it does not look across.
_SPLIT = re.compile(r"([@#](?=\S)|www(?=\.)|:(?=//))")


def code(text: str) -> str:
    """Return text as code that can stand anywhere, in a cell of a table too.

    Examples
    --------
    >>> code("config.lr"), code("a|`b`")
    ('`config.lr`', '<code>a&#124;&#96;b&#96;</code>')
    """
    text = visible(text)
    if text.isascii() and text.strip() and text == text.strip() and not set(text) & set("`|\\"):
        return f"`{text}`"
    return code_in_html(text)


def code_in_html(text: str) -> str:
    """Return text as code that can also stand among HTML, where Markdown is not looked at."""
    text = visible(text)
    return f"<code>{_inert(text)}</code>" if text else ""


def prose(text: str) -> str:
    """Return text in which nothing is markup, a mention of somebody, or a link.

    Examples
    --------
    >>> prose("*ask* @ann")
    '&#42;ask&#42; @<!-- -->ann'
    """
    return _inert(visible(" ".join(text.split())))


def cell(text: str) -> str:
    r"""Return text that stands for itself in a cell of a table, and can be read in the table's source, too.

    Examples
    --------
    >>> print(cell("a|b <i>_x_</i> @ann"))
    a\|b &lt;i&gt;\_x\_&lt;/i&gt; @<!-- -->ann
    """
    return _inert(visible(text), _ESCAPES)


def _inert(text: str, written: Mapping[int, str] = _REFERENCES) -> str:
    return "".join(
        piece.translate(written) + "<!-- -->" * (place % 2) for place, piece in enumerate(_SPLIT.split(text))
    )


def fenced(text: str, language: str = "") -> str:
    """Return a block of code whose fence is longer than any in it.

    Examples
    --------
    >>> fenced("+a", "diff").splitlines()
    ['```diff', '+a', '```']
    """
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    body = visible(text, lines=True).rstrip("\n")
    return f"{fence}{language}\n{body}\n{fence}"


def folded(summary: str, body: str) -> str:
    """Return a part that is shown when its summary, which is HTML in one line, is clicked."""
    return f"<details><summary>{summary}</summary>\n\n{body}\n\n</details>"


def row(cells: Sequence[str]) -> str:
    """Return a row of a table."""
    return f"| {' | '.join(cells)} |"


def header(cells: Sequence[str]) -> str:
    """Return the heading of a table, with the line below it."""
    return f"{row(cells)}\n|{' --- |' * len(cells)}"
