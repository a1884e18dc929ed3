"""What is joined by ``and``, ``or``, ``not`` and brackets in a condition that is text: found by its signs alone.

Python's parser cannot say it, since words of a command line are no Python: ``digits-sgd or vision/``.
"""

from __future__ import annotations

from capture.expressions import ExpressionError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import re

_TOKEN = r"""(?P<text>'(?:\\.|[^'\\])*'?|"(?:\\.|[^"\\])*"?)|(?P<word>[\w./-]+)|(?P<sign>\S)"""
JOINING = frozenset({"and", "or", "not"})
_BETWEEN = frozenset({"in", "is", "not", "if", "else", "for", "lambda"})  #: words that stand beside others in Python
_OPENING, _CLOSING = frozenset("([{"), frozenset(")]}")


class Operand:
    """What stands between joining words and brackets: a comparison, or a word.

    Attributes
    ----------
    text : str
    start, end : int
        Where in the condition.
    is_word : bool
        Whether it is nothing but letters, digits, ``_ - . /``.
    """

    __slots__ = ("end", "is_word", "start", "text")

    def __init__(self, tokens: list[re.Match[str]]) -> None:
        self.start, self.end = tokens[0].start(), tokens[-1].end()
        self.text = tokens[0].string[self.start : self.end]
        self.is_word = len(tokens) == 1 and is_plain(self.text)

    def __repr__(self) -> str:
        return f"<Operand {self.text!r}>"


def is_plain(word: str) -> bool:
    """Say whether there is nothing in a word but letters, digits, ``_ - . /``.

    Examples
    --------
    >>> is_plain("vision/resnet-50"), is_plain("lr<1"), is_plain("-")
    (True, False, False)
    """
    return word.replace("_", "").replace("-", "").replace(".", "").replace("/", "").isalnum()


def operands(text: str) -> list[Operand]:
    """Return what is joined in a condition, from left to right.

    Raises
    ------
    ExpressionError
        If two of them stand side by side, with nothing that joins them.

    Examples
    --------
    >>> operands("failed or not (config.lr in (1, 2) and digits-sgd)")
    [<Operand 'failed'>, <Operand 'config.lr in (1, 2)'>, <Operand 'digits-sgd'>]
    """
    import re

    tokens = list(re.finditer(_TOKEN, text))
    found: list[list[re.Match[str]]] = [[]]
    depth = 0  # of brackets that are no group of conditions: of a list, a key, a call
    is_closed = False  # whether a group has just ended
    for place, token in enumerate(tokens):
        sign = token.group()
        before = found[-1]
        if depth:
            depth += (sign in _OPENING) - (sign in _CLOSING)
            before.append(token)
            continue
        if _joins(tokens, place):
            found.append([])
            is_closed = False
            continue
        if sign == ")" or (sign == "(" and not before):
            found.append([])
            is_closed = sign == ")"
            continue
        if (is_closed and not before) or (before and _is_value(before[-1])):
            _check_joined(text, tokens[place - 1], token)
        depth += sign in _OPENING
        before.append(token)
    return [Operand(each) for each in found if each]


def _joins(tokens: list[re.Match[str]], place: int) -> bool:
    """Say whether a token joins conditions: the ``not`` of ``not in`` and of ``is not`` does not."""
    sign = tokens[place].group()
    if sign != "not":
        return sign in JOINING
    after = tokens[place + 1].group() if place + 1 < len(tokens) else ""
    before = tokens[place - 1].group() if place else ""
    return after != "in" and before != "is"


def _is_value(token: re.Match[str]) -> bool:
    return token.group() not in _BETWEEN and (token.lastgroup != "sign" or token.group() in _CLOSING)


def _check_joined(text: str, left: re.Match[str], right: re.Match[str]) -> None:
    if right.lastgroup == "sign" or right.group() in _BETWEEN or left.end() == right.start():
        return
    raise ExpressionError(
        text,
        right.start(),
        f"before {right.group()} should stand and, or, or what it is compared by; text of several words is in quotes",
    )
