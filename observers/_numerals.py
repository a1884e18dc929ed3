"""Numbers written out in text, separated by commas, as arrays: what JSON makes of them, in a third of the time.

Python reads a decimal number of seventeen digits in a third of a microsecond, one after the other. Here all digits are
read as whole numbers, and all of these divided by their powers of ten at once.
"""

from __future__ import annotations

from capture import plainjson

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_COMMA, _MINUS, _DOT, _E = b",-.e"
_LARGEST = 2**62  #: digits that a float may round up to, and are still whole numbers of 64 bits
_LARGEST_POWER = 60
_SPLITTER = 2.0**27 + 1
_DOUBT = 1e-9  #: how near, in units of the last place, a quotient must not come to where rounding changes
_tables: dict[str, Any] = {}


def integers(text: bytes) -> Any:
    """Return whole numbers as an array of int64; None if it is not all whole numbers that fit.

    Examples
    --------
    >>> integers(b"1,-2,30").tolist()
    [1, -2, 30]
    """
    import numpy

    if not text:
        return numpy.zeros(0, numpy.int64)
    if b"." in text or b"e" in text or b'"' in text:
        return None
    return _whole(text, text.count(b",") + 1)


def floats(text: bytes) -> Any:
    """Return numbers as an array of float64, each the one nearest to what is written; None if something is odd.

    Odd are texts ("nan"), whole numbers beyond 64 bits, and what is no number.

    Notes
    -----
    A number is ``digits / 10**places``. The quotient is computed to twice the precision of a float (Dekker 1971,
    Numerische Mathematik 18, 224-242), so that its rounding is right unless the quotient lies almost exactly half-way
    between two floats; those few are read by Python.

    Examples
    --------
    >>> floats(b"0.1,-2.5e-07,3").tolist()
    [0.1, -2.5e-07, 3.0]
    """
    import numpy

    if not text:
        return numpy.zeros(0)
    if b'"' in text:
        return None
    codes = numpy.frombuffer(text, numpy.uint8)
    marks = numpy.flatnonzero(_table("marks")[codes])
    kinds = codes[marks]
    is_dot = kinds == _DOT
    ends_number = ~is_dot
    # ``12.5e-3,4`` is read as 125, -3, 4: how many of the digits stood behind a dot, and which are exponents, say marks
    whole = _whole(text.translate(_E_TO_COMMA, b"."), int(numpy.count_nonzero(ends_number)) + 1)
    if whole is None or max(whole.max(), -whole.min()) > _LARGEST:
        return None
    places = numpy.zeros(len(whole), numpy.int64)
    dotted = numpy.cumsum(ends_number)[is_dot]
    if (numpy.diff(dotted) == 0).any():  # 1.2.3
        return None
    ends = numpy.append(marks, len(codes))
    places[dotted] = (ends[1:] - ends[:-1])[is_dot] - 1
    before_exponent = numpy.flatnonzero(kinds[ends_number] == _E)
    if len(before_exponent):
        places[before_exponent] -= whole[before_exponent + 1]
        is_digits = numpy.ones(len(whole), bool)
        is_digits[before_exponent + 1] = False
        whole, places = whole[is_digits], places[is_digits]
    found, is_sure = _quotients(whole, places)
    doubtful = numpy.flatnonzero(~is_sure | (whole == 0))  # of zeros the sign is lost
    if len(doubtful):
        commas = numpy.flatnonzero(codes == _COMMA)
        starts = numpy.append(-1, commas)[doubtful] + 1
        ends = numpy.append(commas, len(codes))[doubtful]
        try:
            found[doubtful] = [float(text[start:end]) for start, end in zip(starts.tolist(), ends.tolist())]
        except ValueError:
            return None
    return found


_E_TO_COMMA = bytes.maketrans(b"e", b",")


def _whole(text: bytes, count: int) -> Any:
    """Return `count` whole numbers as int64; None if the text is something else, or one does not fit."""
    import numpy

    try:
        found = numpy.fromstring(text, numpy.int64, sep=",")
        last = int(text[text.rfind(b",") + 1 :])
    except (ValueError, DeprecationWarning):  # what cannot be read ends the array; later versions raise
        return None
    limits = numpy.iinfo(numpy.int64)
    limits_met = len(found) and (found.max() == limits.max or found.min() == limits.min)  # where too large ones end up
    if len(found) != count or found[-1] != last or limits_met:
        return None
    return found


def _quotients(whole: Any, places: Any) -> tuple[Any, Any]:
    """Return ``whole / 10**places`` as floats, and of which it is sure that they are rounded rightly."""
    import numpy

    is_sure = (places >= 0) & (places <= _LARGEST_POWER)
    if not is_sure.all():
        places = numpy.where(is_sure, places, 0)
    power, rest_of_power = _table("powers")[places], _table("rests")[places]
    high = whole.astype(numpy.float64)
    low = (whole - high.astype(numpy.int64)).astype(numpy.float64)
    first = high / power
    product, error = _product(first, power)
    second = ((high - product) - error + low - first * rest_of_power) / power
    found = first + second
    rest = numpy.abs(second - (found - first)) / numpy.spacing(numpy.abs(found))
    # half of a unit, or a quarter below a power of two, where units change
    is_sure &= (numpy.abs(rest - 0.5) > _DOUBT) & (numpy.abs(rest - 0.25) > _DOUBT)
    return found, is_sure


def _product(one: Any, other: Any) -> tuple[Any, Any]:
    """Return the product of floats, and by how much it was rounded."""
    product = one * other
    one_high, one_low = _halves(one)
    other_high, other_low = _halves(other)
    error = ((one_high * other_high - product) + one_high * other_low + one_low * other_high) + one_low * other_low
    return product, error


def _halves(number: Any) -> tuple[Any, Any]:
    spread = _SPLITTER * number
    high = spread - (spread - number)
    return high, number - high


def _table(name: str) -> Any:
    if not _tables:
        import numpy

        marks = numpy.zeros(256, bool)
        marks[[_COMMA, _DOT, _E]] = True
        powers = [10**place for place in range(_LARGEST_POWER + 1)]
        nearest = [float(power) for power in powers]
        rests = [float(power - int(near)) for power, near in zip(powers, nearest)]
        _tables.update(powers=numpy.array(nearest), rests=numpy.array(rests), marks=marks)
    return _tables[name]


def listed(text: bytes) -> list[Any]:
    """Return numbers as a list of JSON's values.

    Raises
    ------
    ValueError
        If something is no JSON.
    """
    return plainjson.loads(b"[" + text + b"]")
