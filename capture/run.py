"""One run: a small state machine that calls the main function and emits what happens.

::

    QUEUED                             (--queue: described, not started)
    RUNNING ──► COMPLETED              main returned, or called sys.exit(0)
            ──► FAILED                 main or a hook raised
            ──► INTERRUPTED | TIMEOUT  Ctrl-C, or a SacredInterrupt with a status of its own
            ──► PREEMPTED              SIGTERM, SIGHUP or SIGXCPU
"""

from __future__ import annotations

import os
import sys
import time

from capture import context, events
from capture.errors import MaskedConfigError, NoRunError, RequiredObserverError, SacredInterrupt, SpoolError
from capture.randomness import set_global_seed
from capture.recorder import ChildRecorder, NullRecorder, Recorder, new_uid
from capture.signals import Hold, Preempted, Preemption
from capture.unwatched import unwatched, watch_again

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import datetime
    from typing import Any

PREEMPTED_DIGESTS_WAIT_S = 0.5  #: how long a preempted run waits for digests: small checkpoints are worth it


class Run:
    """One execution of a command.

    `Experiment.run` and `capture.start_run` make it; users meet it as the ``_run`` of a captured function.

    Attributes
    ----------
    uid : str
        Identifies this run everywhere.
    _id : object
        The label that the first store gave it, settled before main; else the last 8 digits of the uid.
    labels : dict
        Label by store.
    info : dict
        Anything worth knowing about the run; stored when it changes.
    result : object
        What main returned. May be set during the run as an intermediate result.
    status : str
        See the module's drawing.
    start_time, stop_time : datetime or None
        UTC, with the time zone unless ``SETTINGS.NAIVE_TIMES`` says otherwise.
    """

    def __init__(
        self,
        config: dict[str, Any],
        config_modifications: Any = None,
        main_function: Callable[..., Any] | None = None,
        observers: Sequence[Any] = (),
        root_logger: Any = None,
        run_logger: Any = None,
        experiment_info: dict[str, Any] | None = None,
        host_info: dict[str, Any] | None = None,
        pre_run_hooks: Sequence[Callable[[], Any]] = (),
        post_run_hooks: Sequence[Callable[[], Any]] = (),
        captured_out_filter: Callable[[str], str] | None = None,
        *,
        settings: Any = None,
        frame: Any = None,
    ) -> None:
        if settings is None:
            from capture.settings import SETTINGS as settings
        self.uid = new_uid()
        self._id: Any = None
        self.labels: dict[str, Any] = {}
        self.config = config
        self.config_modifications = config_modifications
        self.main_function = main_function
        self.observers = list(observers)
        self.root_logger = root_logger
        self.run_logger = run_logger if run_logger is not None else _logger("capture")
        self.experiment_info = experiment_info or {}
        self.host_info = host_info or {}
        self.pre_run_hooks = list(pre_run_hooks)
        self.post_run_hooks = list(post_run_hooks)
        self.captured_out_filter = captured_out_filter
        self.frame = frame
        self.parent: Run | None = None

        self.info: dict[str, Any] = {}
        self.meta_info: dict[str, Any] = {}
        self.tags: list[str] = []
        self.notes: str | None = None
        self.seed: int | None = None  # seeds the generators of the process
        self.resolved: Any = None  # the configuration with the history of each entry
        self.experiment: Any = None
        self.result: Any = None
        self.status: str | None = None
        self._started: datetime | None = None
        self._stopped: datetime | None = None
        self.fail_trace: list[str] | None = None

        self.debug = False
        self.pdb = False
        self.force = False
        self.unobserved = False
        self.queue_only = False
        self.beat_interval: float = settings.DEFAULT_BEAT_INTERVAL
        self.capture_mode: str | None = settings.CAPTURE_MODE
        self.owns_process = False  # the script is ours: signals and file descriptors may be, too
        self.sources: list[tuple[str, str]] = []  # (absolute path, path to record)
        self.watch: Callable[[Run], Any] | None = None  # called once the run has started; returns a `Watching`

        self._settings = settings
        self._recorder: NullRecorder = NullRecorder(self.uid)
        self._by_hand = False
        self._ended = 0.0  # on the monotonic clock
        self._last_error: BaseException | None = None
        self._masker: Any = None  # what keeps secrets out of the record
        self._typed: list[tuple[str, bytes]] = []  # sources that no file holds: a notebook's cells
        self._cells = 0  # of the notebook, that are in these
        self._capture: Any = None
        self._output_log: Any = None
        self._activation: Any = None
        self._seeding: Any = None
        self._signals: Any = None
        self._watching: Any = None
        self._artifact_names: dict[str, str | None] = {}
        self._resources: set[tuple[str, str]] = set()
        self._params: dict[str, Any] = {}
        self._known_info = self._known_result = "null"
        self._filtered = ""
        self._filter_failed = False
        self._raw_output = bytearray()  # kept only for a filter of the user's own

    @property
    def start_time(self) -> datetime | None:
        return self._shown(self._started)

    @property
    def stop_time(self) -> datetime | None:
        return self._shown(self._stopped)

    def _shown(self, moment: datetime | None) -> datetime | None:
        return moment.replace(tzinfo=None) if moment is not None and self._settings.NAIVE_TIMES else moment

    # ------------------------------------------------------------------------------------------------ the run itself

    def __call__(self, *args: Any) -> Any:
        """Run the main function once; return its result.

        Raises
        ------
        RuntimeError
            If the run was started before.
        """
        if self.queue_only:
            self.queue()
            return None
        try:
            with self:
                for hook in self.pre_run_hooks:
                    hook()
                assert self.main_function is not None
                self.result = _finished(self.main_function(*args))
                for hook in self.post_run_hooks:
                    hook()
        except BaseException as error:
            self.end(error)  # Ctrl-C just before `__exit__` began; else it has ended already
            raise
        return self.result

    def __enter__(self) -> Run:
        if self._by_hand and self.status == "RUNNING":
            return self
        with unwatched():
            self._begin()
        watch_again()
        return self

    def start(self) -> Run:
        """Start a run that has no main function; ``with run:`` or `end` ends it, at the latest the end of Python."""
        import atexit
        self._by_hand = True
        self._last_error = getattr(sys, "last_value", None)  # of a prompt, or of a cell before this one
        atexit.register(self._end_at_exit)
        with unwatched():
            self._begin()
        watch_again()
        return self

    def end(self, error: BaseException | None = None) -> None:
        """End a run that `start` began, as FAILED or INTERRUPTED if `error` says so. Ending it again does nothing."""
        if self.status == "RUNNING":
            with unwatched():
                self._end(error)

    def _end_at_exit(self) -> None:
        error = getattr(sys, "last_value", None)
        self.end(error if error is not self._last_error else None)

    def _begin(self) -> Run:
        self._check_new()
        observers = self._observers_to_tell()
        self.parent = next((run for run in context.candidate_runs() if run is context.CONTEXT_RUN.get()), None)
        self._started = _now()
        try:
            self.status = "RUNNING"
            self._recorder = self._make_recorder(observers)
            if not observers and not self.unobserved:
                self.run_logger.warning("No observers have been added to this run")
            self._recorder.start(self._started_event(), self._first_events())
            self._look_for_secrets_in_sources()
            self._activation = context.activate(self)
            if self.seed is not None:
                self._seeding = set_global_seed(self.seed)
            self._start_capture()
            self._start_signals()
            if self.main_function is not None:
                self.run_logger.info("Running command '%s'", self.experiment_info.get("command", self._command()))
            self._recorder.start_ticker(self.beat_interval, self._look, self._flush_output)
            self._settle_label(self._recorder.wait_started())
            if self.watch is not None and self._recorder.observed:
                self._watching = self.watch(self)  # known before it starts: Ctrl-C may come meanwhile
                self._watching.start()
        except BaseException as error:
            self._end(error)
            raise
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        self.end(error)

    def queue(self) -> None:
        """Describe the run to the observers without starting it."""
        self._check_new()
        self.status = "QUEUED"
        queue_time = _now()
        self.meta_info["queue_time"] = queue_time
        self._recorder = self._make_recorder(self._observers_to_tell())
        self.run_logger.info("Queuing-up command '%s'", self._command())
        started = self._started_event()
        values = {name: value for name, value in started.items() if name != "start_time"}
        try:
            self._recorder.start(events.Queued(queue_time=queue_time, **values), self._first_events())
            self._settle_label(self._recorder.wait_started())
        except BaseException:
            self._recorder.abandon()
            raise
        self._tell(self._recorder.finish(None))
        masked = [entry["path"] for entry in self._masker.found] if self._masker is not None else []
        if entries := [path.removeprefix("config.") for path in masked if path.startswith("config.")]:
            self.run_logger.warning("Masked in the record; to be given again when it is run: %s", ", ".join(entries))
        self.run_logger.info('Queued run with ID "%s"', self._id)

    def bind(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return `function` so that it belongs to this run in whatever thread it is called."""
        return context.bind(self, function)

    def _check_new(self) -> None:
        if self.status is not None:
            raise RuntimeError("A run can only be started once.")
        if getattr(self.main_function, "__module__", None) != "capture.commands":  # those only show the configuration
            self._check_masks()

    def _check_masks(self) -> None:
        """Refuse masks in the configuration: it was taken from a record, and the record has not the values."""
        from capture.secrets import masked_entries

        if masked := masked_entries(self.config):
            raise MaskedConfigError(masked)

    def _observers_to_tell(self) -> list[Any]:
        if self.unobserved:
            return []
        return sorted(self.observers, key=lambda observer: -getattr(observer, "priority", 0))

    def _make_recorder(self, observers: Sequence[Any]) -> NullRecorder:
        if not observers:
            return NullRecorder(self.uid)
        try:
            return Recorder(self.uid, observers, self._id, self._settings, self._make_masker())
        except OSError as error:
            if any(getattr(observer, "required", False) for observer in observers):
                raise RequiredObserverError(
                    f"an observer was added as required, and there is no place for the run's journal: {error}"
                    "\n  to name one:  CAPTURE_STATE_DIR=/a/folder/that/can/be/written"
                ) from error
            self.run_logger.error(
                "NOTHING OF THIS RUN IS RECORDED, since there is no place for its journal: %s. Set CAPTURE_STATE_DIR.",
                error,
            )
            return NullRecorder(self.uid)

    def _make_masker(self) -> Any:
        """Return what keeps secrets out of the record, or None if the settings ask for none of it."""
        secrets = self._settings.SECRETS
        if not secrets.ENABLED:
            return None
        from capture.masking import Masker

        self._masker = Masker(secrets.NAMES, secrets.ALLOWED)
        return self._masker

    def _command(self) -> str:
        return str(self.meta_info.get("command") or getattr(self.main_function, "__name__", "main"))

    def _started_event(self) -> events.Event:
        return events.Started(
            start_time=self._started,  # type: ignore[arg-type]
            command=self._command(),
            ex_info=self.experiment_info,
            host_info=self.host_info,
            config=self.config,
            meta_info=self.meta_info,
            label=self._id,
        )

    def _first_events(self) -> list[events.Event]:
        found: list[events.Event] = []
        if self._recorder.observed:
            for path, name in self.sources:
                try:
                    taken = self._recorder.take_file(path)
                except OSError as error:
                    self.run_logger.warning("The source file %s cannot be stored: %s", path, error)
                    continue
                found.append(events.Source(path=name, digest=taken.digest, size=taken.size, md5=taken.md5))
            found += self._typed_source()
        if self.parent is not None:
            found.append(events.Facts(topic="parent", facts={"uid": self.parent.uid, "label": self.parent._id}))
        if self.tags or self.notes:
            found.append(events.Annotated(tags=list(self.tags) or None, notes=self.notes))
        return found

    def _typed_source(self) -> list[events.Event]:
        """Take the cells of a notebook that were run and not taken yet, if this is one."""
        if "IPython" not in sys.modules:
            return []
        from capture.probes import notebook

        begin = self._cells
        typed, self._cells = notebook.cells(begin)
        if not typed:
            return []
        data, name = typed.encode("utf-8", "surrogatepass"), notebook.name_of(begin)
        try:
            taken = self._recorder.take_bytes(data)
        except OSError as error:
            self.run_logger.warning("The cells of the notebook cannot be stored: %s", error)
            return []
        self._typed.append((name, data))
        return [events.Source(path=name, digest=taken.digest, size=taken.size, md5=taken.md5)]

    def _tell_later_cells(self) -> None:
        """Record the cells between `start_run` and the end."""
        if self._recorder.observed:
            for event in self._typed_source():
                self._recorder.emit(event)
                self._look_for_secrets_in([self._typed[-1]])

    def _look_for_secrets_in_sources(self) -> None:
        if self._masker is None or not self._masker.found:
            return  # no file is read in vain
        contents = list(self._typed)
        for path, name in self.sources:
            try:
                with open(path, "rb") as file:
                    contents.append((name, file.read()))
            except OSError as error:
                self.run_logger.debug("%s cannot be searched for secrets: %s", path, error)
        self._look_for_secrets_in(contents)

    def _look_for_secrets_in(self, contents: Sequence[tuple[str, bytes]]) -> None:
        """Say which sources hold what is masked in the record: they are stored as they are."""
        if self._masker is None or not self._masker.found:
            return
        text = "%s holds a value that is masked in the record, and is stored as it is, with that value"
        for name, data in contents:
            if self._masker.look_into_source(name, data):
                self.run_logger.warning(text, name)

    def _settle_label(self, label: Any) -> None:
        self.labels, asked = self._recorder.labels, self._id
        for place, given in self.labels.items():
            if asked is not None and given is not None and str(given) != str(asked):
                self.run_logger.warning('ID "%s" is taken in %s: this run has "%s" there', asked, place, given)
        if self._id is None or label is not None:
            self._id = label if label is not None else self.uid[-8:]
        if self._recorder.observed and self.status == "RUNNING" and self.main_function is not None:
            store = next((store for store, given in self.labels.items() if given == self._id), None)
            where = f" in {store}" if store else ""
            self.run_logger.info('Started run with ID "%s"%s', self._id, where)

    # -------------------------------------------------------------------------------------------------------- the end

    def _end(self, error: BaseException | None) -> None:
        """Record the end, whatever it was; restore the process; wait for the observers.

        None of this may be left out: a step that fails is logged, and Ctrl-C and a batch system's signals count when
        the rest is done. While digests or observers are waited for, they end the waiting.
        """
        hold = Hold()
        ending = None
        try:
            ending = self._ending(error)
            steps = (
                self._log_end,
                self._tell_later_cells,
                lambda: self._stop_watching(hold),
                self._recorder.stop_ticker,
                self._stop_capture,
                self._last_look,
                self._leave,
            )
            for step in steps:
                try:
                    step()
                except Exception:
                    self.run_logger.exception("The end of the run went wrong; the rest of it is done")
            self._finish(ending, hold)
        finally:
            self._recorder.abandon(ending)
            self.labels = self._recorder.labels
            self._leave()
            if self._signals is not None:
                self._signals.restore(hold)
            hold.release()
        if isinstance(error, Preempted):
            error.pass_on()
        hold.raise_first(unless=error)

    def _finish(self, ending: events.Event, hold: Hold) -> None:
        """Record the ending and wait for the observers, until somebody is tired of waiting."""
        # a batch system kills soon after its signal; what is not delivered by then is in the journal
        stall_s = 2.0 if self.status == "PREEMPTED" else None
        try:
            hold.release()
            self._tell(self._recorder.finish(ending, stall_s))
            hold.begin()
        except (KeyboardInterrupt, Preempted) as stopped:
            hold.note(stopped)
            hold.begin()
            self.run_logger.warning("Interrupted while observers were being told; the rest is delivered later")
        except Exception:
            hold.begin()
            self.run_logger.exception("The observers could not be told of the end; it is delivered later")

    def _stop_watching(self, hold: Hold) -> None:
        watching, self._watching = self._watching, None
        if watching is None:
            return
        facts_wait_s, digests_wait_s = self._settings.PROBES.END_WAIT_S, self._settings.LINEAGE.END_WAIT_S
        if self.status == "PREEMPTED":  # there is little time left: what is not known by then stays unknown
            facts_wait_s, digests_wait_s = 0.0, min(PREEMPTED_DIGESTS_WAIT_S, digests_wait_s)
        watching.close(self._ended, facts_wait_s, digests_wait_s, hurried=lambda: hold.called)

    def _last_look(self) -> None:
        self._recorder.metrics.flush()  # the last heartbeat comes behind the last numbers, as in Sacred
        self._look(True)

    def _leave(self) -> None:
        """Give back what belongs to the process; may be called again."""
        context.deactivate(self._activation or context.Activation(self, None))
        if self._seeding is not None:
            self._seeding.close()
        if self._by_hand:
            import atexit

            atexit.unregister(self._end_at_exit)

    def _ending(self, error: BaseException | None) -> events.Event:
        self._stopped, self._ended = _now(), time.monotonic()
        if error is None or (isinstance(error, SystemExit) and error.code in (None, 0)):
            self.status = "COMPLETED"
            return events.Completed(stop_time=self._stopped, result=self.result)
        status = interruption(error)
        if status is not None:
            self.status = status
            return events.Interrupted(interrupt_time=self._stopped, status=status)
        self.status = "FAILED"
        self.fail_trace = fail_trace(error)
        return events.Failed(fail_time=self._stopped, fail_trace=self.fail_trace)

    def _log_end(self) -> None:
        assert self._started is not None and self._stopped is not None
        elapsed = _rounded(self._stopped - self._started)
        log = self.run_logger if self.main_function is not None else _Silent()
        self._flush_streams()
        if self.status == "COMPLETED":
            if self.result is not None:
                log.info("Result: %s", _shown(self.result))
            log.info("Completed after %s", elapsed)
        else:
            log.warning("Failed after %s!" if self.status == "FAILED" else "Aborted after %s!", elapsed)

    def _tell(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.run_logger.warning(line)

    # --------------------------------------------------------------------------------------- output, signals, changes

    def _start_capture(self) -> None:
        if not self._recorder.observed:
            return
        from capture import stdio

        mode = self.capture_mode or stdio.default_mode(self.owns_process and self.parent is None)
        if mode == "no":
            return
        from capture.terminal import OutputLog, apply_backspaces_and_linefeeds

        custom = self.captured_out_filter
        if custom in (None, apply_backspaces_and_linefeeds):
            emit, clean = self._recorder.output, self._settings.OUTPUT.CLEAN or custom is not None
        else:
            emit, clean = self._keep_raw, False
        mask = self._masker.stream() if self._masker is not None else None
        self._output_log = OutputLog(emit, clean=clean, max_bytes=self._settings.OUTPUT.MAX_BYTES, mask=mask)
        self._capture = stdio.start_capture(mode, self._output_log, owner=context.CONTEXT_RUN)
        self.capture_mode = mode

    def _stop_capture(self) -> None:
        if self._capture is not None:
            try:
                self._capture.stop()
            finally:
                self._output_log.close()
                self._capture = None

    def _flush_streams(self) -> None:
        """Bring what main printed before what is logged now."""
        if self._capture is not None:
            from capture.stdio import flush_streams

            flush_streams()
            # the log's stream may have a pipe of its own, which might be read before the rest of this one
            self._capture.flush()

    def _flush_output(self) -> None:
        if self._capture is not None:
            self._capture.flush()
        if self._output_log is not None:
            self._output_log.flush()

    def _keep_raw(self, text: str, offset: int) -> None:
        # a filter of the user's own is applied to the whole output, so the whole output is kept for it
        del self._raw_output[offset:]
        self._raw_output += text.encode()

    def _apply_filter(self) -> None:
        assert self.captured_out_filter is not None
        raw, known = self._raw_output.decode(), self._filtered
        try:
            text = self.captured_out_filter(raw)
            if not isinstance(text, str):
                raise TypeError(f"it returned {text!r} instead of a string")
        except Exception:
            if not self._filter_failed:
                self.run_logger.exception("captured_out_filter failed; the output is recorded as it was printed")
            self._filter_failed = True
            text = raw
        if text != known:
            self._filtered = text
            same = len(known) if text.startswith(known) else 0
            self._recorder.output(text[same:], len(known.encode()) if same else 0)

    def _start_signals(self) -> None:
        if self.owns_process and self.parent is None and self._recorder.observed and self._settings.SIGNALS:
            self._signals = Preemption()
            self._signals.install()

    def _look(self, due: bool) -> None:
        """Emit a heartbeat if one is due, or if info or result changed."""
        if not self._recorder.observed:
            return
        if self._raw_output and due:
            self._apply_filter()
        info = _json(self.info) if self.info or self._known_info != "null" else "null"
        result = _json(self.result)
        changed: dict[str, Any] = {}
        if info != self._known_info:
            changed["info"], self._known_info = [_plain(info)], info
        if result != self._known_result:
            changed["result"], self._known_result = [_plain(result)], result
        if due or changed:
            self._recorder.emit(events.Heartbeat(beat_time=_now(), **changed))
        if (watching := self._watching) is not None:  # looked up once: the end may come in between
            watching.beat()

    def _forked(self) -> None:
        """A forked child keeps the config, forgets the recording, and dies of the signals that end it."""
        if self._signals is not None:
            self._signals.restore()
        if self._recorder.observed:
            self._recorder = ChildRecorder(self.uid)
        self._capture = self._output_log = self._signals = self._watching = None

    # ---------------------------------------------------------------------------------------------- what users record

    @property
    def captured_out(self) -> str:
        """What was printed so far."""
        self._flush_output()
        return str(self._recorder.kept)

    def log_scalar(self, metric_name: str, value: Any, step: Any = None) -> None:
        """Record one number of a series.

        Parameters
        ----------
        metric_name : str
        value : number
            Python, numpy or torch.
        step : number, optional
            Default: the metric's last step plus one, from 0.

        Raises
        ------
        TypeError
            If `value` or `step` is not one real number.
        NoRunError
            If the run has not started, or is over.
        """
        if self.status != "RUNNING":
            self._check_live("log_scalar")
        self._recorder.metrics.log(metric_name, value, step)

    def log_metrics(self, metrics: Mapping[str, Any], step: Any = None) -> None:
        """Record one number of each of several series, at one step."""
        if self.status != "RUNNING":
            self._check_live("log_metrics")
        self._recorder.metrics.log_many(metrics, step)

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Record values that were only found during the run; they are kept beside the config.

        Later calls add to what earlier calls recorded; a name that comes again takes its new value.
        """
        self._check_live("log_params")
        self._params.update({str(name): value for name, value in params.items()})
        self._recorder.emit(events.Facts(topic="params", facts=dict(self._params)))

    def add_tags(self, *tags: str) -> None:
        """Add tags to the run."""
        self._check_live("add_tags")
        for tag in tags:
            if not isinstance(tag, str):
                raise TypeError(f"a tag is a string, got {tag!r}; several are given one by one: add_tags('a', 'b')")
        self.tags += [tag for tag in dict.fromkeys(tags) if tag not in self.tags]
        self._recorder.emit(events.Annotated(tags=list(self.tags)))

    def add_notes(self, notes: str) -> None:
        """Set the run's notes."""
        self._check_live("add_notes")
        self.notes = str(notes)
        self._recorder.emit(events.Annotated(notes=self.notes))

    def add_resource(self, filename: str | os.PathLike[str]) -> None:
        """Record a file that the run reads, with its bytes as they are now.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        """
        self._check_live("add_resource")
        path = os.path.abspath(os.fspath(filename))
        self._emit_resource(self._take(lambda: self._recorder.take_file(path), f"The resource {path}"), path)

    def _emit_resource(self, taken: Any, path: str) -> None:
        """Record what was taken of a file; what is recorded already is not again."""
        if taken is not None and (path, taken.digest) not in self._resources:
            self._resources.add((path, taken.digest))
            self._recorder.emit(
                events.Resource(filename=path, digest=taken.digest, size=taken.size, md5=taken.md5)
            )

    def artifact_names(self) -> dict[str, str]:
        """Return the name of an artifact by the digest of its bytes."""
        return {digest: name for name, digest in self._artifact_names.items() if digest}

    def open_resource(self, filename: str | os.PathLike[str], mode: str = "r", **options: Any) -> Any:
        """Record a file as `add_resource` does, and open it."""
        path = os.path.abspath(os.fspath(filename))
        self.add_resource(path)
        return open(path, mode, **options)

    def add_artifact(
        self,
        filename: Any,
        name: str | None = None,
        metadata: Any = None,
        content_type: str | None = None,
        pickle: bool = False,
    ) -> str | list[str]:
        """Record something the run made: a file, a directory, or a value.

        Parameters
        ----------
        filename : path, figure, array, frame, bytes or JSON value
            A str or path names a file or a directory, which is recorded file by file. Any other value is written in the
            form that the ending of `name` asks for: see `capture.artifacts`.
        name : str, optional
            Name in the run, may be nested ("plots/loss.png"). Default: the file's name. Needed for values.
        metadata, content_type : optional
            Kept with the artifact.
        pickle : bool
            Whether a value that has no other form may be pickled.

        Returns
        -------
        str, or list of str for a directory
            The name it has in the run: a name that is taken gets a number ("loss_2.png").
        """
        self._check_live("add_artifact")
        from capture import artifacts

        if artifacts.is_directory(filename):
            found = artifacts.files_below(os.fspath(filename), name)
            return [self._add_file(path, inner, metadata, content_type) for path, inner in found]
        if artifacts.is_path(filename):
            path = os.path.abspath(os.fspath(filename))
            return self._add_file(path, name or os.path.basename(path), metadata, content_type)
        if name is None:
            raise TypeError(
                f"add_artifact() got a {type(filename).__name__}, which needs a name with an ending that says how to"
                ' write it, e.g. name="table.csv"; a file is given by its path'
            )
        data = artifacts.to_bytes(filename, name, pickle)
        taken = self._take(lambda: self._recorder.take_bytes(data), f"The artifact {name}")
        return self._emit_artifact(taken, name, name, metadata, content_type)

    log_artifact = add_artifact

    def _add_file(self, path: str, name: str, metadata: Any, content_type: str | None) -> str:
        taken = self._take(lambda: self._recorder.take_file(path), f"The artifact {name}")
        return self._emit_artifact(taken, path, name, metadata, content_type)

    def _take(self, take: Callable[[], Any], what: str) -> Any:
        """Take bytes into the spool, if anybody wants them; a full disk is no reason to end the run."""
        if not self._recorder.observed:
            return None
        try:
            with unwatched():
                return take()
        except SpoolError as error:
            self.run_logger.error("%s is not recorded: %s", what, error)
            return None

    def _emit_artifact(self, taken: Any, path: str, name: str, metadata: Any, content_type: str | None) -> str:
        from capture.artifacts import clean_name, free_name

        wanted = clean_name(name)
        if wanted != name:
            self.run_logger.warning("The artifact %r is recorded as %r", name, wanted)
        digest = taken.digest if taken is not None else None
        final, is_new = free_name(wanted, digest, self._artifact_names)
        if taken is not None and is_new:
            self._recorder.emit(
                events.Artifact(
                    artifact_name=final,
                    filename=path,
                    digest=taken.digest,
                    size=taken.size,
                    metadata=metadata,
                    content_type=content_type,
                )
            )
        return final

    def _check_live(self, what: str) -> None:
        if self.status != "RUNNING":
            state = "has not started" if self.status is None else f"is {self.status}"
            raise NoRunError(f"{what}() needs a run that is going on; this one {state}")
        self._recorder.used(what)

    def __repr__(self) -> str:
        return f"<Run {self._id if self._id is not None else self.uid[-8:]} of {self._command()!r}: {self.status}>"


def interruption(error: BaseException) -> str | None:
    """Return the status of a run that `error` interrupted, or None if it failed."""
    if isinstance(error, Preempted):
        return "PREEMPTED"
    if isinstance(error, SacredInterrupt):
        return str(error.STATUS)
    return "INTERRUPTED" if isinstance(error, KeyboardInterrupt) else None


def fail_trace(error: BaseException) -> list[str]:
    """Return the lines of the traceback, without this library's frames above the user's first."""
    import traceback

    from capture.traces import is_ours

    trace = error.__traceback__
    while trace is not None and is_ours(trace.tb_frame) and trace.tb_next is not None:
        trace = trace.tb_next
    try:
        return traceback.format_exception(type(error), error, trace)
    except Exception as second:  # noqa: BLE001 - an exception that cannot be shown is still the end of the run
        return [f"{type(error).__qualname__}, which cannot be shown: {type(second).__qualname__}\n"]


def _finished(result: Any) -> Any:
    """Run a coroutine that an async main function returned to its end."""
    try:
        is_coroutine = hasattr(result, "__await__") and hasattr(result, "send")
    except Exception:  # noqa: BLE001 - an object whose attributes raise is a result like any other
        is_coroutine = False
    if not is_coroutine:
        return result
    import asyncio

    return asyncio.run(result)


def _shown(result: Any) -> str:
    """Return a result as the log shows it; one that would not show itself must not fail the run that it came from."""
    try:
        return str(result)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - code of the user's, called for the log alone
        return f"<an object whose str() raised {type(error).__name__}>"


def _now() -> datetime:
    from capture.moments import datetime, timezone

    return datetime.now(timezone.utc)


def _rounded(elapsed: Any) -> Any:
    from capture.moments import timedelta

    return timedelta(seconds=round(elapsed.total_seconds()))


def _json(value: Any) -> str:
    from capture.codec import dumps

    for _ in range(3):
        try:
            return dumps(value)
        except RuntimeError:  # another thread changed a dict while it was read; look again
            continue
    return dumps(repr(value))


def _plain(text: str) -> Any:
    from capture.codec import loads

    return loads(text)


def _logger(name: str) -> Any:
    import logging

    return logging.getLogger(name)


class _Silent:
    """A logger for runs that were started without a command line: their user prints what should be printed."""

    def info(self, *args: Any) -> None:
        """Say nothing."""

    warning = info


def current_run() -> Run:
    """Return the run that the calling code belongs to.

    Raises
    ------
    NoRunError
        If no run is live.
    """
    run = context.current()
    if run is None:
        raise NoRunError(
            "no run is live here.\n  to make one:  with capture.start_run('name', config={...}) as run: ...\n"
            "  or:           decorate a function with @ex.main and run the experiment"
        )
    return run


def _forget_in_child() -> None:
    for run in context.candidate_runs():
        if hasattr(run, "_forked"):
            run._forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_in_child)
