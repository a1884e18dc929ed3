"""The way back: a working tree as a run had it, from what `capture.probes.rebuild` recorded; and what is different now.

What a record says is not trusted. Names stay below the target folder; no hook, filter or transport that a record or
the repository in it names is run; the user's own settings of git serve to reach remotes and nothing else. The contents
of files that are kept outside git (LFS) are therefore not fetched.
"""

from __future__ import annotations

import os
import stat
import sys

from capture.errors import RestoringError
from capture.hooks import Unavailable
from capture.probes import git, rebuild

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any, BinaryIO

    from git import Git

    OpenKept = Callable[[str], BinaryIO]

DEFAULT_TIMEOUT_S = 600.0
#: Characters that HFS+ takes no notice of in names, as git lists them: ``.g\u200cit`` is ``.git`` there.
_UNSEEN = dict.fromkeys([*range(0x200C, 0x2010), *range(0x202A, 0x202F), *range(0x206A, 0x2070), 0xFEFF])
_HEXADECIMAL = frozenset("0123456789abcdef")

#: In place of the variables of a hook that may have started this process.
_NO_HOOK_S_VARIABLES = {"GIT_NAMESPACE": "", "GIT_ALTERNATE_OBJECT_DIRECTORIES": "", "GIT_PREFIX": ""}
_NO_PROMPT = {"GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C", "GIT_LITERAL_PATHSPECS": "1", "GIT_NO_REPLACE_OBJECTS": "1"}
#: ``ext::`` and other transports that are commands are not among them.
_TRANSPORTS = {"GIT_ALLOW_PROTOCOL": "file:git:http:https:ssh", "GIT_PROTOCOL_FROM_USER": "0"}
#: Filters are defined in settings: where there are none but the new repository's own, none is run.
_NO_SETTINGS = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "GIT_ATTR_NOSYSTEM": "1"}
_SAFE = (
    *("-c", f"core.hooksPath={os.devnull}", "-c", "core.fsmonitor=false", "-c", f"core.attributesFile={os.devnull}"),
    *("-c", "core.protectHFS=true", "-c", "core.protectNTFS=true", "-c", "submodule.recurse=false"),
    *("-c", "protocol.ext.allow=never", "-c", "fetch.recurseSubmodules=false", "-c", "gc.auto=0"),
    *("-c", "maintenance.auto=false", "-c", "advice.detachedHead=false", "-c", "apply.whitespace=nowarn"),
)


def restore(
    target: str,
    facts: Mapping[str, Any],
    open_kept: OpenKept,
    remotes_allowed: bool = True,
    timeout_s: float = DEFAULT_TIMEOUT_S,
) -> dict[str, Any]:
    """Rebuild a working tree in a new folder.

    Parameters
    ----------
    target : str
        A folder that does not exist, or is empty.
    facts : mapping
        Of one repository, as `capture.probes.rebuild.repository_state` returned them and the record holds them.
    open_kept : callable
        ``open_kept(source)`` gives the bytes that were kept under a name; it raises `OSError` or `KeyError` where
        they are gone.
    remotes_allowed : bool
        Whether commits may be fetched from the repository's remote.
    timeout_s : float
        How long each fetch may take, in seconds.

    Returns
    -------
    dict
        ``root``: str, the folder; ``commit``: what is checked out, or None; ``source``: "bundle", "remote", "bundle
        and remote", or None where the commit could not be had; ``patched``: bool; ``written``: the paths of files put
        beside or over what git had; ``missing``: list of ``{"path" or "what", "reason"}``, what could not be
        rebuilt; ``differences``: what `compare` then finds; ``complete``: bool, that both are empty.

    Raises
    ------
    RestoringError
        If the folder is not empty, or cannot be made.
    """
    target = os.path.realpath(target)
    try:
        os.makedirs(target, exist_ok=True)
        is_empty = not os.listdir(target)
    except OSError as error:
        raise RestoringError(f"{target} cannot be a folder for a rebuilt state: {error}") from error
    if not is_empty:
        raise RestoringError(
            f"{target} is not empty, and a recorded state is rebuilt in an empty folder only"
            "\n  what can be done:  name another folder, or one that does not exist"
        )
    work = _Restoration(target, facts, open_kept, remotes_allowed, timeout_s)
    work.do()
    differences = compare(target, facts, open_kept)
    return {
        "root": target,
        "commit": facts.get("commit") if work.source else None,
        "source": work.source,
        "patched": work.patched,
        "written": work.written,
        "missing": work.missing,
        "differences": differences,
        "complete": not work.missing and not differences,
    }


class _Restoration:
    """A working tree that is being rebuilt."""

    def __init__(
        self, target: str, facts: Mapping[str, Any], open_kept: OpenKept, remotes_allowed: bool, timeout_s: float
    ) -> None:
        self.target, self.facts = target, facts
        self._open, self._remotes_allowed, self._timeout_s = open_kept, remotes_allowed, timeout_s
        self._root = facts.get("root")
        self.source: str | None = None
        self.patched = False
        self.written: list[str] = []
        self.missing: list[dict[str, str]] = []

    def do(self) -> None:
        commit = self.facts.get("commit")
        if commit is not None and not _is_object_id(commit):
            self._miss(f"the commit: {str(commit)[:80]!r} is no name of one", what="commit")
            commit = None
        folder = _Folder(self.target, self._timeout_s)
        folder.initialize(commit)
        if commit is not None and not self._check_out(folder, commit):
            self._remove_repository()
        else:
            self._apply_patch(folder)
        links = []
        for entry in (*_entries(self.facts, "files"), *_entries(self.facts, "untracked")):
            if "link" in entry:
                links.append(entry)  # last: nothing may be written through them
            elif "left_out" not in entry:
                self._put_back(entry)
            elif entry.get("used"):
                self._miss(f"it was not kept: {entry['left_out']}", path=entry.get("path"))
        made = [path for path in map(self._link, links) if path is not None]
        self._remove_links_that_lead_out(made)
        for module in _entries(self.facts, "submodules"):
            self._check_out_submodule(module)
        if self.facts.get("lfs"):
            self._miss("the contents of files that are kept outside git (LFS); `git lfs pull` fetches them", what="lfs")

    def _miss(self, reason: str, **which: Any) -> None:
        self.missing.append({**{key: str(value) for key, value in which.items()}, "reason": reason})

    # ------------------------------------------------------------------------------------------------- what git has

    def _check_out(self, folder: _Folder, commit: str) -> bool:
        """Get the commit and check it out; say whether that worked."""
        bundle = self.facts.get("bundle")
        reasons: list[str] = []
        sources: list[str] = []
        if isinstance(bundle, dict) and "source" in bundle:
            if bundle.get("prerequisites") and self._fetch(folder, self.facts.get("url"), reasons):
                sources.append("remote")
            if self._unbundle(folder, bundle, commit, reasons):
                sources.insert(0, "bundle")
        elif self._fetch(folder, self.facts.get("url"), reasons):
            sources.append("remote")
        if not folder.has(commit) and self._fetch(folder, self.facts.get("url"), reasons, commit):
            sources = [*(source for source in sources if source != "remote"), "remote"]
        problem = folder.check_out(commit, self.facts.get("branch"))
        if problem is not None:
            self._miss("; ".join(dict.fromkeys([*reasons, problem])), what="commit")
            return False
        self.source = " and ".join(sources)
        return True

    def _unbundle(self, folder: _Folder, bundle: Mapping[str, Any], commit: str, reasons: list[str]) -> bool:
        data = self._kept(bundle, reasons)
        if data is None:
            return False
        boundary = [commit] if bundle.get("commits") == "last" else self.facts.get("shallow") or []
        if not bundle.get("prerequisites"):
            folder.write_boundary([name for name in boundary if _is_object_id(name)])
        return folder.unbundle(data, reasons)

    def _fetch(self, folder: _Folder, url: Any, reasons: list[str], commit: str | None = None) -> bool:
        address = _address(url, self._root)
        if address is None:
            reasons.append("the repository had no remote")
        elif not self._remotes_allowed:
            reasons.append("remotes are not to be asked")
        else:
            return folder.fetch(address, reasons, commit)
        return False

    def _apply_patch(self, folder: _Folder) -> None:
        patch = self.facts.get("patch")
        if not isinstance(patch, dict):
            return
        reasons: list[str] = []
        if "source" not in patch:
            reasons.append(str(patch.get("left_out") or patch.get("unavailable") or "it was not kept"))
        else:
            data = self._kept(patch, reasons)
            self.patched = data is not None and folder.apply(data, reasons)
        if reasons:
            self._miss("; ".join(reasons), what="patch")

    def _check_out_submodule(self, module: Mapping[str, Any]) -> None:
        path, commit = module.get("path"), module.get("commit")
        if commit is None:  # it was not checked out
            return
        parts = _parts(path)
        if parts is None or not _is_object_id(commit) or self._leads_elsewhere(parts):
            self._miss("its path or its commit is none", path=path)
            return
        place = os.path.join(self.target, *parts)
        if os.path.isdir(place) and os.listdir(place):
            self._miss("something else lies in its place", path=path)
            return
        os.makedirs(place, exist_ok=True)
        folder, reasons = _Folder(place, self._timeout_s), []  # type: ignore[var-annotated]
        folder.initialize(commit)
        url = _submodule_url(module.get("url"), self.facts.get("url"))
        self._fetch(folder, url, reasons)
        if not folder.has(commit):
            self._fetch(folder, url, reasons, commit)
        problem = folder.check_out(commit, None)
        if problem is not None:
            self._miss("; ".join(dict.fromkeys([*reasons, problem])), path=path)
            _delete(os.path.join(place, ".git"))
        elif module.get("dirty"):
            self._miss("the changes in the submodule are recorded with the repository that it is, if at all", path=path)

    def _remove_repository(self) -> None:
        """Leave no repository behind that looks like the recorded one and has none of its commits."""
        _delete(os.path.join(self.target, ".git"))

    # ------------------------------------------------------------------------------------------------ what is beside it

    def _kept(self, kept: Mapping[str, Any], reasons: list[str]) -> bytes | None:
        """Return what was kept, if it is there and is what was kept."""
        from capture.digests import digests_of

        try:
            with self._open(str(kept["source"])) as file:
                data = file.read()
        except (OSError, KeyError) as error:
            reasons.append(f"{kept.get('source')} is not in the record: {error}")
            return None
        if digests_of(data, md5=False)[0] != kept.get("digest"):
            reasons.append(f"{kept['source']} is not what was recorded: its digest is another one")
            return None
        return data

    def _put_back(self, entry: Mapping[str, Any]) -> None:
        parts, reasons = _parts(entry.get("path")), []  # type: ignore[var-annotated]
        if parts is None or self._leads_elsewhere(parts[:-1]):
            self._miss("its path leads out of the folder", path=entry.get("path"))
            return
        data = self._kept(entry, reasons) if "source" in entry else None
        if data is None:
            self._miss("; ".join(reasons) or "it was not kept", path=entry["path"])
            return
        path = os.path.join(self.target, *parts)
        try:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            if os.path.lexists(path):
                os.unlink(path)  # it may be a link
            with open(path, "xb") as file:
                file.write(data)
            if entry.get("executable"):
                os.chmod(path, os.stat(path).st_mode | (os.stat(path).st_mode & 0o444) >> 2)
        except OSError as error:
            self._miss(f"cannot be written: {error}", path=entry["path"])
            return
        self.written.append(str(entry["path"]))

    def _link(self, entry: Mapping[str, Any]) -> str | None:
        """Make a symbolic link; return its path below the folder, or None where there is none."""
        parts, goal = _parts(entry.get("path")), str(entry["link"])
        if parts is None or self._leads_elsewhere(parts[:-1]):
            self._miss("its path leads out of the folder", path=entry.get("path"))
            return None
        path = os.path.join(self.target, *parts)
        if os.path.isabs(goal):
            self._miss(f"it is a link to {goal}, out of the folder", path=entry["path"])
            return None
        try:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            if os.path.lexists(path):
                os.unlink(path)
            os.symlink(goal, path)
        except (OSError, ValueError) as error:
            self._miss(f"cannot be made: {error}", path=entry["path"])
            return None
        self.written.append(str(entry["path"]))
        return str(entry["path"])

    def _remove_links_that_lead_out(self, made: list[str]) -> None:
        """Look at where links end when all of them are there: one can bend the way of another."""
        inside = self.target.rstrip(os.sep) + os.sep
        outward = [path for path in made if not self._end_of(path).startswith(inside)]
        for path in outward:
            os.unlink(os.path.join(self.target, path))
            self.written.remove(path)
            self._miss("it is a link that leads out of the folder", path=path)

    def _end_of(self, path: str) -> str:
        return os.path.realpath(os.path.join(self.target, path)) + os.sep

    def _leads_elsewhere(self, parts: Iterable[str]) -> bool:
        """Say whether one of the folders on the way is a link; then the way may end anywhere."""
        path = self.target
        for part in parts:
            path = os.path.join(path, part)
            if os.path.islink(path):
                return True
        return False


class _Folder:
    """A folder in which GitPython runs git, so that it does what it is told and nothing besides."""

    def __init__(self, path: str, timeout_s: float) -> None:
        from git import Git

        self._path, self._timeout_s = path, timeout_s
        self._git: Git = Git(path)
        dot_git = os.path.join(path, ".git")
        self._here = {
            "GIT_DIR": dot_git,
            "GIT_COMMON_DIR": dot_git,
            "GIT_WORK_TREE": path,
            "GIT_INDEX_FILE": os.path.join(dot_git, "index"),
            "GIT_OBJECT_DIRECTORY": os.path.join(dot_git, "objects"),
        }

    def _do(self, *arguments: str, settings: bool = False) -> str:
        """Run git; `settings` says whether the user's settings hold. Raise ``git.GitCommandError`` if it fails."""
        environment = {**self._here, **_NO_HOOK_S_VARIABLES, **_NO_PROMPT, **_TRANSPORTS}
        if not settings:
            environment.update(_NO_SETTINGS)
        limit: dict[str, Any] = {"kill_after_timeout": self._timeout_s} if settings and os.name == "posix" else {}
        return str(self._git.execute(["git", *_SAFE, *arguments], env=environment, **limit))

    def _try(self, reasons: list[str], *arguments: str, settings: bool = False) -> bool:
        from git import GitCommandError

        try:
            self._do(*arguments, settings=settings)
        except GitCommandError as error:
            reasons.append(_complaint(error))
            return False
        return True

    def initialize(self, commit: str | None) -> None:
        kind = ["--object-format=sha256"] if commit is not None and len(commit) == 64 else []
        self._do("init", "--quiet", "--template=", "--initial-branch=main", *kind)

    def has(self, commit: str) -> bool:
        return self._try([], "cat-file", "-e", f"{commit}^{{commit}}")

    def fetch(self, url: str, reasons: list[str], commit: str | None = None) -> bool:
        """Fetch all branches, or one commit."""
        what = [commit] if commit is not None else ["+refs/heads/*:refs/remotes/origin/*"]
        return self._try(reasons, "fetch", "--quiet", "--no-write-fetch-head", "--", url, *what, settings=True)

    def write_boundary(self, commits: list[str]) -> None:
        """Tell git which commits' parents it shall not miss."""
        if commits:
            with open(os.path.join(self._path, ".git", "shallow"), "w", encoding="ascii") as file:
                file.writelines(f"{commit}\n" for commit in sorted(commits))

    def unbundle(self, data: bytes, reasons: list[str]) -> bool:
        return self._with_file(data, reasons, "bundle", "unbundle", "--")

    def apply(self, data: bytes, reasons: list[str]) -> bool:
        return self._with_file(data, reasons, "apply", "--index", "--binary", "--whitespace=nowarn", "--")

    def _with_file(self, data: bytes, reasons: list[str], *command: str) -> bool:
        path = os.path.join(self._path, ".git", "capture-restoring")
        with open(path, "wb") as file:
            file.write(data)
        try:
            return self._try(reasons, *command, path)
        finally:
            os.unlink(path)

    def check_out(self, commit: str, branch: Any) -> str | None:
        """Check out a commit, as that branch where it can be one; return what went wrong."""
        reasons: list[str] = []
        name = branch if isinstance(branch, str) and branch[:1] not in ("-", "") else None
        if name is not None and not self._try([], "check-ref-format", f"refs/heads/{name}"):
            name = None
        as_branch = ["-B", name] if name is not None else ["--detach"]
        return None if self._try(reasons, "checkout", "--quiet", "--force", *as_branch, commit, "--") else reasons[0]


def _complaint(error: Any) -> str:
    text = str(error.stderr or "").strip().removeprefix("stderr:").strip().strip("'").strip()
    return "; ".join(text.splitlines()[:3]) or f"git ended with {error.status}"


def _entries(facts: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    found = facts.get(key)
    return [entry for entry in found if isinstance(entry, dict)] if isinstance(found, list) else []


def _is_object_id(text: Any) -> bool:
    return isinstance(text, str) and len(text) in (40, 64) and _HEXADECIMAL.issuperset(text)


def _parts(path: Any) -> list[str] | None:
    """Split a recorded path; None where it leads out of its folder, or into a repository's own files.

    Examples
    --------
    >>> _parts("data/train.csv"), _parts("../x"), _parts("/etc/passwd"), _parts(".git/hooks/post-checkout")
    (['data', 'train.csv'], None, None, None)
    """
    if not isinstance(path, str) or "\0" in path or (os.name == "nt" and ("\\" in path or ":" in path)):
        return None
    parts = path.split("/")
    plain = [part.translate(_UNSEEN).lower().rstrip(". ") for part in parts]
    bad = any(part in ("", ".", "..") for part in parts) or not {".git", "git~1"}.isdisjoint(plain)
    return None if bad else parts


def _address(url: Any, root: Any) -> str | None:
    """Return where to fetch from; None where the repository had no remote."""
    if not isinstance(url, str) or not url or url.startswith("-") or url == f"git:/{root}":
        return None
    scheme, found, rest = url.partition("://")
    if found:
        return f"{scheme}://{_without_masks(rest)}"
    is_path = ":" not in url.partition("/")[0]
    if is_path and not os.path.isabs(url):
        return os.path.normpath(os.path.join(str(root), url))
    return url


def _without_masks(address: str) -> str:
    """Take out of a URL what is masked in it: perhaps it works without, or a credential helper has it."""
    from capture.secrets import MARK

    if MARK not in address:
        return address
    place, slash, path = address.partition("/")
    login, at, host = place.rpartition("@")
    login = login.partition(f":{MARK}")[0]
    if MARK in login:
        login = ""
    path, question, query = path.partition("?")
    query = "&".join(part for part in query.split("&") if MARK not in part)
    return f"{login}{at if login else ''}{host}{slash}{path}{question if query else ''}{query}"


def _submodule_url(url: Any, outer: Any) -> Any:
    """Resolve a submodule's address that is relative to the one of the repository around it."""
    if not isinstance(url, str) or not isinstance(outer, str) or not url.startswith(("./", "../")):
        return url
    base = outer.rstrip("/")
    while url.startswith(("./", "../")):
        if url.startswith("../"):
            base, url = base.rpartition("/")[0], url[3:]
        else:
            url = url[2:]
    return f"{base}/{url}"


def _delete(folder: str) -> None:
    import shutil

    def make_writable(function: Callable[[str], object], path: str, _: object) -> None:
        os.chmod(path, stat.S_IWRITE)  # git's objects are read-only, which Windows takes seriously
        function(path)

    if not os.path.isdir(folder):
        return
    if sys.version_info >= (3, 12):
        shutil.rmtree(folder, onexc=make_writable)
    else:
        shutil.rmtree(folder, onerror=make_writable)


# -------------------------------------------------------------------------------------------- what is different by now


def compare(folder: str, facts: Mapping[str, Any], open_kept: OpenKept | None = None) -> list[dict[str, Any]]:
    """Say in what a working tree differs from a recorded state.

    Parameters
    ----------
    folder : str
        Its top folder.
    facts : mapping
        As `capture.probes.rebuild.repository_state` returned them and the record holds them.
    open_kept : callable, optional
        As for `restore`; with it, each changed file is named, and without it, that there is any.

    Returns
    -------
    list of dict
        ``{"what", "recorded", "now"}`` and mostly ``"path"``. `what` is "repository", "commit", "branch", "change" (of
        a tracked file against the commit; the values are the names of its contents, in git's terms), "patch",
        "untracked", "file" or "submodule" (the values are digests, sizes, links' targets, commits). None is recorded
        or there now where a thing is not.
    """
    now = git.repository_facts(folder)
    if isinstance(now, Unavailable):
        found = [{"what": "repository", "recorded": facts.get("url"), "now": None}]
        return found + list(_file_differences(folder, _entries(facts, "files"), "file"))
    patches: dict[str, bytes] = {}

    def remember(name: str, data: bytes) -> dict[str, Any]:
        from capture.digests import digests_of

        patches[name] = data
        return {"source": name, "digest": digests_of(data, md5=False)[0], "size": len(data)}

    state = rebuild.repository_state(
        now["root"], now, [], remember, untracked_bytes=0, bundle_bytes=0, timeout_s=DEFAULT_TIMEOUT_S
    )
    differences = [
        {"what": key, "recorded": facts.get(key), "now": state.get(key)}
        for key in ("commit", "branch")
        if facts.get(key) != state.get(key)
    ]
    differences += _changes_that_differ(
        facts.get("patch"), state.get("patch"), next(iter(patches.values()), b""), open_kept
    )
    recorded = _entries(facts, "untracked")
    if isinstance(facts.get("untracked"), list) and not facts.get("untracked_unlisted"):
        known = {entry.get("path") for entry in recorded}
        others = [entry for entry in _entries(state, "untracked") if entry["path"] not in known]
        for entry in others:
            differences.append({"what": "untracked", "path": entry["path"], "recorded": None, "now": entry.get("size")})
    differences += _file_differences(now["root"], recorded, "untracked")
    differences += _file_differences(now["root"], _entries(facts, "files"), "file")
    modules = {entry["path"]: entry["commit"] for entry in _entries(state, "submodules")}
    for entry in _entries(facts, "submodules"):
        if modules.get(entry.get("path")) != entry.get("commit"):
            path = entry.get("path")
            change = {"what": "submodule", "path": path, "recorded": entry.get("commit"), "now": modules.get(path)}
            differences.append(change)
    return differences


def _changes_that_differ(recorded: Any, now: Any, patch: bytes, open_kept: OpenKept | None) -> list[dict[str, Any]]:
    """Compare two patches by the contents that they lead to: their bytes depend on the version of git."""
    from capture.digests import digests_of

    digests = [found.get("digest") if isinstance(found, dict) else None for found in (recorded, now)]
    if digests[0] == digests[1]:
        return []
    whole = [{"what": "patch", "recorded": digests[0], "now": digests[1]}]
    before: dict[str, str] = {}
    if digests[0] is not None:
        if open_kept is None:
            return whole
        try:
            with open_kept(recorded["source"]) as file:
                data = file.read()
        except (OSError, KeyError):
            return whole
        if digests_of(data, md5=False)[0] != digests[0]:
            return whole
        before = _contents_of(data)
    after = _contents_of(patch)
    return [
        {"what": "change", "path": path, "recorded": before.get(path), "now": after.get(path)}
        for path in sorted(before.keys() | after.keys())
        if before.get(path) != after.get(path)
    ]


def _contents_of(patch: bytes) -> dict[str, str]:
    """Return what a patch makes of each file: git's name of the contents, and the mode where that changes."""
    found: dict[str, str] = {}
    path, ours = "", False
    for line in patch.split(b"\n"):
        if line.startswith(b"diff --git "):
            path, ours = _path_of(line[11:]), True
            found[path] = ""
        elif line.startswith((b"@@ ", b"GIT binary patch")):
            ours = False  # what follows is contents
        elif ours and line.startswith((b"index ", b"new mode ", b"new file mode ", b"deleted file mode ")):
            told = line.partition(b"..")[2] if line.startswith(b"index ") else line
            found[path] = f"{found[path]} {told.decode('ascii', 'replace')}".strip()
    return found


def _path_of(names: bytes) -> str:
    """Return the path of ``a/path b/path``, whose halves are equal where nothing counts as renamed."""
    half = names[: len(names) // 2]
    quoted = half.startswith(b'"')
    return os.fsdecode(half[3:-1] if quoted else half[2:])


def _file_differences(root: str, recorded: Iterable[Mapping[str, Any]], what: str) -> Iterable[dict[str, Any]]:
    """Yield how files differ from their entries; of what was not kept, only the size is known."""
    for entry in recorded:
        parts = _parts(entry.get("path"))
        if parts is None:
            continue
        path = os.path.join(root, *parts)
        before = entry.get("link") or entry.get("digest") or entry.get("size")
        try:
            status = os.lstat(path)
            if stat.S_ISLNK(status.st_mode):
                after: Any = os.readlink(path)
            elif not stat.S_ISREG(status.st_mode):
                after = "not a plain file"
            elif "digest" in entry:
                after = _digest_of(path)
            else:
                after = status.st_size
        except OSError:
            after = None
        if before is not None and after != before:
            yield {"what": what, "path": entry["path"], "recorded": before, "now": after}


def _digest_of(path: str) -> str:
    from capture.digests import digests_of

    with open(path, "rb") as file:  # no larger than what was kept, or it differs anyway
        return digests_of(file.read(), md5=False)[0]
