"""Runs, metrics and files as pandas' frames. pandas is imported when one is asked for, and not before."""

from __future__ import annotations

from capture.codec import StoredEnum
from capture.filters import MISSING
from capture.records import import_pandas

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

    from capture.query.files import RunFile
    from capture.records import Series

_EXACT = 2**53  #: floats tell integers apart up to here
_GAPS = {type(MISSING), type(None)}

#: end of a file's name -> the function of pandas that reads it, and what it is told
_READERS: dict[str, tuple[str, dict[str, Any]]] = {
    ".csv": ("read_csv", {}),
    ".tsv": ("read_csv", {"sep": "\t"}),
    ".json": ("read_json", {}),
    ".jsonl": ("read_json", {"lines": True}),
    ".parquet": ("read_parquet", {}),
    ".feather": ("read_feather", {}),
    ".xlsx": ("read_excel", {}),
}
_TYPES = {"text/csv": ".csv", "text/tab-separated-values": ".tsv", "application/json": ".json"}


def frame_of(table: Mapping[str, Sequence[Any]], index: Sequence[Any], name: str = "label") -> Any:
    """Return a `pandas.DataFrame` of columns of plain values.

    Numbers become numbers (whole ones with gaps floats, with NaN in the gaps), times become datetime64 in UTC, truth
    values without gaps bool, text what pandas takes for text, members of enumerations their names; the rest stays as it
    is, with None in the gaps.
    """
    pandas = import_pandas()
    rows = pandas.Index(_without_gaps(index), name=name)
    columns = {column: _typed(pandas, values, rows) for column, values in table.items()}
    return pandas.DataFrame(columns, index=rows)


def _without_gaps(values: Sequence[Any]) -> list[Any]:
    return [None if value is MISSING else value for value in values]


def _typed(pandas: Any, values: Sequence[Any], rows: Any) -> Any:
    """Return a column as a `pandas.Series` of the type of its values."""
    kinds = set(map(type, values))
    if StoredEnum in kinds:
        values = [str(value) if isinstance(value, StoredEnum) else value for value in values]
        kinds = set(map(type, values))
    plain = _without_gaps(values) if type(MISSING) in kinds else values
    has_gaps = not kinds.isdisjoint(_GAPS)
    kinds -= _GAPS
    if kinds and kinds <= {int, float} and not (int in kinds and _loses_digits(plain, kinds, has_gaps)):
        dtype = "int64" if kinds == {int} and not has_gaps else "float64"
        return pandas.Series(plain, index=rows, dtype=dtype)
    if kinds == {bool} and not has_gaps:
        return pandas.Series(plain, index=rows, dtype="bool")
    if kinds == {str}:
        return pandas.Series(plain, index=rows)
    if kinds and all(hasattr(kind, "astimezone") for kind in kinds):
        try:
            return pandas.Series(pandas.to_datetime(plain, utc=True), index=rows)
        except (ValueError, OverflowError) as error:  # a year that pandas does not reach: they stay what they are
            from capture.complaints import logger

            logger().debug("times that pandas does not take: %s", error)
    import numpy  # which comes with pandas

    filled = numpy.empty(len(plain), dtype=object)
    for place, value in enumerate(plain):  # one by one: as a whole, a list of equal lists would be a table
        filled[place] = value
    return pandas.Series(filled, index=rows)


def _loses_digits(values: Sequence[Any], kinds: set[type], has_gaps: bool) -> bool:
    """Say whether the column type that pandas has for these numbers would change an integer."""
    whole = values if kinds == {int} and not has_gaps else [value for value in values if type(value) is int]
    limit = 2**63 - 1 if whole is values else _EXACT
    return max(whole) > limit or min(whole) < -limit


def series_frame(series: Iterable[Series], names: Sequence[Any] | None = None) -> Any:
    """Return metrics side by side by step, as a `pandas.DataFrame`: NaN where one has no point at a step.

    Parameters
    ----------
    series : iterable of Series
    names : sequence, optional
        What the columns are called, if not by the metrics.

    Notes
    -----
    Where a metric has several points at a step, the last one counts.
    """
    pandas = import_pandas()
    columns = {}
    for number, each in enumerate(series):
        column = each.to_pandas()
        name = each.name if names is None else names[number]
        columns[name] = column[~column.index.duplicated(keep="last")]
    if not columns:
        return pandas.DataFrame(index=pandas.Index([], name="step", dtype="int64"))
    frame = pandas.concat(columns, axis=1).sort_index()
    frame.index.name = "step"
    return frame


def read_table(file: RunFile, **options: Any) -> Any:
    """Return a file that is a table as a `pandas.DataFrame`; ValueError if it is none."""
    import os

    kind = _TYPES.get(str(file.content_type)) or os.path.splitext(file.name)[1].lower()
    if kind == ".gz":
        kind = os.path.splitext(file.name[:-3])[1].lower()
        options.setdefault("compression", "gzip")
    if kind not in _READERS:
        raise ValueError(
            f"{file.name!r} is no table that is read here: their names end in {', '.join(_READERS)}"
            "\n  to read it otherwise: with file.open() as stream: ..., or with file.as_path() as path: ..."
        )
    function, told = _READERS[kind]
    with file.open() as stream:
        return getattr(import_pandas(), function)(stream, **{**told, **options})
