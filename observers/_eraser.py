"""Masking one string wherever a store may hold it: in text, in bytes, in values as JSON has them."""

from __future__ import annotations

from capture import plainjson

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any, BinaryIO

CHUNK = 1 << 20  #: bytes of a file that are looked at together
SHORTEST = 4  #: characters below which a string is in everything
_WIDE = ("utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be")
_BASE64 = ("py/b64", "capture/str")  # tags of `capture.codec` whose value is Base64
_ARRAY = "capture/ndarray"


class Eraser:
    """Masks one string with asterisks, of which there are as many, and counts the places.

    Parameters
    ----------
    value : str

    Attributes
    ----------
    count : int
        Places that were masked so far.
    fixed : frozenset of str
        Keys that a layout has by itself, at any depth: they are not masked.

    Raises
    ------
    ValueError
        If `value` has fewer than 4 characters, which would destroy the records.

    Examples
    --------
    >>> eraser = Eraser("hunter2")
    >>> eraser.text("it is hunter2!"), eraser.json({"key": ["hunter2"]}), eraser.count
    ('it is *******!', {'key': ['*******']}, 2)
    """

    fixed: frozenset[str] = frozenset()
    texts: tuple[str, ...]

    def __init__(self, value: str) -> None:
        if len(value) < SHORTEST:
            raise ValueError(f"{value!r} has fewer than {SHORTEST} characters: erasing it would destroy the records")
        self.value = value
        self.count = 0
        escaped = (plainjson.dumps(value)[1:-1], plainjson.dumps(value, ensure_ascii=False)[1:-1])
        self.texts = tuple(dict.fromkeys((value, *escaped)))  #: as it stands in text, and in JSON
        self.forms: dict[bytes, bytes] = {}  #: as it stands in bytes -> its mask, of the same length
        for text in self.texts:
            encoded = text.encode("utf-8", "surrogatepass")
            self.forms[encoded] = b"*" * len(encoded)
        for encoding in _WIDE:
            wide = value.encode(encoding, "surrogatepass")
            self.forms[wide] = ("*" * len(value)).encode(encoding).ljust(len(wide), b"*")

    def text(self, text: str) -> str:
        """Mask it in text."""
        for form in self.texts:
            if form in text:
                self.count += text.count(form)
                text = text.replace(form, "*" * len(form))
        return text

    def data(self, data: bytes) -> bytes:
        """Mask it in bytes."""
        for form, mask in self.forms.items():
            if form in data:
                self.count += data.count(form)
                data = data.replace(form, mask)
        return data

    def json(self, value: Any) -> Any:
        """Mask it in an encoded value, in keys too, and where `capture.codec` keeps bytes as Base64."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, list):
            return [self.json(item) for item in value]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            tag, item = next(iter(value.items()))
            if tag in _BASE64 and isinstance(item, str):
                return {tag: self._base64(item)}
            if tag == _ARRAY and isinstance(item, dict) and isinstance(item.get("data"), str):
                return {tag: {**item, "data": self._base64(item["data"])}}
        return {key if key in self.fixed else self.text(key): self.json(item) for key, item in value.items()}

    def json_text(self, text: str) -> str:
        """Mask it in JSON; what does not hold it stays as it is, to the letter."""
        if not any(form in text for form in self.texts) and not any(tag in text for tag in (*_BASE64, _ARRAY)):
            return text
        old = plainjson.loads(text)
        new = self.json(old)
        return text if new == old else plainjson.dumps(new, separators=(",", ":"), allow_nan=False)

    def _base64(self, text: str) -> str:
        from binascii import Error, a2b_base64, b2a_base64

        try:
            data = a2b_base64(text)
        except (Error, ValueError):
            return self.text(text)
        new = self.data(data)
        return text if new == data else b2a_base64(new, newline=False).decode("ascii")

    def places(self, chunks: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
        """Yield offset and mask of each place in bytes that come in chunks, also across their borders; none is counted.

        Examples
        --------
        >>> list(Eraser("hunter2").places([b"it is hun", b"ter2!"]))
        [(6, b'*******')]
        """
        overlap = max(len(form) for form in self.forms) - 1
        seen: set[tuple[int, bytes]] = set()
        before, offset = b"", 0
        for chunk in chunks:
            window = before + chunk
            for form, mask in self.forms.items():
                at = window.find(form)
                while at >= 0:
                    place = (offset - len(before) + at, form)
                    if place not in seen:
                        seen.add(place)
                        yield place[0], mask
                    at = window.find(form, at + len(form))
            offset += len(chunk)
            before = window[-overlap:]


def masked(stream: BinaryIO, found: Iterable[tuple[int, bytes]]) -> Iterator[bytes]:
    """Yield the bytes of a file with masks in their places, which are sorted.

    Examples
    --------
    >>> import io
    >>> b"".join(masked(io.BytesIO(b"it is hunter2!"), [(6, b"*******")]))
    b'it is *******!'
    """
    at = 0
    for place, mask in found:
        while at < place and (chunk := stream.read(min(place - at, CHUNK))):
            yield chunk
            at += len(chunk)
        mask = mask[at - place :]  # places of several forms may overlap
        yield mask
        at = stream.seek(at + len(mask))
    while chunk := stream.read(CHUNK):
        yield chunk
