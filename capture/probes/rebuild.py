"""What is needed to rebuild the state of a repository elsewhere: its commit, what differs from it, what is beside it.

::

    commit ──► a remote has it: nothing to keep      none has it: a bundle of the commits that are missing there;
                                                     too large: a bundle of this commit alone; too large: the files
                                                     that the run used
    patch  ──► of tracked files, staged or not       untracked ──► a copy of each small file that is no secret

git is asked by as few processes as will do, all side by side, and only about what the repository's files do not tell.
Measured on two cores, for a repository of 50 files with one changed and one untracked: 4 ms by processes of our own,
8 ms by `subprocess`, 57 ms by GitPython, whose import holds up the run's own thread besides; 2.6 ms where all is
committed and pushed, 7 ms with a bundle of one commit. A short run waits for this at its end;
`capture.probes.restoring` does the way back, where time is no matter, with GitPython.
"""

from __future__ import annotations

import atexit
import os
import stat
import time

from capture.complaints import logger
from capture.errors import RunOverError
from capture.hooks import Unavailable
from capture.probes import git
from capture.probes._process import Child

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any

    Keep = Callable[[str, bytes], dict[str, Any]]

FOLDER = ".capture/git/"  #: what is kept has names that begin so
MOST_LISTED = 1000  #: untracked files that are named; the rest is counted
MOST_KEPT = 100  #: untracked files that are kept although the run did not use them
MOST_KEPT_BYTES = 10_000_000  #: of untracked files together
MOST_PATCH_BYTES = 50_000_000  #: size of a patch where bundles, which have the same limit, are switched off
MOST_REMEMBERED_BYTES = 200_000_000  #: of bundles in the cache
_WORTH_REMEMBERING_S = 0.005  #: a bundle that took less is made again; two starts of git take more
_LONGEST_LIST = 16_000_000  #: bytes of names

#: The trees without entries, which git knows without having them: by SHA-1 and by SHA-256.
_EMPTY_TREE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
_EMPTY_TREE_256 = "6ef19b41225c5369f1c104d45d8d85efa9b057b53b14b4b9b939dd74decc5321"

#: Plumbing: unlike ``git diff`` it never writes the index, and hardly a setting of the user changes its form. The rest
#: is set, so that equal changes are equal bytes. A submodule counts by its commit.
_DIFF = (
    *("-c", "core.quotePath=true", "-c", "diff.suppressBlankEmpty=false", "diff-index", "--patch", "--binary"),
    *("--full-index", "--no-renames", "--no-ext-diff", "--no-textconv", "--no-color", "--no-relative", "--unified=3"),
    *("--inter-hunk-context=0", "--diff-algorithm=myers", "--indent-heuristic", "--src-prefix=a/", "--dst-prefix=b/"),
    *("--submodule=short", "--ignore-submodules=dirty"),
)
_UNTRACKED = ("ls-files", "--others", "--exclude-standard", "-z")
#: With several threads, equal objects can make different packs, of which each run would store its own.
_BUNDLE = ("-c", "pack.threads=1", "bundle", "create", "--quiet", "-", "HEAD")


def repository_state(
    root: str,
    facts: dict[str, Any],
    used_files: Sequence[str],
    keep: Keep,
    *,
    patch: bool = True,
    untracked_bytes: int = 1_000_000,
    bundle_bytes: int = 50_000_000,
    timeout_s: float = git.DEFAULT_TIMEOUT_S,
    distribution: str | None = None,
    cache: str | None = None,
    found: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Find out and keep what it takes to rebuild a repository's state elsewhere. The repository is not written to.

    Parameters
    ----------
    root : str
        Top folder of the working tree.
    facts : dict
        What `capture.probes.git.repository_facts` tells of it.
    used_files : sequence of str
        Absolute paths of the sources and inputs that the run used; those elsewhere are passed over.
    keep : callable
        ``keep(name, data)`` stores bytes and returns what refers to them: ``{"source", "digest", "size"}``.
    patch : bool
        Whether to keep what differs from the commit.
    untracked_bytes : int
        Size up to which an untracked file is kept, in bytes; 0 for none.
    bundle_bytes : int
        Size up to which a bundle, or a patch, is kept, in bytes; 0 for no bundle.
    timeout_s : float
        How long it may take altogether, in seconds; what is not known by then is `Unavailable`.
    distribution : str, optional
        The installed distribution whose editable sources lie there.
    cache : str, optional
        A folder, made when it is needed, for bundles that took long to make: the next run of that commit has them.
    found : dict, optional
        Filled as things are found out, and returned: who cannot wait has what was known by then.

    Returns
    -------
    dict
        `facts`, and:

        ``name``: under which the files are kept; ``distribution``: if given.
        ``pushed``: bool, whether a remote is known to have the commit.
        ``bundle``: if it is not pushed: what `keep` returned, with ``prerequisites``, the commits that a remote must
        supply, and ``commits``: "all", "unpushed", or "last" if the history before the commit is left out.
        ``patch``: what `keep` returned, if there are changes; applies with ``git apply --index --binary``.
        ``untracked``: list of ``{"path", "size", "used"?, "executable"?}`` with ``source`` and ``digest`` of what was
        kept, ``link`` for a symbolic link's target, or ``left_out``, the reason; ``untracked_unlisted``: int, how many
        more there are.
        ``submodules``: list of ``{"path", "url", "recorded", "commit", "dirty"}``: the commit that HEAD asks for, and
        the one that is checked out, or None.
        ``files``: if the commit or the changes cannot be rebuilt from the above: the used files as they are now, like
        ``untracked``.
        ``shallow``: the commits whose parents are missing; ``sparse``, ``lfs``: True where it is a sparse checkout,
        or where the contents of some files are kept outside git and in nothing of the above.

        Anything may be `Unavailable` instead, and a file that was not kept ``{"left_out": reason}``.
    """
    found = {} if found is None else found
    found.update(facts, root=root, name=_name_of(root))
    if distribution is not None:
        found["distribution"] = distribution
    look = _Look(root, found, time.monotonic() + timeout_s, cache)
    atexit.register(look.abandon)  # the thread that does this is not waited for without end
    try:
        _describe(look, used_files, keep, patch, untracked_bytes, bundle_bytes)
    except RunOverError as error:  # what is known by now has been told
        found["incomplete"] = str(error)
    except Exception as error:  # noqa: BLE001 - whatever lies on a disk must not end a run
        logger().warning("the state of %s is not recorded in full", root, exc_info=True)
        found["incomplete"] = f"{type(error).__name__}: {error}"
    finally:
        atexit.unregister(look.abandon)
        look.close()
    return found


def _describe(
    look: _Look, used_files: Sequence[str], keep: Keep, patch: bool, untracked_bytes: int, bundle_bytes: int
) -> None:
    """Ask everything, then take the answers in the order in which they are needed."""
    found, commit = look.found, look.found.get("commit")
    try:
        look.read_settings()
    except OSError as error:
        found["incomplete"] = f"the repository cannot be read: {error}"
    untracked = look.ask(*_UNTRACKED, limit=_LONGEST_LIST)
    changes = None
    if patch and found.get("dirty") is not False:
        changes = look.ask(*_DIFF, commit or look.empty_tree, "--", limit=bundle_bytes or MOST_PATCH_BYTES)
    submodules = look.ask_for_submodules()
    unpushed = bundle = None
    if commit is not None and not look.branch_is_pushed():
        if look.remotes:
            unpushed = look.ask("rev-list", "--max-count=1", "HEAD", "--not", "--remotes", limit=1000)
        # Asked for at once, not when it is known to be needed: mostly it is, and the answer of the other takes as long.
        bundle = _Bundle(look, bundle_bytes)

    used = _names_below(look.root, used_files)
    found["pushed"] = _pushed(look, unpushed)
    if bundle is not None and found["pushed"] is True:
        bundle.give_up()
    if patch:
        _keep_patch(look, changes, keep)
    elif found.get("dirty") is not False:
        found["patch"] = {"left_out": "patches are switched off (GIT.PATCH)"}
    _keep_untracked(look, untracked, used, keep, untracked_bytes)
    if submodules is not None:
        found["submodules"] = submodules()
    if bundle is not None and found["pushed"] is not True:
        found["bundle"] = bundle.keep(keep)
    if _has_gaps(found, commit):
        others = {entry["path"] for entry in found.get("untracked") or () if "source" in entry or "link" in entry}
        keeper = _Keeper(look, keep, untracked_bytes)
        found["files"] = [keeper.entry(name, used=True) for name in sorted(used) if name not in others]


def _name_of(root: str) -> str:
    """Return a name for a repository's files in the record: readable, and another one for each repository."""
    import zlib

    base = os.path.basename(root)
    name = "".join(char if char.isascii() and (char.isalnum() or char in "._-") else "_" for char in base)
    return f"{name.lstrip('.')[:60] or 'root'}-{zlib.crc32(os.fsencode(root)):08x}"


def _names_below(root: str, paths: Iterable[str]) -> set[str]:
    """Return the paths that lie below the root as git names them: relative, with slashes."""
    top = root.rstrip(os.sep) + os.sep
    found = set()
    for path in paths:
        if not path.startswith(top):  # perhaps by way of a link
            path = os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))
        if path.startswith(top):
            found.add(path[len(top) :].replace(os.sep, "/"))
    return found


# ---------------------------------------------------------------------------------------------------------- asking git


class _Question:
    """Something that git has been asked."""

    def __init__(self, command: list[str], environment: dict[str, str], limit: int, until: float) -> None:
        self._until, self._limit = until, limit
        self._child: Child | None = None
        self._answer: bytes | Unavailable = Unavailable("git was not asked")
        try:
            self._child = Child(command, environment, keep=limit)
        except FileNotFoundError:
            self._answer = Unavailable("git is not installed, or not on PATH")
        except OSError as error:
            self._answer = Unavailable(f"git cannot be started: {error}")

    def answer(self) -> bytes | Unavailable:
        """Wait for the answer, until the time is up."""
        while self._child is not None:
            code = self._child.poll()
            left_s = self._until - time.monotonic()
            if code is not None:
                child, self._child = self._child, None
                if code != 0:
                    complaint = [line.strip() for line in child.complaint.splitlines() if line.strip()]
                    self._answer = Unavailable(" ".join(complaint[:4]) or f"git ended with code {code}")
                elif child.too_long:
                    self._answer = TooLong(self._limit)
                else:
                    self._answer = child.output
            elif self._child.too_long:
                self.close()
                self._answer = TooLong(self._limit)
            elif left_s <= 0:
                self.close()
                self._answer = Unavailable("git did not answer in time")
            else:
                self._child.wait(left_s)
        return self._answer

    def abandon(self) -> None:
        """Tell git to end; to be called from another thread."""
        child = self._child
        if child is not None:
            child.signal()

    def close(self) -> None:
        """End git, if it is still at work."""
        if self._child is not None:
            child, self._child = self._child, None
            child.kill()


class TooLong(Unavailable):
    """What git would say is longer than what is kept."""

    __slots__ = ()

    def __init__(self, limit: int) -> None:
        super().__init__(f"larger than {limit} bytes")


#: No object is fetched from a remote because it is looked at; names mean files, whatever characters they have.
_READ_ONLY = {"GIT_NO_LAZY_FETCH": "1", "GIT_LITERAL_PATHSPECS": "1"}


_NOTHING: Mapping[str, str] = {}


class _Look:
    """A look at one repository: what its files tell, and what git is being asked."""

    def __init__(self, root: str, found: dict[str, Any], until: float, cache: str | None) -> None:
        self.root, self.found, self.until, self._cache = root, found, until, cache
        self.remotes: dict[str, str] = {}  # name to URL
        self.empty_tree = _EMPTY_TREE
        self._git_dir = self._common = os.path.join(root, ".git")
        self._environment = {**git.quiet_environment(), **_READ_ONLY}
        self._questions: list[_Question] = []
        self._pid = os.getpid()

    def read_settings(self) -> None:
        """Read what git's files say about the remotes and the kind of repository."""
        self._git_dir = git.git_dir_of(self.root)
        self._common = git.common_dir_of(self._git_dir)
        settings = git.parse_config(os.path.join(self._common, "config"))
        remotes = {
            section[7:]: url for (section, key), url in settings.items() if key == "url" and section[:7] == "remote."
        }
        self.remotes = remotes
        if settings.get(("extensions", "objectformat"), "").lower() == "sha256":
            self.empty_tree = _EMPTY_TREE_256
        own = git.parse_config(os.path.join(self._git_dir, "config.worktree"))
        if "true" in (settings.get(("core", "sparsecheckout")), own.get(("core", "sparsecheckout"))):
            self.found["sparse"] = True
        if shallow := _read(os.path.join(self._common, "shallow")):
            self.found["shallow"] = shallow.decode("ascii", "replace").split()
        if b"filter=lfs" in _read(os.path.join(self.root, ".gitattributes")):
            self.found["lfs"] = True

    def ask(self, *arguments: str, limit: int, environment: Mapping[str, str] = _NOTHING) -> _Question:
        command = ["git", "-C", self.root, "-c", "core.fsmonitor=false", *arguments]
        question = _Question(command, {**self._environment, **environment}, limit, self.until)
        self._questions.append(question)
        return question

    def close(self) -> None:
        """Leave no process behind."""
        for question in self._questions:
            question.close()

    def abandon(self) -> None:
        """Leave no process behind where the interpreter goes, and this thread with it."""
        if os.getpid() == self._pid:  # and not a fork of it
            for question in self._questions:
                question.abandon()

    def branch_is_pushed(self) -> bool:
        """Say whether a remote's branch of the same name is at this very commit: mostly so, and known without git."""
        branch = self.found.get("branch")
        if not branch:
            return False
        names = [f"refs/remotes/{remote}/{branch}" for remote in self.remotes]
        return self.found["commit"] in (git.read_reference(name, self._git_dir, self._common) for name in names)

    def ask_for_bundle(self, bundle_bytes: int) -> _Question | None:
        """Ask for the commits that no remote has."""
        if not bundle_bytes:
            return None
        if not self.remotes and self._packed_bytes() > 2 * bundle_bytes:
            return None  # it would take long to find out that it is too large
        return self.ask(*_BUNDLE, *(("--not", "--remotes") if self.remotes else ()), limit=bundle_bytes)

    def cached_bundle(self) -> str | None:
        """Return the path under which a bundle of this commit is remembered; None without a cache."""
        import zlib

        if self._cache is None:
            return None
        remotes = zlib.crc32(repr(sorted(self.remotes.items())).encode("utf-8", "surrogatepass"))
        return os.path.join(self._cache, f"{self.found['name']}-{self.found['commit']}-{remotes:08x}.bundle")

    def ask_for_last_commit(self, bundle_bytes: int) -> bytes | Unavailable:
        """Return a bundle of this commit alone, as if those before it were not there."""
        from tempfile import NamedTemporaryFile

        with NamedTemporaryFile(prefix="capture-", suffix=".shallow") as boundary:
            boundary.write(self.found["commit"].encode() + b"\n")
            boundary.flush()
            return self.ask(*_BUNDLE, limit=bundle_bytes, environment={"GIT_SHALLOW_FILE": boundary.name}).answer()

    def _packed_bytes(self) -> int:
        try:
            with os.scandir(os.path.join(self._common, "objects", "pack")) as entries:
                return sum(entry.stat().st_size for entry in entries if entry.name.endswith(".pack"))
        except OSError:
            return 0

    def ask_for_submodules(self) -> Callable[[], list[dict[str, Any]] | Unavailable] | None:
        """Ask for the state of the submodules; None if there are none."""
        settings = git.parse_config(os.path.join(self.root, ".gitmodules"))
        paths = {section: path for (section, key), path in settings.items() if key == "path"}
        if not paths or self.found.get("commit") is None:
            return None
        names = sorted(set(paths.values()))
        recorded = self.ask("ls-tree", "-z", "HEAD", "--", *names, limit=_LONGEST_LIST)
        changed = self.ask(
            *("status", "--porcelain=v2", "-z", "-uno", "--no-renames", "--ignore-submodules=untracked", "--"),
            *names,
            limit=_LONGEST_LIST,
        )

        def collect() -> list[dict[str, Any]] | Unavailable:
            tree, states = recorded.answer(), changed.answer()
            if isinstance(tree, Unavailable):
                return tree
            asked_for = dict(_submodule_commits(tree))
            modified = None if isinstance(states, Unavailable) else set(_modified_submodules(states))
            return [
                {
                    "path": path,
                    "url": git.without_secrets(settings.get((section, "url"), "")),
                    "recorded": asked_for.get(path),
                    "commit": _checked_out(os.path.join(self.root, path), max(self.until - time.monotonic(), 0.1)),
                    "dirty": path in modified if modified is not None else None,
                }
                for section, path in sorted(paths.items(), key=lambda pair: pair[1])
            ]

        return collect


def _read(path: str) -> bytes:
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read()
    except OSError:
        return b""


def _names(listed: bytes) -> list[str]:
    return os.fsdecode(listed).split("\0")[:-1]  # decoded in one go: there may be 100,000


def _submodule_commits(tree: bytes) -> Iterable[tuple[str, str]]:
    for line in _names(tree):
        described, _, path = line.partition("\t")
        mode, _, rest = described.partition(" ")
        if mode == "160000":
            yield path, rest.split()[1]


def _modified_submodules(states: bytes) -> Iterable[str]:
    """Yield the submodules in which tracked files differ from the commit that is checked out there."""
    for line in _names(states):
        fields = line.split(" ", 8)  # 1 XY sub mH mI mW hH hI path
        if fields[0] == "1" and fields[2][0] == "S" and "M" in fields[2]:
            yield fields[8]


def _checked_out(folder: str, timeout_s: float) -> str | None:
    """Return the commit of a submodule's working tree; None where it has none."""
    if not os.path.lexists(os.path.join(folder, ".git")):
        return None
    try:
        return git.head_of(folder, timeout_s)[1]
    except OSError:
        return None


# -------------------------------------------------------------------------------------------------- keeping the answers


def _pushed(look: _Look, unpushed: _Question | None) -> bool | Unavailable:
    if look.found.get("commit") is None:
        return Unavailable("there is no commit yet")
    if look.branch_is_pushed():
        return True
    if unpushed is None:
        return False
    answer = unpushed.answer()
    return answer if isinstance(answer, Unavailable) else not answer.strip()


def _keep_patch(look: _Look, changes: _Question | None, keep: Keep) -> None:
    if changes is None:
        return
    answer = changes.answer()
    if isinstance(answer, TooLong):
        look.found["patch"] = {"left_out": answer.reason}
    elif isinstance(answer, Unavailable):
        look.found["patch"] = answer
    elif answer:
        look.found["patch"] = keep(f"{FOLDER}{look.found['name']}.patch", answer)


class _Bundle:
    """The commits that no remote has: remembered from an earlier run, or being packed."""

    def __init__(self, look: _Look, limit: int) -> None:
        self._look, self._limit = look, limit
        self._path = look.cached_bundle() if limit else None
        self._began = time.monotonic()
        self._remembered = _read(self._path) if self._path is not None else b""
        if not self._remembered.startswith(b"# v") or len(self._remembered) > limit:
            self._remembered = b""
        self._asked = None if self._remembered else look.ask_for_bundle(limit)

    def keep(self, keep: Keep) -> dict[str, Any] | Unavailable:
        """Wait for it, and keep it; of what is too large, keep less."""
        if not self._limit:
            return {"left_out": "bundles are switched off"}
        commits = "unpushed" if self._look.remotes else "all"
        data: bytes | Unavailable = self._remembered or TooLong(self._limit)
        if self._asked is not None:
            data = self._asked.answer()
            if isinstance(data, bytes) and time.monotonic() - self._began >= _WORTH_REMEMBERING_S:
                self._remember(data)
        if isinstance(data, TooLong):
            data, commits = self._look.ask_for_last_commit(self._limit), "last"
        if isinstance(data, TooLong):
            return {"left_out": data.reason}
        if isinstance(data, Unavailable):
            return data
        kept = keep(f"{FOLDER}{self._look.found['name']}.bundle", data)
        return {**kept, "commits": commits, "prerequisites": _prerequisites(data)}

    def give_up(self) -> None:
        if self._asked is not None:
            self._asked.close()

    def _remember(self, data: bytes) -> None:
        if self._path is None:
            return
        folder = os.path.dirname(self._path)
        draft = f"{self._path}.{os.getpid()}"
        try:
            os.makedirs(folder, mode=0o700, exist_ok=True)
            with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(draft, self._path)
            _forget_oldest(folder, MOST_REMEMBERED_BYTES)
        except OSError as error:  # the next run makes it again
            logger().info("%s is not kept for the next run: %s", self._path, error)


def _forget_oldest(folder: str, most_bytes: int) -> None:
    """Delete the oldest files of a folder until the rest is no larger than `most_bytes`; the newest stays."""
    with os.scandir(folder) as entries:
        files = sorted(((entry.stat().st_mtime, entry.stat().st_size, entry.path) for entry in entries), reverse=True)
    total = 0
    for index, (_, size, path) in enumerate(files):
        total += size
        if index and total > most_bytes:
            os.unlink(path)


def _prerequisites(bundle: bytes) -> list[str]:
    """Return the commits that a bundle builds on, from the lines at its beginning."""
    header = bundle[: bundle.index(b"\n\n")].decode("utf-8", "replace").split("\n")
    return [line[1:].partition(" ")[0] for line in header if line.startswith("-")]


def _has_gaps(found: dict[str, Any], commit: str | None) -> bool:
    """Say whether the used files cannot be rebuilt from the commit and the patch."""
    bundle, patch = found.get("bundle"), found.get("patch")
    has_commit = commit is None or found["pushed"] is True or (isinstance(bundle, dict) and "source" in bundle)
    has_changes = found.get("dirty") is False or (isinstance(patch, dict) and "source" in patch) or patch is None
    return not (has_commit and has_changes)


def _keep_untracked(look: _Look, asked: _Question, used: set[str], keep: Keep, limit: int) -> None:
    answer = asked.answer()
    if isinstance(answer, Unavailable):
        look.found["untracked"] = answer
        return
    names = _names(answer)
    keeper = _Keeper(look, keep, limit)
    # Those that the run used come first: they are listed and kept whatever else lies around.
    entries = [keeper.entry(name, used=True) for name in names if name in used]
    seen = len(entries)
    stores: set[str] = set()
    for name in names:
        if len(entries) >= MOST_LISTED:
            break
        if name in used:
            continue
        seen += 1
        store = keeper.store_above(name)
        if store is None:
            entries.append(keeper.entry(name, used=False))
        else:
            stores.add(store)
    entries += [{"path": store, "left_out": "a store of runs"} for store in stores]
    look.found["untracked"] = sorted(entries, key=lambda entry: entry["path"])
    if seen < len(names):
        look.found["untracked_unlisted"] = len(names) - seen


class _Keeper:
    """Keeps files of a working tree, within limits, and says of each what became of it."""

    def __init__(self, look: _Look, keep: Keep, limit: int) -> None:
        self._look, self._keep, self._limit = look, keep, limit
        self._left_bytes, self._left_files = MOST_KEPT_BYTES, MOST_KEPT
        self._store_of: dict[str, str | None] = {}

    def entry(self, name: str, used: bool) -> dict[str, Any]:
        """Describe a file, and keep it if that is wanted and possible."""
        described: dict[str, Any] = {"path": name}
        if used:
            described["used"] = True
        path = os.path.join(self._look.root, *name.split("/"))
        try:
            described.update(self._taken(name, path, used))
        except OSError as error:
            described["left_out"] = f"cannot be read: {error.strerror or error}"
        return described

    def _taken(self, name: str, path: str, used: bool) -> dict[str, Any]:
        if name.endswith("/"):
            return {"left_out": "a repository of its own"}
        status = os.lstat(path)
        if stat.S_ISLNK(status.st_mode):
            return {"link": os.readlink(path)}
        if not stat.S_ISREG(status.st_mode):
            return {"left_out": "not a plain file"}
        described: dict[str, Any] = {"size": status.st_size}
        if status.st_mode & stat.S_IXUSR and os.name == "posix":
            described["executable"] = True
        reason = self._reason_against(name, status.st_size, used)
        if reason is None and not used and _is_of_database(path):
            # Often that in which the runs are recorded: each would keep all that went before it.
            reason = "a database"
        if reason is None:
            data = self._read_plain(path)
            described["size"] = len(data)
            if b"PRIVATE KEY-----" in data and not name.endswith(_CODE):
                reason = "holds a private key"
            elif len(data) > self._limit:
                reason = f"larger than {self._limit} bytes"
        if reason is not None:
            return {**described, "left_out": reason}
        self._left_bytes -= len(data)
        self._left_files -= not used
        return {**described, **self._keep(f"{FOLDER}{self._look.found['name']}/{_storable(name)}", data)}

    def _reason_against(self, name: str, size: int, used: bool) -> str | None:
        if not self._limit:
            return "untracked files are not kept"
        if is_secret(name):
            return "may hold a secret"
        if size > self._limit:
            return f"larger than {self._limit} bytes"
        if size > self._left_bytes:
            return f"more than {MOST_KEPT_BYTES} bytes together"
        if not used and self._left_files <= 0:
            return f"more than {MOST_KEPT} files that the run did not use"
        if time.monotonic() > self._look.until:
            return "there was no time left"
        return None

    def _read_plain(self, path: str) -> bytes:
        # What was a plain file a moment ago is not waited for if it is a pipe by now.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        with open(descriptor, "rb") as file:
            return file.read(self._limit + 1)

    def store_above(self, name: str) -> str | None:
        """Return the folder above a file that is a store of runs, if there is one."""
        folder = name.rpartition("/")[0]
        if folder not in self._store_of:
            if not folder:
                self._store_of[folder] = None
            elif os.path.exists(os.path.join(self._look.root, *folder.split("/"), *_STORE_MARK)):
                self._store_of[folder] = folder + "/"
            else:
                self._store_of[folder] = self.store_above(folder)
        return self._store_of[folder]


_STORE_MARK = ("_capture", "format.json")
_SQLITE_MAGIC = b"SQLite format 3\0"
_BESIDE_SQLITE = ("-wal", "-shm", "-journal")  #: what SQLite puts beside a database, after its name


def _is_of_database(path: str) -> bool:
    """Say whether a file is an SQLite database, or stands beside one and is of no use without it."""
    for ending in _BESIDE_SQLITE:
        if path.endswith(ending):
            path = path[: -len(ending)]
    if not os.path.isfile(path):
        return False
    with open(path, "rb") as file:
        return file.read(len(_SQLITE_MAGIC)) == _SQLITE_MAGIC


def _storable(name: str) -> str:
    """Spell out bytes that are no UTF-8, which names of stored files cannot have."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


_SECRET_NAMES = {".netrc", "_netrc", ".pypirc", ".npmrc", ".pgpass", ".my.cnf", ".htpasswd", ".git-credentials",
                 ".dockercfg", ".boto", ".s3cfg"}  # fmt: skip
_SECRET_BEGINNINGS = (".env", "id_rsa", "id_dsa", "id_ecdsa", "id_ed25519")
_SECRET_DATA = ("credentials", "client_secret", "service_account", "service-account")
_SECRET_ENDINGS = (".pem", ".key", ".p12", ".pfx", ".ppk", ".jks", ".keystore", ".kdbx", ".env", ".gpg", ".asc")
_SECRET_STEMS = {"secret", "secrets", "password", "passwords", "token", "tokens"}
_SECRET_FOLDERS = {".ssh", ".aws", ".gnupg", ".kube", ".docker", ".azure", ".gcloud"}
_CODE = (".py", ".pyx", ".pyi", ".ipynb")


def is_secret(name: str) -> bool:
    """Say whether a file is, by its name, one that holds passwords or keys.

    Examples
    --------
    >>> [is_secret(name) for name in (".env.local", "keys/id_rsa.pub", "secrets.yaml", "secrets.py", "token_dim.json")]
    [True, True, True, False, False]
    """
    *folders, file = name.lower().rstrip("/").split("/")
    if not _SECRET_FOLDERS.isdisjoint(folders):
        return True
    if file in _SECRET_NAMES or file.startswith(_SECRET_BEGINNINGS) or file.endswith(_SECRET_ENDINGS):
        return True
    if file.endswith(_CODE):
        return False
    return file.startswith(_SECRET_DATA) or file.partition(".")[0] in _SECRET_STEMS
