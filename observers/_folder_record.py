"""A run's record from the documents of its folder, wherever that lies; each part is read when it is asked for."""

from __future__ import annotations

from capture.codec import TAG_PREFIXES, decode
from capture.errors import RecordError
from capture.filters import MISSING
from capture.moments import datetime, timezone
from capture.observers._reading import StoredRecord
from capture.records import RunRecord, StoredFile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, BinaryIO

    from capture.records import Loss, Series

#: field -> document and key, and what stands for a missing one
_PLAIN: dict[str, tuple[str, str, Any]] = {
    "status": ("run", "status", "RUNNING"),
    "command": ("run", "command", ""),
    "host": ("run", "host", {}),
    "meta": ("run", "meta", {}),
    "result": ("run", "result", None),
    "fail_trace": ("run", "fail_trace", None),
    "uid": ("capture", "uid", ""),
    "writers": ("capture", "writers", {}),
    "facts": ("capture", "facts", {}),
    "tags": ("capture", "tags", []),
    "notes": ("capture", "notes", ""),
}

#: field -> its key in run.json, Sacred's, and among the times of capture.json
_TIMES = {
    "queue_time": (None, "queued"),
    "start_time": ("start_time", "started"),
    "stop_time": ("stop_time", "stopped"),
    "heartbeat": ("heartbeat", "heartbeat"),
}


class Folder:
    """What a reader knows of the folder of one run: a subclass says how to get at it."""

    name = ""  #: for messages

    def document(self, name: str) -> Any:
        """Return the document "run", "config", "info" or "capture" as JSON, not decoded; None if it is missing."""
        raise NotImplementedError

    def part(self, name: str) -> Any:
        """Return a document without what is large in it: the facts and the lists of files."""
        return self.document(name)

    def known(self, name: str) -> Any:
        """Return a field, or a derived one (name, user, git), that is known without the documents, else `MISSING`."""
        return MISSING

    def output(self) -> str:
        """Return what the run printed."""
        raise NotImplementedError

    def series(self) -> Mapping[str, Series]:
        """Return the metrics by name."""
        raise NotImplementedError

    def opener(self, kind: str, stored: str) -> Callable[[], BinaryIO] | None:
        """Return what opens a file that ``capture.json`` lists; None if it lies outside of the store.

        `kind` is "artifacts" for a file in the run's folder, else the path is relative to the store.
        """
        raise NotImplementedError

    def sacreds(self, kind: str, name: str, stored: str) -> tuple[int | None, Callable[[], BinaryIO] | None]:
        """Return size and opener of a file that only Sacred's ``run.json`` lists; None for what is not there."""
        raise NotImplementedError

    def summary(self) -> Mapping[str, dict[str, Any]]:
        """Return the summary of each metric; KeyError if the series must be asked."""
        raise KeyError("summary")

    def losses(self) -> list[Loss]:
        """Return what the folder has lost, as far as that can be told at little cost."""
        return []

    def noted_uid(self) -> str:
        """Return the uid of the run if it is known from elsewhere than its documents, else ""."""
        return ""


class FolderRecord(StoredRecord):
    """The record of the run in a folder.

    Raises
    ------
    RecordError
        When a part is asked for whose document cannot be read.
    """

    def __init__(self, label: Any, folder: Folder) -> None:
        # `_load` is a method here: a record that kept one as a value would hold itself, and what it has read, until the
        # collector of cycles comes, and ten thousand of them would fill the memory with documents.
        self.label, self._folder = label, folder

    def __reduce__(self) -> Any:
        return _as_it_is, (self.label, {name: getattr(self, name) for name in vars(RunRecord()) if name != "label"})

    @property
    def user(self) -> str | None:
        known = self._folder.known("user")
        return super().user if known is MISSING else known

    @property
    def git(self) -> Mapping[str, Any]:
        known = self._folder.known("git")
        return super().git if known is MISSING else known

    @property
    def losses(self) -> list[Loss]:
        return self._folder.losses()

    def forget_facts_but(self, topic: str) -> None:
        """Have no other facts than these: to decode them all takes long, and who reads many runs may need but one."""
        facts = self._document("capture").get("facts")
        if isinstance(facts, dict) and not any(key.startswith(TAG_PREFIXES) for key in facts):
            self.facts = {topic: decode(facts[topic])} if topic in facts else {}

    def _load(self, name: str) -> Any:
        known = self._folder.known(name)
        if known is not MISSING:
            return known
        if name == "name":
            raise KeyError(name)  # it is part of the experiment, which is a field
        if name in _PLAIN:
            document, key, default = _PLAIN[name]
            value = (self._document if name == "facts" else self._part)(document).get(key)
            if name == "uid" and not value:
                return self._folder.noted_uid()
            return decode(value) if value is not None else default if not default else type(default)(default)
        if name in _TIMES:
            return self.time(name)
        try:
            return getattr(self, f"_load_{name}")()
        except (KeyError, TypeError, AttributeError) as error:
            if name == "summary" and error.args == ("summary",):
                raise
            raise RecordError(f"the {name} of {self._folder.name} cannot be read: {error!r}") from error

    def _document(self, name: str) -> dict[str, Any]:
        data = self._folder.document(name)
        return data if isinstance(data, dict) else {}

    def _part(self, name: str) -> dict[str, Any]:
        data = self._folder.part(name)
        return data if isinstance(data, dict) else {}

    @property
    def _is_sacreds(self) -> bool:
        """Whether the files are listed in ``run.json``, and only there."""
        capture = self._folder.part("capture")
        return not isinstance(capture, dict) or capture.get("layout") == "sacred"

    def time(self, name: str) -> datetime | None:
        """Return one of the four times of the run."""
        key, ours = _TIMES[name]
        text = self._part("capture").get("times", {}).get(ours)
        if text is None and key is not None:
            text = self._part("run").get(key)
        if text is None and name == "queue_time" and self._is_sacreds:
            text = self.meta.get("queue_time")
        return moment(text, self._folder.name)

    def _load_resumed(self) -> list[datetime]:
        times = [moment(each, self._folder.name) for each in self._part("capture").get("resumed", [])]
        return [each for each in times if each is not None]

    def _load_config(self) -> Any:
        return decode(self._folder.part("config") or {})

    def _load_info(self) -> Any:
        return decode(self._folder.document("info") or {})

    def _load_extra(self) -> list[Any]:
        return list(self._document("capture").get("extra", []))

    def _load_experiment(self) -> dict[str, Any]:
        experiment = decode(self._part("run").get("experiment") or {})
        told = self._part("capture").get("experiment")
        if told is not None:  # the sources as they were told: run.json lists where they are stored
            experiment.pop("sources", None)
            experiment.update(decode(told))
        return experiment

    def _load_read_output(self) -> Callable[[], str]:
        return self._folder.output

    def _load_metrics(self) -> Mapping[str, Series]:
        return self._folder.series()

    def _load_summary(self) -> Mapping[str, dict[str, Any]]:
        return self._folder.summary()

    # Files.

    def _load_sources(self) -> list[StoredFile]:
        self._split_sources()
        return self.__dict__["sources"]

    def _load_kept(self) -> list[StoredFile]:
        self._split_sources()
        return self.__dict__["kept"]

    def _split_sources(self) -> None:
        self.__dict__["sources"], self.__dict__["kept"] = [], []
        for stored in self._files("sources"):
            self.put_source(stored)
        if self._is_sacreds:
            self.__dict__["sources"] += self._listed("sources", self.experiment.get("sources"))

    def _load_resources(self) -> list[StoredFile]:
        files = self._files("resources")
        return [*files, *self._listed("resources", decode(self._document("run").get("resources")))]

    def _load_artifacts(self) -> list[StoredFile]:
        names = decode(self._document("run").get("artifacts")) or []
        return [*self._files("artifacts"), *self._listed("artifacts", [(str(name), str(name)) for name in names])]

    def _files(self, kind: str) -> list[StoredFile]:
        entries = self._document("capture").get("files", {}).get(kind, [])
        return [self._stored(kind, entry) for entry in entries]

    def _stored(self, kind: str, entry: dict[str, Any]) -> StoredFile:
        stored = entry.get("stored")
        return StoredFile(
            decode(entry["name"]),
            entry.get("digest"),
            entry.get("size"),
            decode(entry.get("metadata")),
            decode(entry.get("content_type")),
            None if stored is None else self._folder.opener(kind, stored),
        )

    def _listed(self, kind: str, pairs: Any) -> list[StoredFile]:
        """Return files that Sacred lists; of a digest it knows the MD5 at most, in the stored name."""
        if not self._is_sacreds:
            return []
        files = []
        for pair in pairs or ():
            if not isinstance(pair, (list, tuple)) or len(pair) < 2:
                continue
            name, stored = str(pair[0]), str(pair[1])
            size, opener = self._folder.sacreds(kind, name, stored)
            md5 = _md5_in(stored)
            files.append(StoredFile(name, None, size, {"md5": md5} if md5 else None, None, opener))
        return files


def _as_it_is(label: Any, fields: dict[str, Any]) -> RunRecord:
    record = RunRecord(label=label)
    vars(record).update(fields)
    return record


def _md5_in(stored: str) -> str:
    """Return the MD5 that stands in a stored name, ``NAME_MD5.ext``, or is all of it; "" if there is none.

    Examples
    --------
    >>> _md5_in("_sources/train_0123456789abcdef0123456789abcdef.py")
    '0123456789abcdef0123456789abcdef'
    """
    base = stored.replace("\\", "/").rpartition("/")[2]
    stem = base[: base.rindex(".")] if "." in base[1:] else base
    tail = stem.rpartition("_")[2] if "_" in stem else stored
    return tail if len(tail) == 32 and not tail.strip("0123456789abcdef") else ""


def moment(text: Any, where: str) -> datetime | None:
    """Return an aware time; Sacred's have no offset and are UTC."""
    if text is None or text == "":
        return None
    if isinstance(text, datetime):
        time = text
    else:
        try:
            time = datetime.fromisoformat(text)
        except (ValueError, TypeError) as error:
            raise RecordError(f"{where} holds the time {text!r}, which is not one: {error}") from error
    return time if time.tzinfo else time.replace(tzinfo=timezone.utc)
