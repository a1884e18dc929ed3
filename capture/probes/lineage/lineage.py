"""The front of lineage: begins to watch for a run, ends it, and tells what was read and written.

::

    hook, adapters, children, folders, URLs ──► sightings ──► classify ──► digests, manifests ──► facts
                                                    │
                                                    └── now and then: new inputs to the digester

Inputs are hashed while the run goes on, since what they hold may be gone at its end; outputs when it is over.
"""

from __future__ import annotations

import os
import sys
import time
from _thread import allocate_lock, start_new_thread

from capture.complaints import logger
from capture.probes.lineage import hook
from capture.probes.lineage.sightings import NOISE_SUFFIXES, Sightings
from capture.unwatched import unwatched

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextvars import ContextVar
    from typing import Any

    from capture.probes.lineage.classify import File, Sorted
    from capture.probes.lineage.digesting import Digester
    from capture.probes.lineage.sightings import Sight, Stat
    from capture.probes.lineage.watch import FolderWatch

    #: what is to be copied into the store: "input" or "output", absolute path, name
    Copy = tuple[str, str, str]

FOLDER_LIMIT = 2_000  #: folders that are watched
FIRST_LOOK_S, LOOK_EVERY_S = 0.25, 1.0  #: at what was read since, to hash it; a shorter run hashes at its end
LOOK_FILES = 500  #: that are hashed after one look: 15 ms of Python's lock if they are small; the rest later
MAX_NEARBY = 1_000
BY_GIT = "opened, most likely by git"  #: which looks at the repository for this library
DESCRIBING_S = 10e-6  #: what a file costs once its digest is known: an entry, and a line of a manifest
INTERIM_FILES = 1_000  #: told of while the run goes on: each time again, so that a week would fill the disk with more
INTERIM_LINES = 20_000  #: of children's journals, likewise


class Lineage:
    """Watches the files of one run.

    Parameters
    ----------
    run_key : object
        The run, as `context_var` holds it.
    context_var : ContextVar
        The run of a context, or None; runs have a `parent`.
    base_dir : str or None
        The project's folder. What lies below it has a name relative to it, and its tree is watched.
    store_folders : sequence of str
        Folders of stores and of this library's state: nothing in them is an input or an output. A URL stands for its
        host, connections to which are nobody's data.
    watch_folders, adapters, urls, children : bool
        Which parts to use besides the audit hook.
    copy_inputs_bytes, copy_outputs_bytes : int
        Sizes up to which an input from the project's folder, and an output, are to be copied; 0 for none.
    copy_total_bytes : int
        How many bytes are to be copied at most.
    hash_limit_bytes, hash_budget_bytes : int
        See `capture.probes.lineage.digesting.Digester`.
    end_wait_s : float
        Longest wait for digests at the end, in seconds.
    manifest_files : int
        Files of one folder from which they become one manifest.
    config_strings : sequence of str
        Strings of the configuration and the command line. Folders among them, and those of files, are watched.
    keep : callable
        Stores a manifest: ``keep(name, data)`` returns what refers to it.
    state_dir : str or None
        Folder for digests known from earlier runs.
    git_roots : sequence of str
        Working trees at which git looks for this library from now on; `git_answered` says that it is done.

    Notes
    -----
    A forked child has a copy that does nothing: it tells its parent through a journal.
    """

    def __init__(
        self,
        run_key: Any,
        context_var: ContextVar[Any] | None,
        base_dir: str | None,
        store_folders: Sequence[str] = (),
        *,
        watch_folders: bool = True,
        adapters: bool = True,
        urls: bool = True,
        children: bool = True,
        copy_inputs_bytes: int = 1_000_000,
        copy_outputs_bytes: int = 10_000_000,
        copy_total_bytes: int = 200_000_000,
        hash_limit_bytes: int = 10_000_000_000,
        hash_budget_bytes: int = 100_000_000_000,
        end_wait_s: float = 5.0,
        manifest_files: int = 1_000,
        config_strings: Sequence[str] = (),
        keep: Callable[[str, bytes], dict[str, Any]] | None = None,
        state_dir: str | None = None,
        git_roots: Sequence[str] = (),
    ) -> None:
        self._key, self._context = run_key, context_var
        self._base_dir = None if base_dir is None else os.path.abspath(base_dir)
        self._own_folders = [folder for folder in (*store_folders, state_dir) if folder and "://" not in folder]
        self._own_hosts = {_host_of(url) for url in store_folders if "://" in url}
        self._use_folders, self._use_adapters = watch_folders, adapters
        self._use_urls, self._use_children = urls, children
        self._copy_inputs, self._copy_outputs, self._copy_total = (
            copy_inputs_bytes,
            copy_outputs_bytes,
            copy_total_bytes,
        )
        self._hash_limit, self._hash_budget = hash_limit_bytes, hash_budget_bytes
        self._end_wait_s = end_wait_s
        self._manifest_files = manifest_files
        self._config_strings = config_strings
        self._keep = keep
        self._state_dir = state_dir

        self.own_reads: set[str] = set()  # paths of files that this library reads for other facts
        self.known_sources: set[str] = set()  # paths of sources whose modules may be gone from `sys.modules`

        self._process = os.getpid()
        self._since = ""
        self._noise: tuple[str, ...] = ()
        self._sightings: Sightings | None = None
        self._digester: Digester | None = None
        self._watch: FolderWatch | None = None
        self._journals: str | None = None
        self._made_before = self._alive_before = 0  # processes, by multiprocessing
        self._failures: list[str] = []
        self._looking = allocate_lock()  # held while new inputs are looked for
        self._looked_at = 0
        self._ending = allocate_lock()  # taken by who ends watching, and kept
        self._over = allocate_lock()  # held until watching ends
        self._hurried = False  # nobody waits for digests any more
        self._over.acquire()
        self._nearby: dict[str, str] = {}
        self._git_roots = tuple(os.path.join(root, "") for root in git_roots)
        self._told = -1  # what had been seen when it was told last

    # --------------------------------------------------------------------------------------------- beginning and end

    def start(self) -> None:
        """Begin to watch. What cannot be had is told of in the coverage statement; nothing is raised."""
        from capture.probes.lineage.classify import noise_folders

        with unwatched():
            self._since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
            self._noise = noise_folders(self._own_folders, self._base_dir)
            self._part("child processes", self._watch_children)
            sightings = self._sightings = Sightings(self._key, self._noise, folder=self._journals)
            self._part("files that Python opens", lambda: hook.watch(sightings, self._context))
            if self._use_adapters:
                self._part("libraries", _attach_adapters)
            if self._use_urls:
                self._part("URLs", _attach_urls)
            if self._use_folders:
                self._part("folders", self._watch_folders)
            self._part("inputs while the run goes on", lambda: start_new_thread(self._look_now_and_then, ()))

    def stop(self) -> None:
        """End watching and clear up. Doing it twice is harmless."""
        if os.getpid() != self._process:
            return
        with unwatched():
            self._end_watching()
            if self._journals is not None:
                from capture.probes.lineage import children

                children.remove_folder(self._journals)
                self._journals = None
            if self._digester is not None:
                self._digester.finish(0.0)

    def git_answered(self) -> None:
        """Git looks at nothing any more: what is opened from now on is opened by others."""
        if self._watch is not None:
            self._watch.answered()

    def hurry(self) -> None:
        """Have a report that is being made wait for digests no longer. From any thread, but no signal handler."""
        self._hurried = True
        if self._digester is not None:
            self._digester.hurry()

    @property
    def imports(self) -> set[str]:
        """The modules that import statements have asked for."""
        return set() if self._sightings is None else self._sightings.imports.copy()

    def interim_due(self) -> bool:
        """Say whether anything was seen since it was told last. What children saw does not count. Costs nothing."""
        return self._sightings is not None and self._seen_so_far() != self._told

    def _end_watching(self) -> None:
        if not self._ending.acquire(blocking=False):
            return
        if self._sightings is not None:
            hook.stop(self._sightings)
        if (imported := sys.modules.get("capture.probes.lineage.imported")) is not None:
            imported.rest(unless=hook.active)
        self._over.release()
        if self._watch is not None:
            self._nearby = self._watch.stop()

    def _part(self, what: str, begin: Callable[[], Any]) -> None:
        """Begin with one part of watching; without it the rest goes on."""
        try:
            begin()
        except Exception as error:  # noqa: BLE001 - it is logged
            logger().warning("%s of the run are not watched", what, exc_info=True)
            self._failures.append(f"{what} (watching them failed: {type(error).__name__}: {error})")

    def _watch_children(self) -> None:
        from capture.probes.lineage import children

        if not self._use_children:
            children.attend_forks()  # a forked child is not to go on looking for a run that is not its own
            return
        self._made_before, self._alive_before = children.multiprocessing_count(), children.multiprocessing_alive()
        self._journals = children.make_folder(self._state_dir)

    def _watch_folders(self) -> None:
        from capture.probes.lineage.watch import FolderWatch

        folders = [folder for folder in (self._base_dir, os.getcwd()) if folder]
        folders += folders_named(self._config_strings, self._noise)
        self._watch = FolderWatch(list(dict.fromkeys(folders)), FOLDER_LIMIT, self._own_folders, bool(self._git_roots))
        self._watch.start()

    # --------------------------------------------------------------------------------------------- while it goes on

    def _look_now_and_then(self) -> None:
        with unwatched():
            wait_s = FIRST_LOOK_S
            while not self._over.acquire(timeout=wait_s):
                wait_s = LOOK_EVERY_S
                try:
                    self._look()
                except Exception as error:  # noqa: BLE001 - it is logged
                    logger().warning("inputs are hashed at the end of the run", exc_info=True)
                    self._failures.append(f"inputs that changed (hashing failed: {type(error).__name__}: {error})")
                    return
            self._over.release()

    def _look(self) -> None:
        """Have what was read since the last look hashed, and its folders watched."""
        sightings = self._sightings
        if sightings is None or len(sightings.read_order) == self._looked_at:
            return
        from capture.probes.lineage.classify import imported_sources, is_noise

        with self._looking:
            new = sightings.read_order[self._looked_at : self._looked_at + LOOK_FILES]
            self._looked_at += len(new)
            sources = imported_sources(sys.modules) | self.known_sources
            for path in new:
                if sightings.reads[path][0] is None or path in sources or is_noise(path, self._noise):
                    continue
                if not _is_before(sightings.writes.get(path), sightings.reads[path]):
                    self._digests().submit(path)
                    if self._watch is not None:
                        self._watch.add(os.path.dirname(path))

    def _digests(self) -> Digester:
        if self._digester is None:
            from capture.probes.lineage.digesting import Digester

            self._digester = Digester(self._state_dir, self._hash_limit, self._hash_budget)
        return self._digester

    def _seen_so_far(self) -> int:
        seen = self._sightings
        if seen is None:
            return 0
        return len(seen.reads) + len(seen.writes) + len(seen.databases) + len(seen.urls) + len(seen.events)

    # --------------------------------------------------------------------------------------------- what was seen

    def report(self, final: bool = True, wait_s: float | None = None) -> tuple[dict[str, Any], list[Copy]]:
        """Tell what was read and written.

        Parameters
        ----------
        final : bool
            The run is over: watching ends, and what has no digest is hashed. Else it is told what is known so far.
        wait_s : float, optional
            How long to wait for digests at the end, in seconds; `end_wait_s` if that is shorter.

        Returns
        -------
        facts : dict
            Plain data, for the topic "lineage".
        copies : list of (str, str, str)
            What is to be copied into the store: "input" or "output", absolute path, name. Empty if not final.
        """
        if self._sightings is None or os.getpid() != self._process:
            return {}, []
        with unwatched():
            return self._report(final, self._end_wait_s if wait_s is None else min(wait_s, self._end_wait_s))

    def _report(self, final: bool, wait_s: float) -> tuple[dict[str, Any], list[Copy]]:
        from capture.probes.lineage.classify import classify, imported_sources, temporary_folders

        own = self._sightings
        assert own is not None
        until = time.monotonic() + wait_s
        if final:
            self._end_watching()
        self._told = self._seen_so_far()
        children_facts, seen = self._with_children(own, final)
        sources = imported_sources(sys.modules) | self.known_sources
        found = classify(seen, self._noise, sources, temporary_folders())
        contents = self._contents(found, final, until)

        inputs = [self._entry(file, contents[0].get(file.real), True, final) for file in found.inputs]
        outputs = [self._entry(file, contents[1].get(file.real), False, final) for file in found.outputs]
        intermediates = [self._entry(file, None, False, True) for file in found.intermediates]
        undigested = sum(not entry["digest"] for entry in (*inputs, *outputs)) if final else 0
        inputs, outputs = self._collapsed("inputs", inputs, final), self._collapsed("outputs", outputs, final)
        nearby = self._nearby_entries(found, seen, sources)
        urls = [dict(entry) for entry in seen.urls]
        if not final:  # those of children come on top
            inputs, outputs, intermediates = (each[:INTERIM_FILES] for each in (inputs, outputs, intermediates))
        facts = {
            "inputs": inputs,
            "outputs": outputs,
            "intermediates": intermediates,
            "nearby": nearby[:MAX_NEARBY],
            "urls": urls,
            "dropped": {"temporary": found.temporary, "noise": found.noise},
            "children": children_facts if children_facts is not None else {"unavailable": "switched off"},
            "coverage": self._coverage(seen, children_facts, urls, nearby, undigested, final),
            "interim": not final,
        }
        if seen.left_out:
            facts["left_out"] = seen.left_out
        return facts, self._copies(inputs, outputs) if final else []

    def _with_children(self, own: Sightings, final: bool) -> tuple[dict[str, Any] | None, Sightings]:
        """Return what is known of children, and what was seen: everything, or the first of it."""
        seen = own.copy() if final else own.copy(INTERIM_FILES)
        if self._journals is None:
            return None, seen
        from capture.probes.lineage import children

        told = children.collect(self._journals, children.MAX_LINES if final else INTERIM_LINES)
        made = children.multiprocessing_count() - self._made_before
        facts = children.account(own.events, told, self._process, made, self._alive_before)
        if final and (going_on := children.going_on(told)):
            facts["going_on"] = going_on
        children.merge(seen, told)
        return facts, seen

    def _contents(
        self, found: Sorted, final: bool, until: float
    ) -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, Any]]]:
        """Return what the digester knows of inputs and of outputs, by real path."""
        if not (found.inputs or found.outputs) or (not final and self._digester is None):
            return {}, {}
        digester = self._digests()
        inputs: dict[str, dict[str, Any]] = {}
        late: list[File] = []
        for file in found.inputs:
            result = digester.result(file.path) or digester.result(file.real)
            if result is not None and _is_of(result, file.first or file.last):
                inputs[file.real] = result
            elif file.last is not None and file.why is None and not file.changed:
                late.append(file)
            elif result is not None and not file.changed:
                inputs[file.real] = result
        outputs: dict[str, dict[str, Any]] = {}
        if final:
            for file in (*late, *found.outputs):
                digester.submit(file.real)
            rest_s = DESCRIBING_S * (len(found.inputs) + len(found.outputs))
            digester.finish(0.0 if self._hurried else max(0.0, until - rest_s - time.monotonic()))
            for files, results in ((late, inputs), (found.outputs, outputs)):
                for file in files:
                    result = digester.result(file.real)
                    if result is not None:
                        results[file.real] = result
        return inputs, outputs

    def _entry(self, file: File, content: dict[str, Any] | None, is_input: bool, is_final: bool) -> dict[str, Any]:
        """Describe one file, as the record does."""
        from capture.probes.lineage.classify import relative_name

        if is_input and content is not None and content["digest"] and not _is_of(content, file.first or file.last):
            file.changed, content = True, None  # just now: while it was waited for digests
        stat = (file.first or file.last) if is_input else file.last
        if not is_input and content is not None and content["digest"]:
            _, _, size, mtime_ns = content["stat"][:4]  # somebody may write it still: the digest is of this
            stat = (size, mtime_ns, 0, 0)
        entry: dict[str, Any] = {"path": file.path}
        name = relative_name(file.path, self._base_dir)
        if name is not None:
            entry["name"] = name
        if file.real != file.path:
            entry["real"] = file.real
        entry["size"] = None if stat is None else stat[0]
        entry["mtime"] = None if stat is None else stat[1] / 1e9
        entry["digest"] = None if content is None else content.get("digest")
        if content is not None and content.get("sampled"):
            entry["sampled"] = True
        why = file.why or (content or {}).get("why")
        if why is None and file.changed and entry["digest"] is None:
            why = "it changed before it was hashed"
        if why is None and content is None and not is_final:
            why = "not hashed yet"
        if why is not None and not (entry["digest"] and not entry.get("sampled") and why == (content or {}).get("why")):
            entry["why"] = why
        entry["by"] = sorted(file.by)
        if is_input and file.changed:
            entry["changed"] = True
        return entry

    def _collapsed(self, what: str, entries: list[dict[str, Any]], final: bool) -> list[dict[str, Any]]:
        """Make one manifest of the many files of a folder; not while the run goes on, as manifests are stored."""
        if not final or self._keep is None or len(entries) < self._manifest_files:
            return entries
        try:
            from capture.probes.lineage.manifests import collapse

            roots = (self._base_dir,) if self._base_dir else ()
            return collapse(entries, self._manifest_files, self._keep, roots)
        except Exception:  # noqa: BLE001 - it is logged
            logger().warning("%s of the run are recorded one by one", what, exc_info=True)
            return entries

    def _nearby_entries(self, found: Sorted, seen: Sightings, sources: set[str]) -> list[dict[str, Any]]:
        """Return what only the watch of folders saw, and which still exists."""
        if not self._nearby:
            return []
        from capture.probes.lineage.classify import RealPaths, is_noise, relative_name

        own = self._sightings
        assert own is not None
        beside = (*own.beside, *(other for other in hook.watched() if other is not own))
        others = own.elsewhere.union(*(other.used() for other in beside))

        def is_new(path: str) -> bool:
            if path in seen.reads or path in seen.writes or path in sources or path.endswith(NOISE_SUFFIXES):
                return False
            if path in others or (path in self.own_reads and self._nearby[path] == "opened"):
                return False
            return not is_noise(path, self._noise)

        paths = sorted(filter(is_new, self._nearby))
        if not paths:
            return []
        real_path = RealPaths()
        known = {file.real for file in (*found.inputs, *found.outputs, *found.intermediates)}
        known.update(real_path(path) for path in sources if not is_noise(path, self._noise))
        entries = []
        for path in paths:
            if real_path(path) in known or not os.path.isfile(path):
                continue
            by_git = self._watch is not None and path in self._watch.meanwhile and path.startswith(self._git_roots)
            entry = {"path": path, "how": BY_GIT if by_git else self._nearby[path]}
            name = relative_name(path, self._base_dir)
            if name is not None:
                entry["name"] = name
            entries.append(entry)
        return entries

    def _coverage(
        self,
        seen: Sightings,
        children_facts: dict[str, Any] | None,
        urls: list[dict[str, Any]],
        nearby: list[dict[str, Any]],
        undigested: int,
        final: bool,
    ) -> dict[str, Any]:
        from capture.probes.lineage.children import process_name
        from capture.probes.lineage.coverage import statement

        by_git = sum(entry["how"] == BY_GIT for entry in nearby)
        libraries: list[str] | None = None
        library_limits: list[str] = []
        if self._use_adapters:
            from capture.probes.lineage import adapters

            libraries, library_limits = adapters.coverage(), adapters.limits()
        failures = list(self._failures)
        if self._use_urls and (responses := sys.modules.get("capture.probes.lineage.responses")) is not None:
            failures += responses.coverage()
            library_limits += responses.limits()
        known = {_host_of(str(entry.get("url"))) for entry in urls} | self._own_hosts
        hosts = sorted(host for host in seen.hosts if host not in known and not _is_local(host))
        watch = self._watch
        return statement(
            since=self._since,
            children=children_facts,
            started=sum(event[1] in ("process", "fork") for event in seen.events),
            folders=watch.watched if watch is not None else None,
            folder_problems=watch.problems if watch is not None else (),
            nearby=len(nearby) - by_git,
            by_git=by_git,
            shared=seen.shared,
            interim=not final,
            folder_losses=watch.losses if watch is not None else (),
            libraries=libraries,
            library_limits=library_limits,
            urls=self._use_urls,
            hosts=hosts,
            lost=seen.lost,
            hook_errors=seen.hook_errors,
            first_error=seen.first_error,
            replaced=[process_name(event[2]) for event in (self._sightings or seen).events if event[1] == "exec"],
            undigested=undigested,
            failures=failures,
        )

    def _copies(self, inputs: list[dict[str, Any]], outputs: list[dict[str, Any]]) -> list[Copy]:
        """Choose what is to be copied: small, as it was, within the project if it is an input; until all is used up."""
        from capture.probes.lineage.classify import copy_name

        chosen: list[Copy] = []
        left = self._copy_total
        for kind, entries, limit in (
            ("input", inputs, self._copy_inputs),
            ("output", outputs, self._copy_outputs),
        ):
            names: set[str] = set()
            for entry in entries:
                size = entry.get("size")
                if size is None or "files" in entry or entry.get("changed") or not limit:
                    continue
                if entry["digest"] is None or (kind == "input" and "name" not in entry):
                    continue
                if size > min(limit, left):
                    setting = f"COPY_{kind.upper()}S_BYTES" if size > limit else "COPY_TOTAL_BYTES"
                    entry["left_out"] = f"it is not kept: larger than LINEAGE.{setting} allows"
                    continue
                name = copy_name(entry["path"], self._base_dir, names.__contains__)
                names.add(name)
                left -= size
                chosen.append((kind, entry["path"], name))
        return chosen


def folders_named(strings: Sequence[str], noise: tuple[str, ...] = ()) -> list[str]:
    """Return the folders that strings of a configuration name, or that hold what they name.

    What is no path, as most strings are, costs a look at the file system or none.
    """
    found: dict[str, None] = {}
    for text in strings:
        if not text or len(text) > 1000 or "\n" in text or "\0" in text or "://" in text:
            continue
        path = os.path.abspath(os.path.expanduser(text))
        if os.path.isdir(path):
            folder = path
        else:
            folder = os.path.dirname(path)
            if (os.sep not in text and not os.path.exists(path)) or not os.path.isdir(folder):
                continue
        if folder != os.path.dirname(folder) and not (folder + os.sep).startswith(noise):
            found[folder] = None
    return list(found)


def _attach_adapters() -> None:
    from capture.probes.lineage import adapters

    adapters.attach()


def _attach_urls() -> None:
    from capture.probes.lineage import urls

    urls.attach()


def _is_before(first: Sight | None, second: Sight) -> bool:
    return first is not None and first[1] < second[1]


def _is_of(content: dict[str, Any], stat: Stat | None) -> bool:
    """Say whether a digest is of the file as it was at a given time."""
    place = content.get("stat")
    if place is None or stat is None:
        return False
    device, inode, size, mtime_ns = place[:4]
    return (size, mtime_ns, inode, device) == stat


def _host_of(url: str) -> str:
    host = url.partition("://")[2].partition("/")[0].rpartition("@")[2]
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def _is_local(host: str) -> bool:
    return host in ("localhost", "::1", "0.0.0.0", "::", "") or host.startswith("127.")
