"""Config files: JSON, YAML and TOML. Reading one never runs anything that it holds.

Values that these formats lack (tuples, arrays, NaN) are stored as `capture.codec` stores them, and read back so.
"""

from __future__ import annotations

import os
import sys

from capture.errors import ConfigFileError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any, NoReturn

#: How many values a file may stand for. YAML's aliases let one of 1 KB stand for 10^9, which fill any memory.
MOST_VALUES = 1_000_000

_RARE_LINE_ENDS = frozenset("\x85\u2028\u2029")

_FORMATS = ".json, .yaml, .yml, .toml"


def load_config_file(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read the config in a file; the ending of its name says how it is written.

    Parameters
    ----------
    path : path
        ``.json``, ``.yaml``, ``.yml`` or ``.toml``, in UTF-8.

    Returns
    -------
    dict
        Plain values. Objects that Sacred or jsonpickle stored come back as inert `capture.codec.Opaque`.

    Raises
    ------
    ConfigFileError
        If it has another ending (a pickle, for instance, runs code when it is read), is malformed, or holds something
        else than a mapping. It names the file, and the line and column where they are known.
    OSError
        If the file cannot be opened.
    """
    from capture.codec import decode

    path = os.fspath(path)
    kind = _kind(path, "read")
    with open(path, "rb") as stream:
        text = _text(stream.read(), path)
    try:
        config = decode(_with_text_keys(_PARSERS[kind](text, path)))
    except RecursionError:
        raise ConfigFileError(f"{path}: it is nested too deeply", file=path) from None
    if type(config) is not dict:
        raise ConfigFileError(
            f"{path}: a config file holds a mapping of entries, this one holds a {type(config).__name__}", file=path
        )
    return config


def save_config_file(config: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
    """Write a config to a file, so that `load_config_file` reads the same values.

    Parameters
    ----------
    config : mapping
        Objects that cannot be stored are written as their repr.
    path : path
        ``.json``, ``.yaml``, ``.yml`` or ``.toml``.

    Raises
    ------
    ConfigFileError
        If it has another ending, or a value has no place in that format (TOML has no null).
    OSError
        If the file cannot be written.
    """
    from capture.codec import encode

    path = os.fspath(path)
    text = _WRITERS[_kind(path, "written")](encode(dict(config)), path)
    with open(path, "w", encoding="utf-8", newline="\n") as stream:
        stream.write(text)


def _kind(path: str, done: str) -> str:
    ending = os.path.splitext(path)[1].lower()
    if ending in _PARSERS:
        return ending
    if ending in (".pickle", ".pkl"):
        raise ConfigFileError(
            f"{path}: pickle files are not {done} as config files, since reading one runs whatever code it holds."
            "\n  what to do:  if you trust it, load it with `pickle` and save it with"
            " capture.config.save_config_file(config, 'config.json')",
            file=path,
        )
    raise ConfigFileError(f"{path}: config files end in {_FORMATS}, not in {ending or 'nothing'!r}", file=path)


# ---------------------------------------------------------------------------------------------- reading


def _text(data: bytes, path: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = error.start - data.rfind(b"\n", 0, error.start)
        _malformed(path, "text in UTF-8", error.reason, line, column, error)


def _malformed(
    path: str, expected: str, reason: str, line: int | None, column: int | None, cause: Exception
) -> NoReturn:
    place = ":".join(str(part) for part in (path, line, column) if part is not None)
    raise ConfigFileError(f"{place}: not {expected}: {reason}", file=path, line=line, column=column) from cause


def _parse_json(text: str, path: str) -> Any:
    import json

    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        _malformed(path, "JSON", error.msg, error.lineno, error.colno, error)
    except ValueError as error:  # an integer of thousands of digits
        _malformed(path, "JSON", str(error), None, None, error)


def _parse_toml(text: str, path: str) -> Any:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        import re

        place = re.search(r"\(at line (\d+), column (\d+)\)", str(error))
        line, column = (int(place[1]), int(place[2])) if place else (None, None)
        _malformed(path, "TOML", str(error), line, column, error)


def _parse_yaml(text: str, path: str) -> Any:
    yaml = _yaml(path)
    try:
        data = yaml.load(text, Loader=_knowing_numbers(yaml.SafeLoader))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line, column = (mark.line + 1, mark.column + 1) if mark is not None else (None, None)
        _malformed(path, "plain YAML", getattr(error, "problem", None) or str(error), line, column, error)
    except ValueError as error:  # a date like 2020-13-45
        _malformed(path, "plain YAML", str(error), None, None, error)
    count = _count_values(data, {}, path)
    if count > MOST_VALUES:
        raise ConfigFileError(
            f"{path}: its aliases stand for {count:,} values, and a config may have {MOST_VALUES:,}", file=path
        )
    return {} if data is None else data


def _yaml(path: str) -> Any:
    try:
        import yaml
    except ImportError as error:
        raise ConfigFileError(
            f"{path}: YAML files need PyYAML, which is not installed.\n  what to do:  pip install PyYAML", file=path
        ) from error
    return yaml


def _knowing_numbers(base: Any) -> Any:
    """Return PyYAML's safe loader or dumper, taught what everybody thinks: that ``1e-3`` is a number."""
    import re

    class Taught(base):
        pass

    number = re.compile(r"^[-+]?([0-9][0-9_]*\.?[0-9_]*|\.[0-9][0-9_]*)[eE][-+]?[0-9]+$")
    Taught.add_implicit_resolver("tag:yaml.org,2002:float", number, list("-+.0123456789"))
    return Taught


def _count_values(data: Any, known: dict[int, int], path: str) -> int:
    """Count the values that `data` stands for, a shared one as often as it is used; refuse one that holds itself."""
    if not isinstance(data, (dict, list)):
        return 1
    if id(data) not in known:
        known[id(data)] = -1  # being counted
        inner = data.values() if isinstance(data, dict) else data
        known[id(data)] = 1 + sum(_count_values(value, known, path) for value in inner)
    elif known[id(data)] < 0:
        raise ConfigFileError(f"{path}: an alias (*...) in it stands for a value that contains it", file=path)
    return known[id(data)]


def _with_text_keys(data: Any) -> Any:
    """Return `data` with keys that are not strings, which YAML has, in the form in which JSON would store them."""
    from capture.codec import encode

    if isinstance(data, list):
        return [_with_text_keys(value) for value in data]
    if not isinstance(data, dict):
        return data
    return {
        key if isinstance(key, str) else next(iter(encode({key: None}))): _with_text_keys(value)
        for key, value in data.items()
    }


# ---------------------------------------------------------------------------------------------- writing


def _write_json(data: Any, path: str) -> str:
    import json

    return json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _write_yaml(data: Any, path: str) -> str:
    yaml = _yaml(path)
    dumper = _knowing_numbers(yaml.SafeDumper)
    dumper.add_representer(str, _yaml_text)
    text: str = yaml.dump(data, Dumper=dumper, sort_keys=False, allow_unicode=True)
    return text


def _yaml_text(dumper: Any, text: str) -> Any:
    # PyYAML folds these line ends into spaces, unless they are escaped.
    style = None if _RARE_LINE_ENDS.isdisjoint(text) else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


def _write_toml(data: Any, path: str) -> str:
    return "\n".join(_toml_table(data, "", path)).lstrip("\n") + "\n"


def _toml_table(table: dict[str, Any], name: str, path: str) -> Iterator[str]:
    """Yield the lines of a table: its values first, since after the header of a subtable they would belong to that."""
    for key, value in table.items():
        if not isinstance(value, dict):
            yield f"{_toml_key(key)} = {_toml_value(value, path, _toml_path(name, key))}"
    for key, value in table.items():
        if isinstance(value, dict):
            header = _toml_path(name, key)
            yield ""
            yield f"[{header}]"
            yield from _toml_table(value, header, path)


def _toml_path(name: str, key: str) -> str:
    return f"{name}.{_toml_key(key)}" if name else _toml_key(key)


def _toml_key(key: str) -> str:
    is_bare = key.isascii() and key.replace("-", "_").replace("_", "a").isalnum()
    return key if is_bare else _toml_string(key)


def _toml_string(text: str) -> str:
    import json

    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _toml_value(value: Any, path: str, entry: str) -> str:
    if value is None:
        raise ConfigFileError(
            f"{path}: {entry} is None, for which TOML has no word.\n  what to do:  save it as .json or .yaml", file=path
        )
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _toml_string(value)
    if isinstance(value, list):
        return f"[{', '.join(_toml_value(inner, path, entry) for inner in value)}]"
    if isinstance(value, dict):
        items = (f"{_toml_key(key)} = {_toml_value(inner, path, entry)}" for key, inner in value.items())
        return f"{{{', '.join(items)}}}"
    return repr(value)


_PARSERS = {".json": _parse_json, ".yaml": _parse_yaml, ".yml": _parse_yaml, ".toml": _parse_toml}
_WRITERS = {".json": _write_json, ".yaml": _write_yaml, ".yml": _write_yaml, ".toml": _write_toml}
