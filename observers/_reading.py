"""What every store's reader does alike: finding a run by what people call it, and decoding a record when it is read."""

from __future__ import annotations

from capture.errors import CaptureError, RecordError
from capture.filters import as_filter
from capture.hooks import Reader
from capture.liveness import is_alive
from capture.observers._query import by_part_of_uid, not_found
from capture.observers._writing import log
from capture.records import RunRecord

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from typing import Any

    from capture.filters import Filter
    from capture.records import Loss

#: what values raise that are not as a store writes them; connections raise others
DAMAGE = (ValueError, TypeError, AttributeError, LookupError)

#: what a record holds, besides its label
_EMPTY = {name: value for name, value in vars(RunRecord()).items() if name != "label"}
FIELDS = tuple(_EMPTY)


class StoredRecord(RunRecord):
    """A record whose parts are read from its store, or decoded, when somebody asks for them.

    Parameters
    ----------
    label : object
    load : callable
        ``load(name) -> value`` of the field `name` of `RunRecord`, ``summary`` among them; it raises KeyError for what
        is as in an empty record, and for ``summary`` if the series themselves must be asked. It is asked for ``name``,
        too, which a store may know without the rest of the experiment.
    """

    def __init__(self, label: Any, load: Callable[[str], Any]) -> None:
        self.label = label
        self._load = load

    def __getattr__(self, name: str) -> Any:
        if name not in _EMPTY:
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")
        try:
            value = self._load(name)
        except KeyError:
            value = _EMPTY[name]
            if isinstance(value, (list, dict)):
                value = value.copy()
        except DAMAGE as error:
            if isinstance(error, CaptureError):
                raise
            text = f"the {name} of run {self.label} cannot be read: {type(error).__name__}: {error}"
            raise RecordError(text) from error
        self.__dict__[name] = value
        return value

    @property
    def summary(self) -> Mapping[str, dict[str, Any]]:
        """What `capture.records.summarize` says of each metric."""
        if "_summary" not in self.__dict__:
            try:
                self._summary = self._load("summary")
            except KeyError:
                self._summary = super().summary
        return self._summary

    @property
    def name(self) -> str:
        """Name of the experiment."""
        if "experiment" not in self.__dict__:
            try:
                return self._load("name")
            except KeyError:
                pass
        return super().name

    @property
    def user(self) -> str | None:
        """Name of the user; a reader that knows it sets ``_user``, since facts are long."""
        return self.__dict__["_user"] if "_user" in self.__dict__ else super().user

    def to_dict(self, streams: bool = True) -> dict[str, Any]:
        for name in FIELDS:
            getattr(self, name)
        plain = super().to_dict(streams)
        return {name: value for name, value in plain.items() if not name.startswith("_")}


def end_of_file(path: str, start: int) -> tuple[int, bytes]:
    """Return the bytes of a file from a place on, see `Reader.output_from`; none if there is no file."""
    try:
        with open(path, "rb") as stream:
            size = stream.seek(0, 2)
            begin = min(start, size) if start >= 0 else max(size + start, 0)
            stream.seek(begin)
            return begin, stream.read()
    except FileNotFoundError:
        return 0, b""


class StoreReader(Reader):
    """The part of a reader that names runs; a subclass says what there is, with the methods below `Reader`'s."""

    def get(self, run: Any) -> RunRecord:
        """Return one run.

        Parameters
        ----------
        run : str or int
            Label, uid, beginning or end of a uid, "latest", or a negative number: -1 is the newest.

        Raises
        ------
        RunNotFoundError
            If there is none, or several; it lists the labels.
        """
        return self.read(self.resolve(run))

    def find(
        self, where: Mapping[str, Any] | Filter | str | None = None, limit: int | None = None
    ) -> Iterator[RunRecord]:
        """Yield runs, newest first; see `capture.hooks.Reader.find`."""
        from itertools import islice

        if isinstance(where, str):
            from capture.expressions import parse

            where = parse(where)
        return islice(self.matching(as_filter(where), limit), None if limit is None else max(limit, 0))

    def is_alive(self, record: RunRecord) -> bool | None:
        """Say whether one of the processes that write the run lives; None where that cannot be told from here.

        A run that has ended or was only queued is not alive.
        """
        if record.status == "QUEUED" or (record.status != "RUNNING" and record.stop_time is not None):
            return False
        answers = [is_alive(host) for host in record.writers.values()]
        if True in answers:
            return True
        return None if None in answers or not answers else False

    def resolve(self, run: Any, binned: bool = False) -> Any:
        """Return the label of the run that is meant; see `get`. With `binned`, only runs in the bin are meant."""
        wanted = str(run)
        if wanted == "latest":
            wanted = "-1"
        if wanted[:1] == "-" and wanted[1:].isdigit():
            labels = self.all_labels(binned)
            if 0 < int(wanted[1:]) <= len(labels):
                return labels[int(wanted)]
            raise not_found(self.url, run, labels, binned=binned)
        label = self.find_label(wanted, binned)
        if label is not None:
            return label
        if self.find_label(wanted, not binned) is not None:
            in_sight = f"run {wanted!r} is not in the bin: it is among the runs in sight."
            because = in_sight if binned else f"run {wanted!r} is in the bin: restore it first."
            error: Any = not_found(self.url, run, self.all_labels(binned), because, binned)
            error.is_in_sight = binned
            raise error
        uids = {uid: label for uid, label in self.uids_like(wanted, binned) if uid}
        candidates = by_part_of_uid(wanted, list(uids))
        if len(candidates) == 1:
            return uids[candidates[0]]
        because = ""
        if candidates:
            listed = ", ".join(f"{uids[uid]} ({uid})" for uid in candidates)
            because = f"{wanted!r} is the beginning or end of the uid of several runs of {self.url}: {listed}"
        raise not_found(self.url, run, self.all_labels(binned), because, binned)

    #: whether the log tells of each run that is left out; False where whoever asks says so in another way
    logs_unreadable = True

    @property
    def unreadable(self) -> dict[str, str]:
        """What is wrong with runs that `find` has left out since the store was opened, by their labels."""
        return dict(self.__dict__.get("_left_out", ()))

    def leave_out(self, label: Any, problem: object) -> None:
        """Note that a run cannot be read: who asks for many runs gets the others."""
        self.__dict__.setdefault("_left_out", {})[str(label)] = str(problem)
        if self.logs_unreadable:
            log().warning("A run was left out: %s", problem)

    @property
    def damaged(self) -> dict[str, list[Loss]]:
        """What runs that were looked at since the store was opened have lost, by their labels; they can be read."""
        return dict(self.__dict__.get("_damaged", ()))

    def note_damage(self, label: object, losses: list[Loss]) -> None:
        """Note that a run has lost something."""
        damaged = self.__dict__.setdefault("_damaged", {})
        if self.logs_unreadable and str(label) not in damaged:
            log().warning("Run %s is damaged: %s", label, "; ".join(each.text for each in losses))
        damaged[str(label)] = losses

    def labels(self) -> list[Any]:
        """Return the labels of all runs, oldest first."""
        return self.all_labels()

    # What a store says.

    def all_labels(self, binned: bool = False) -> list[Any]:
        """Return the labels of the runs that are in sight, or of those in the bin, oldest first."""
        raise NotImplementedError

    def find_label(self, text: str, binned: bool = False) -> Any:
        """Return the label that is written `text`, or None if no run in sight (in the bin) has it."""
        raise NotImplementedError

    def uids_like(self, part: str, binned: bool = False) -> Iterable[tuple[str, Any]]:
        """Yield uid and label of runs whose uid may begin or end with `part`: of all of them, if need be."""
        raise NotImplementedError

    def read(self, label: Any, binned: bool = False) -> RunRecord:
        """Return the record of a run that exists; where a label says it all, `binned` need not be asked."""
        raise NotImplementedError

    def matching(self, wanted: Filter | None, limit: int | None) -> Iterator[RunRecord]:
        """Yield the records that fulfil `wanted`, newest first; more than `limit` are not asked for.

        A store that knows for sure which runs match overrides this; others have `candidates`.
        """
        for each in self.candidates(wanted, limit):
            try:
                if wanted is None or wanted.matches(each):
                    yield each
            except DAMAGE as error:
                self.leave_out(each.label, f"run {each.label} cannot be read: {error}")

    def candidates(self, wanted: Filter | None, limit: int | None) -> Iterable[RunRecord]:
        """Yield the records of all runs in sight that may fulfil `wanted`, newest first."""
        raise NotImplementedError
