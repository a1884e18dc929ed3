"""Masks what is secret in the events of one run and in its output; the rules are those of `capture.secrets`."""

from __future__ import annotations

import os
import threading
import time

from capture.codec import Opaque, decode, encode
from capture.plainjson import dumps
from capture.secrets import (
    MARK,
    RULES,
    SHORTEST_KNOWN,
    has_space,
    is_secret,
    looks_secret_name,
    mask_of,
    may_hold_secret_url,
    may_hold_token,
    merged,
    replaced,
    secret_spans,
    words_of,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any

    from capture.events import Event
    from capture.secrets import Span

TOPIC = "secrets"  #: of the facts that list what was masked
MAX_DEPTH = 100  #: levels of nesting that are gone through as they are; what lies deeper, in its stored form
MOST_FOUND = 1_000  #: masks that are listed; more of them are made, and counted
HOLD_S = 0.2  #: how long the end of what was printed is kept back because a secret may begin there
SHORTEST_LINE = 16  #: characters from which a line of a secret of many lines is masked when it is met alone

#: events, and fields of events, that cannot hold a secret or must stay as they are for a record to make sense
_SKIPPED_EVENTS = frozenset({"output", "metrics", "opened"})
_SKIPPED_FIELDS = frozenset({"content_type", "digest", "label", "md5", "size", "status", "topic"})
_PLAIN = frozenset({int, float, bool, type(None), complex})
_PLAIN_MODULES = frozenset({"datetime", "decimal", "fractions", "uuid", "zoneinfo"})
#: what so many people have as a password that it gives nothing away, and that stands for something else elsewhere
_COMMON = frozenset(
    {"password", "postgres", "changeme", "localhost", "username", "anonymous", "passwort", "accesskey", "secretkey"}
    | {"credentials", "minioadmin", "rabbitmq", "disabled", "prompted", "keychain", "interactive", "placeholder"}
)
#: entries of a group with a secret name that say whose secret it is
_WHOSE = frozenset(
    {"database", "email", "host", "hostname", "id", "kind", "method", "name", "path", "port", "provider", "region"}
    | {"scheme", "scope", "type", "uri", "url", "user", "username", "version", "file"}
)

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

#: a name and what stands beside it, as `repr` writes arguments, fields and entries
_NAMED = (
    r"""(?P<name>[A-Za-z_][\w.-]{0,99})(?:=|['"]: )"""
    r"""b?(?P<quote>['"])(?P<value>(?:\\.|(?!(?P=quote))[^\\])+)(?P=quote)"""
)

#: (the place above or None, the key there)
Place = tuple


class Masker:
    """Masks the secrets of one run.

    Parameters
    ----------
    names : iterable of str
        Further names whose values are secret, whatever their style of writing: "wifi_code" is also ``home.wifiCode``.
    allowed : iterable of str
        Names and dotted paths ("password", "db.password", "db") whose values are never masked there.
    environ : mapping, optional
        Default: the process's environment. Secrets in it are known from the start.

    Attributes
    ----------
    known : frozenset of str
        What is masked wherever it turns up: secrets that were met, of `SHORTEST_KNOWN` or more characters.
    found : list of dict
        ``{"path", "rule"}`` of each place where something was masked.
    in_sources : list of str
        Names of sources, which are stored as they are, in which such a value stands.

    Notes
    -----
    What it is given is never changed. It may be called from several threads. What was recorded before a secret was
    first met under a name that says so, or in a form that does, cannot be masked by its value any more.
    """

    def __init__(
        self, names: Iterable[str] = (), allowed: Iterable[str] = (), environ: Mapping[str, str] | None = None
    ) -> None:
        self._names = [tuple(words_of(name)) for name in names]
        self._allowed = [f".{name.lower()}." for name in allowed]
        self._rules: dict[str, str] = {}  # by known value
        self._known: tuple[tuple[str, str], ...] = ()  # (value, rule), the longest first
        self._found: dict[tuple[str, str], None] = {}
        self._unlisted = 0
        self.in_sources: list[str] = []
        self._lock = threading.RLock()
        for name, value in list((os.environ if environ is None else environ).items()):
            self._learn(name, value)

    def _learn(self, name: str, value: str) -> None:
        """Take the secrets in a variable of the environment for known."""
        if len(value) < SHORTEST_KNOWN:
            return
        rule = self.rule_of(name)
        if rule is not None and is_secret(rule, value):
            if not self._is_allowed(None, name):
                self._remember(value, rule)
        elif (may_hold_secret_url(value) or may_hold_token(value)) and not self._is_allowed(None, name):
            for start, end, form in secret_spans(value):
                self._remember(value[start:end], form)

    @property
    def known(self) -> frozenset[str]:
        return frozenset(self._rules)

    @property
    def found(self) -> list[dict[str, str]]:
        with self._lock:
            listed = [{"path": path, "rule": rule} for path, rule in self._found]
        return listed + ([{"path": f"... and {self._unlisted:,} more", "rule": ""}] if self._unlisted else [])

    def facts(self) -> dict[str, Any]:
        """Return what is recorded as the facts called ``secrets``."""
        facts: dict[str, Any] = {"masked": self.found}
        return {**facts, "in_sources": list(self.in_sources)} if self.in_sources else facts

    def look_into_source(self, name: str, data: bytes) -> bool:
        """Say whether a value that is masked elsewhere stands in a source; its name is noted then."""
        if not any(value.encode("utf-8", "surrogatepass") in data for value in self._rules):
            return False
        self.in_sources.append(name)
        return True

    def rule_of(self, name: str) -> str | None:
        """Return the rule by which the value of a name is secret, or None."""
        rule = looks_secret_name(name)
        if self._names and rule in (None, "token"):
            words = tuple(words_of(name))
            if any(words[-len(own) :] == own for own in self._names if own):
                return "name"
        return rule

    # ------------------------------------------------------------------------------------------------------ values

    def event(self, event: Event) -> Event:
        """Return an event in which secrets are masked; the event itself if it has none."""
        if event.name in _SKIPPED_EVENTS or getattr(event, "topic", None) == TOPIC:
            return event
        new: dict[str, Any] = {}
        for _ in range(3):  # what was met in the last field may stand in the first
            known = self._known
            for name in event.fields:
                if name not in _SKIPPED_FIELDS:
                    old = new.get(name, getattr(event, name))
                    masked = self._field(event, name, old)
                    if masked is not old:
                        new[name] = masked
            if known is self._known:
                break
        return type(event)(**{**vars(event), **new}) if new else event

    def _field(self, event: Event, name: str, value: Any) -> Any:
        if value is None:
            return value
        if name == "facts" and getattr(event, "topic", "") == "config":
            return self._said_of_entries(value)
        if name == "facts":
            return self._through(value, None, (None, name), getattr(event, "topic", ""))
        if event.name == "heartbeat" and type(value) is list:  # one element: the value, which may be None
            masked = [self._through(item, None, None, name) for item in value]
            return value if all(new is old for new, old in zip(masked, value)) else masked
        return self._through(value, None, None, name)

    def _said_of_entries(self, value: dict[str, Any]) -> Any:
        """Mask what is said of entries of the configuration: what is said of `api_key` is no key, but may quote one."""
        masked = {
            part: {path: self.mask(text) for path, text in said.items()} if type(said) is dict else self.mask(said)
            for part, said in value.items()
        }
        return masked if masked != value else value

    def mask(self, value: Any, path: str = "") -> Any:
        """Return a value in which secrets are masked: the same object if there are none, else a copy.

        Parameters
        ----------
        value : object
            Nested dicts and lists, and whatever else a record can hold.
        path : str
            Dotted path of the value, for the list of what was masked; its last word is the value's name.
        """
        place, _, name = path.rpartition(".")
        return self._through(value, self.rule_of(name) if name else None, (None, place) if place else None, name)

    def _through(self, value: Any, rule: str | None, place: Place | None, key: Any) -> Any:
        try:
            return self._masked(value, rule, place, key, 0)
        except _Tangled:  # it holds itself, or is very deep: go through what would be stored
            data = encode(value)
            try:
                masked = self._masked(data, rule, place, key, -10 * MAX_DEPTH)
            except (_Tangled, RecursionError):
                return Opaque("", {"capture/repr": {"type": type(value).__name__, "repr": mask_of("too-deep")}})
            return value if masked is data else decode(masked)

    def _masked(self, value: Any, rule: str | None, place: Place | None, key: Any, depth: int) -> Any:
        kind = type(value)
        if kind in _PLAIN:
            return value
        if kind is str:
            return self._string(value, rule, place, key)
        if depth > MAX_DEPTH:
            raise _Tangled
        if kind is dict:
            return self._dict(value, rule, (place, key), depth + 1)
        if kind is list:
            return self._list(value, rule, (place, key), depth + 1)
        return self._other(value, rule, place, key, depth)

    def _dict(self, value: dict[Any, Any], rule: str | None, place: Place, depth: int) -> Any:
        result: dict[Any, Any] = {}
        same = True
        for key, item in list(value.items()):
            kind = type(item)
            if kind in _PLAIN:
                new = item
            else:
                own = self._rule_below(key, rule)
                if kind is str:
                    new = item if own is None and len(item) < SHORTEST_KNOWN else self._string(item, own, place, key)
                    if key == "repr" and new is item and place[1] == "capture/repr":
                        new = self._shown(item, place)
                else:
                    new = self._masked(item, own, place, key, depth)
            new_key = key
            if type(key) is not str or len(key) >= SHORTEST_KNOWN:
                new_key = self._key(key, place)
            if new is not item or new_key is not key:
                same = False
                while new_key is not key and (new_key in result or new_key in value):
                    new_key = f"{new_key}'"
            result[new_key] = new
        if same and self._known and ("py/b64" in value or "capture/str" in value):
            return self._base64(value, place)
        return value if same else result

    def _rule_below(self, key: Any, above: str | None) -> str | None:
        """Return the rule of an entry: its own, else that of the group unless the entry says whose secret it is."""
        if type(key) is not str:
            return above
        own = self.rule_of(key)
        if own is None and above is not None and words_of(key)[-1:] and words_of(key)[-1] not in _WHOSE:
            return above
        return own

    def _key(self, key: Any, place: Place) -> Any:
        if type(key) is str:
            return self._scanned(key, place, "(key)")
        if type(key) in _PLAIN:
            return key
        masked = self._masked(key, None, place, "(key)", 0)
        try:
            hash(masked)
        except TypeError:
            return str(masked)
        return masked

    def _list(self, value: Iterable[Any], rule: str | None, place: Place, depth: int) -> Any:
        """Mask a list, which may be the arguments of a program: ``db.password=...``, ``--password ...``."""
        result = []
        same, option = True, None
        for index, item in enumerate(list(value)):
            kind = type(item)
            if kind in _PLAIN:
                option, new = None, item
            elif kind is str:
                own = option if option is not None and rule is None and item[:1] != "-" else rule
                option = None
                if "=" in item and own is None:
                    new = self._assignment(item, place, index)
                else:
                    if item[:1] == "-":
                        option = self.rule_of(item)
                    new = self._string(item, own, place, index)
            else:
                option = None
                new = self._masked(item, rule, place, index, depth)
            same = same and new is item
            result.append(new)
        return value if same else result

    def _assignment(self, item: str, place: Place, index: int) -> str:
        name, _, value = item.partition("=")
        if value and value[0] != "=" and name[-1:] not in "<>!~" and len(name) <= 200 and not has_space(name):
            rule = self.rule_of(name)
            bare = value[1:-1] if value[0] in "'\"" and value[-1] == value[0] else value
            if rule is not None and is_secret(rule, bare):
                where = (place, index)
                if self._is_allowed(where, name.lstrip("-")):
                    return item
                self._remember(bare, rule)
                self._note(place, index, rule)
                return f"{name}={mask_of(rule)}"
        return self._scanned(item, place, index)

    def _shown(self, text: str, place: Place) -> str:
        """Mask in an object's `repr` what stands beside a name: ``Client(password='...')``, ``{'password': '...'}``."""
        if "='" not in text and '="' not in text and "': " not in text:
            return text
        import re

        spans: list[Span] = []
        for found in re.finditer(_NAMED, text):
            rule = self.rule_of(found["name"])
            if rule is not None and is_secret(rule, found["value"]) and not self._is_allowed(place, found["name"]):
                self._remember(found["value"], rule)
                self._note(place, "repr", rule)
                spans.append((*found.span("value"), rule))
        return replaced(text, spans)

    def _string(self, text: str, rule: str | None, place: Place | None, key: Any) -> str:
        if rule is not None and is_secret(rule, text):
            if self._is_allowed(place, key):
                return text
            self._remember(text, rule)
            self._note(place, key, rule)
            return mask_of(rule)
        return self._scanned(text, place, key)

    def _scanned(self, text: str, place: Place | None, key: Any) -> str:
        """Return a text with what is secret by form or by value masked."""
        if len(text) < SHORTEST_KNOWN:
            return text
        spans = secret_spans(text) if may_hold_secret_url(text) or may_hold_token(text) else []
        for value, _ in self._known:
            if value in text:
                break
        else:
            if not spans:
                return text
        if self._is_allowed(place, key):
            return text
        for start, end, rule in spans:
            self._remember(text[start:end], rule)
        spans = merged(spans + known_spans(text, self._known))
        for rule in dict.fromkeys(rule for _, _, rule in spans):
            self._note(place, key, rule)
        return replaced(text, spans)

    def _other(self, value: Any, rule: str | None, place: Place | None, key: Any, depth: int) -> Any:
        """Mask what is not plain: containers of other types as such, anything else in the form that is stored."""
        try:
            masked = self._contained(value, rule, place, key, depth)
        except (_Tangled, RecursionError):
            raise
        except Exception:  # noqa: BLE001 - code of others raised, when it was asked what it is; the codec is ready for it
            masked = None
        if masked is not None:
            return masked
        data = encode(value)
        masked = self._masked(data, rule, place, key, depth)
        return value if masked is data else decode(masked)

    def _contained(self, value: Any, rule: str | None, place: Place | None, key: Any, depth: int) -> Any:
        """Mask what containers and some other types hold; None for a type that is none of these."""
        names = getattr(type(value), "_fields", None) if isinstance(value, tuple) else None
        if type(names) is tuple and len(names) == len(value):  # a named tuple
            entries = dict(zip(names, value))
            masked = self._dict(entries, rule, (place, key), depth + 1)
            return value if masked is entries else tuple(masked.values())
        if isinstance(value, (tuple, set, frozenset)):
            items: list[Any] = list(value)
            masked = self._list(items, rule, (place, key), depth + 1)
            plain = next(kind for kind in (tuple, set, frozenset) if isinstance(value, kind))
            return value if masked is items else plain(masked)
        if isinstance(value, dict):
            entries = dict(value)
            masked = self._dict(entries, rule, (place, key), depth + 1)
            return value if masked is entries else masked
        if isinstance(value, list):
            items = list(value)
            masked = self._list(items, rule, (place, key), depth + 1)
            return value if masked is items else masked
        if isinstance(value, (bytes, bytearray)):
            return self._bytes(value, rule, place, key)
        module = type(value).__module__.partition(".")[0]
        if module in _PLAIN_MODULES or (module == "numpy" and getattr(value, "dtype", None) is not None):
            return self._array(value, rule, place, key) if module == "numpy" else value
        if callable(getattr(type(value), "get_secret_value", None)):  # pydantic's SecretStr and its likes
            return self._wrapped(value, rule or "secret", place, key)
        return None

    def _array(self, array: Any, rule: str | None, place: Place | None, key: Any) -> Any:
        if array.dtype.kind not in "USO":
            return array
        items = array.tolist()
        masked = self._masked(items, rule, place, key, 0)
        return array if masked is items else masked

    def _wrapped(self, value: Any, rule: str, place: Place | None, key: Any) -> Any:
        try:
            secret = value.get_secret_value()
        except Exception:  # noqa: BLE001 - code of others; what cannot be looked at is not written
            secret = None
        if isinstance(secret, bytes):
            secret = secret.decode("utf-8", "replace")
        if self._is_allowed(place, key):
            return value
        if isinstance(secret, str):
            self._remember(secret, rule)
        self._note(place, key, rule)
        return mask_of(rule)

    def _bytes(self, value: bytes | bytearray, rule: str | None, place: Place | None, key: Any) -> Any:
        """Mask bytes by name or by known value; in what is no text there are no forms to be found."""
        if rule is not None and 0 < len(value) <= 10_000:
            text = bytes(value).decode("utf-8", "replace")
            if is_secret(rule, text):
                return type(value)(self._string(text, rule, place, key).encode())
        for known, _ in self._known:
            if known.encode("utf-8", "surrogatepass") in value:
                text = bytes(value).decode("utf-8", "surrogateescape")
                return type(value)(self._scanned(text, place, key).encode("utf-8", "surrogateescape"))
        return value

    def _base64(self, value: dict[Any, Any], place: Place) -> Any:
        """Mask bytes in their stored form, ``{"py/b64": ...}``."""
        from binascii import Error, a2b_base64, b2a_base64

        tag = next(iter(value))
        text = value[tag]
        if len(value) != 1 or not isinstance(text, str):
            return value
        try:
            data = a2b_base64(text)
        except Error:
            return value
        masked = self._bytes(data, None, place, tag)
        return value if masked is data else {tag: b2a_base64(masked, newline=False).decode("ascii")}

    # ------------------------------------------------------------------------------------------------- what is known

    def _remember(self, value: str, rule: str) -> None:
        """Mask a value from now on wherever it turns up, also as it is written in Python, JSON and URLs."""
        if value in self._rules or len(value) < SHORTEST_KNOWN or MARK in value:
            return
        masks = " ".join(map(mask_of, RULES))
        with self._lock:
            for form in forms_of(value):
                if len(form) >= SHORTEST_KNOWN and form.lower() not in _COMMON and form not in masks:
                    self._rules.setdefault(form, rule)
            self._known = tuple(sorted(self._rules.items(), key=lambda pair: (-len(pair[0]), pair[0])))

    def _is_allowed(self, place: Place | None, key: Any) -> bool:
        if not self._allowed:
            return False
        path = f".{_path(place, key)}.".lower()
        return any(allowed in path for allowed in self._allowed)

    def _note(self, place: Place | None, key: Any, rule: str) -> None:
        entry = (_path(place, key), rule)
        with self._lock:
            if entry not in self._found:
                if len(self._found) < MOST_FOUND:
                    self._found[entry] = None
                else:
                    self._unlisted += 1

    # ------------------------------------------------------------------------------------------------------- output

    def stream(self, now: Callable[[], float] = time.monotonic) -> OutputMask:
        """Return a filter that masks the known values in what is printed; see `OutputMask`."""
        return OutputMask(self, now)


class OutputMask:
    """Masks known values in text that comes in pieces, wherever it is cut.

    It is called with a piece and returns what may be recorded. The end of a piece with which a known value begins is
    kept back until it is clear how it goes on: until the next piece, the end of the output, or the first call `HOLD_S`
    after it came. Only an end that is half of the value or more waits for more than that. After a part was let go, the
    rest of the value is masked when it comes.

    Parameters
    ----------
    masker : Masker
    now : callable
        A clock, in seconds.
    """

    def __init__(self, masker: Masker, now: Callable[[], float] = time.monotonic) -> None:
        self._masker, self._now = masker, now
        self._shown = ""  # let go already, and perhaps the beginning of a value
        self._held = ""
        self._since = 0.0

    def __call__(self, text: str, last: bool = False) -> str:
        known = self._masker._known
        if not known:
            return text
        if not text:
            return self._released(known, last)
        whole = self._shown + self._held + text
        begin = len(self._shown)
        spans = merged(known_spans(whole, known))
        end = len(whole) if last else _start_of_value(whole, known, spans)
        return self._passed(whole, begin, max(begin, end), spans, keep_from=end)

    def _released(self, known: tuple[tuple[str, str], ...], last: bool) -> str:
        """Return what was kept back, if it is time."""
        if not self._held or not (last or self._now() - self._since >= HOLD_S):
            return ""
        whole = self._shown + self._held
        if not last and any(2 * len(whole) >= len(value) and value.startswith(whole) for value, _ in known):
            return ""
        begin = len(self._shown)
        spans = merged(known_spans(whole, known))
        text = self._passed(whole, begin, len(whole), spans, keep_from=len(whole))
        self._shown = "" if spans or last else whole
        return text

    def _passed(self, whole: str, begin: int, end: int, spans: list[Span], keep_from: int) -> str:
        """Return the text from `begin` to `end` with masks; keep what follows, and what it may belong to."""
        self._shown, held = whole[keep_from:end] if keep_from < end else "", whole[end:]
        if held and held != self._held:
            self._since = self._now()
        self._held = held
        inside = [(max(first, begin) - begin, last - begin, rule) for first, last, rule in spans if begin < last <= end]
        if inside:
            for _, _, rule in inside:
                self._masker._note(None, "output", rule)
        return replaced(whole[begin:end], inside)


def known_spans(text: str, known: Iterable[tuple[str, str]]) -> list[Span]:
    """Return where known values stand in a text, also where they overlap."""
    spans: list[Span] = []
    for value, rule in known:
        at = text.find(value)
        while at >= 0:
            spans.append((at, at + len(value), rule))
            at = text.find(value, at + 1)
    return spans


def _start_of_value(text: str, known: Iterable[tuple[str, str]], spans: list[Span]) -> int:
    """Return where the longest end of `text` begins with which a known value begins, too; else its length."""
    start = len(text)
    for value, _ in known:
        at = text.find(value[0], max(0, len(text) - len(value) + 1))
        while 0 <= at < start:
            if value.startswith(text[at:]):
                start = at
                break
            at = text.find(value[0], at + 1)
    for first, last, _ in spans:
        if first < start < last:
            return last  # what ends there is a value already
    return start


def forms_of(value: str) -> list[str]:
    """Return a value as it is written in Python, in JSON and in URLs; and its longer lines if it has several."""
    forms = [value]
    if value.isalnum():
        return forms
    forms += [dumps(value)[1:-1], dumps(value, ensure_ascii=False)[1:-1], repr(value)[1:-1]]
    for safe in ("-_.~", "-_.~/"):
        data = value.encode("utf-8", "surrogatepass")
        kept = frozenset((safe + _LETTERS).encode())
        forms.append("".join(chr(byte) if byte in kept else f"%{byte:02X}" for byte in data))
    if "%" in value:
        from urllib.parse import unquote

        forms.append(unquote(value))
    if "\n" in value or "\\n" in value:
        lines = value.replace("\\n", "\n").splitlines()
        forms += [line for line in lines if len(line) >= SHORTEST_LINE and not line.startswith("-----")]
    return list(dict.fromkeys(forms))


def _path(place: Place | None, key: Any) -> str:
    keys = [str(key)] if key not in ("", None) else []
    while place is not None:
        place, key = place
        if key not in ("", None):
            keys.append(str(key))
    return ".".join(reversed(keys))


class _Tangled(Exception):
    """A value holds itself, or is nested too deeply."""
