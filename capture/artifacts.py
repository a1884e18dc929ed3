"""What may become an artifact: files, directories, and values that are written in the form their name asks for.

=========================  ==============================================================
value                      endings
=========================  ==============================================================
bytes                      any: written as they are
a figure (``savefig``)     .png .svg .pdf .jpg ...: whatever the figure can write
an image (PIL)             .png .jpg ...
a numpy array              .npy, .npz, .csv, .txt, .json
a pandas frame or series   .csv, .tsv, .json, .parquet, .html
a JSON value               .json; .txt for a number; .yaml if PyYAML is installed
anything                   .pkl, .pickle, only with ``pickle=True``
=========================  ==============================================================
"""

from __future__ import annotations

import io
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


def is_path(value: Any) -> bool:
    """Say whether a value names a file."""
    return isinstance(value, (str, os.PathLike))


def is_directory(value: Any) -> bool:
    """Say whether a value names a directory that exists."""
    return is_path(value) and os.path.isdir(value)


def files_below(directory: str, name: str | None) -> list[tuple[str, str]]:
    """Return ``(absolute path, name in the run)`` of the regular files below a directory, sorted.

    Links to directories are not followed, so that a loop of links ends.
    """
    root = os.path.abspath(directory)
    prefix = name if name is not None else os.path.basename(root)
    found = []
    for folder, folders, files in os.walk(root):
        folders.sort()
        for file in sorted(files):
            path = os.path.join(folder, file)
            if os.path.isfile(path):
                inner = os.path.relpath(path, root).replace(os.sep, "/")
                found.append((path, f"{prefix}/{inner}" if prefix else inner))
    return found


def clean_name(name: str) -> str:
    """Return a name that stays inside the run: relative, without ``..``, with forward slashes.

    Examples
    --------
    >>> clean_name("plots/loss.png"), clean_name("../../etc/passwd"), clean_name("/tmp/x")
    ('plots/loss.png', '_/_/etc/passwd', 'tmp/x')
    """
    text = str(name).encode("utf-8", "backslashreplace").decode()
    parts = [part for part in text.replace("\\", "/").split("/") if part not in ("", ".")]
    cleaned = ["_" if part == ".." else part.replace("\0", "_") for part in parts]
    return "/".join(cleaned) or "artifact"


def free_name(name: str, digest: str | None, taken: dict[str, str | None]) -> tuple[str, bool]:
    """Return the name under which an artifact is recorded, and whether it is a new one; remember it in `taken`.

    The same name with the same bytes is the same artifact; with other bytes it gets a number.
    """
    stem, ending = os.path.splitext(name)
    candidate, number = name, 1
    while candidate in taken:
        if digest is not None and taken[candidate] == digest:
            return candidate, False
        number += 1
        candidate = f"{stem}_{number}{ending}"
    taken[candidate] = digest
    return candidate, True


def to_bytes(value: Any, name: str, pickle: bool = False) -> bytes:
    """Write a value in the form that the ending of `name` asks for.

    Raises
    ------
    TypeError
        If a value of this type has no such form; the message lists the endings that it has.
    """
    ending = os.path.splitext(name)[1].lower()
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    if ending in (".pkl", ".pickle"):
        if not pickle:
            raise TypeError(
                f"artifact {name!r}: a pickle runs code when it is read, so it is written only if you say so:"
                " add_artifact(..., pickle=True)"
            )
        from pickle import dumps

        return dumps(value)
    forms = _forms(value)
    write = forms.get(ending) or forms.get("*")
    if write is None:
        known = ", ".join(sorted(forms)) or "none; pickle=True with .pkl takes any"
        raise TypeError(
            f"artifact {name!r}: a {type(value).__name__} cannot be written as {ending or 'a file without ending'!r}."
            f"\n  endings for it:  {known}"
        )
    return write(value, ending)


def _forms(value: Any) -> dict[str, Callable[[Any, str], bytes]]:
    modules = {cls.__module__.partition(".")[0] for cls in type(value).__mro__}
    if hasattr(value, "savefig"):
        return {"*": _figure}
    if "PIL" in modules:
        return {"*": _image}
    if "numpy" in modules:
        return {".npy": _npy, ".npz": _npz, ".csv": _array_text, ".txt": _array_text, ".json": _json}
    if "pandas" in modules:
        return {".csv": _csv, ".tsv": _csv, ".json": _frame_json, ".parquet": _parquet, ".html": _html}
    if isinstance(value, (dict, list, tuple, int, float, bool, type(None))):
        forms: dict[str, Callable[[Any, str], bytes]] = {".json": _json, ".yaml": _yaml, ".yml": _yaml}
        if isinstance(value, (int, float)):
            forms[".txt"] = lambda number, ending: f"{number!r}\n".encode()
        return forms
    return {}


def _figure(figure: Any, ending: str) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format=ending[1:] or "png")
    return buffer.getvalue()


def _image(image: Any, ending: str) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format={"jpg": "jpeg"}.get(ending[1:], ending[1:] or "png"))
    return buffer.getvalue()


def _npy(array: Any, ending: str) -> bytes:
    import numpy

    buffer = io.BytesIO()
    numpy.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def _npz(array: Any, ending: str) -> bytes:
    import numpy

    buffer = io.BytesIO()
    numpy.savez_compressed(buffer, array)
    return buffer.getvalue()


def _array_text(array: Any, ending: str) -> bytes:
    import numpy

    buffer = io.BytesIO()
    numpy.savetxt(buffer, numpy.atleast_1d(array), delimiter="," if ending == ".csv" else " ")
    return buffer.getvalue()


def _csv(frame: Any, ending: str) -> bytes:
    return frame.to_csv(sep="\t" if ending == ".tsv" else ",").encode()


def _frame_json(frame: Any, ending: str) -> bytes:
    return frame.to_json(orient="split").encode()


def _parquet(frame: Any, ending: str) -> bytes:
    buffer = io.BytesIO()
    (frame.to_frame() if frame.ndim == 1 else frame).to_parquet(buffer)
    return buffer.getvalue()


def _html(frame: Any, ending: str) -> bytes:
    return (frame.to_frame() if frame.ndim == 1 else frame).to_html().encode()


def _json(value: Any, ending: str) -> bytes:
    from capture.codec import dumps

    return dumps(value, indent=2).encode() + b"\n"


def _yaml(value: Any, ending: str) -> bytes:
    try:
        import yaml
    except ImportError:
        raise TypeError("writing YAML needs PyYAML: pip install PyYAML") from None
    from capture.codec import encode

    return yaml.safe_dump(encode(value), sort_keys=False, allow_unicode=True).encode()
