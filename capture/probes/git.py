"""The state of the repository that code lies in: where it comes from, which commit, whether it was changed since.

Commit, branch and remote are read from git's files, in a fraction of a millisecond. Whether files differ from the
commit is a question for git itself (filters, line ends, submodules); it is asked once per repository, in a process of
its own that is started early and collected late.
"""

from __future__ import annotations

import os
import threading
import time

from capture.hooks import Unavailable
from capture.probes._process import Child

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from git import Repo

DEFAULT_TIMEOUT_S = 5.0

#: "Which tracked files differ from the commit?" Unlike ``git diff``, this neither writes the index nor takes touched
#: files for changed ones; a file system monitor that the repository's settings name is not started.
_STATUS = ("-c", "core.fsmonitor=false", "status", "--porcelain", "-z", "-uno", "--no-renames")
_SUBMODULES = "--ignore-submodules=untracked"
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.0005, 0.02


def repository_facts(path: str, timeout_s: float = DEFAULT_TIMEOUT_S) -> dict[str, Any] | Unavailable:
    """Describe the repository that holds `path`.

    Parameters
    ----------
    path : str
        A file or a folder.
    timeout_s : float
        How long git may take, in seconds.

    Returns
    -------
    dict or Unavailable
        ``url``: of the remote ("origin", else the branch's, else the first), without secrets, or ``git:/`` and the
        root where there is none; ``commit``: str, or None before the first commit;
        ``branch``: str, or None where HEAD is detached; ``dirty``: whether a tracked file differs from the commit, or
        None where that is not known, and then ``dirty_unknown`` says why; ``root``: the top folder.
        `Unavailable` where there is no repository with a working tree, or its files cannot be read.
    """
    facts = start(path, timeout_s).result()
    return Unavailable("git did not answer") if facts is None else facts


def repositories(paths: Iterable[str], timeout_s: float = DEFAULT_TIMEOUT_S) -> list[dict[str, Any]]:
    """Describe the repositories that hold any of `paths`, each of them once, all looked at side by side."""
    looks = [start(root, timeout_s) for root in roots_of(paths)]
    return [facts for facts in (look.result() for look in looks) if isinstance(facts, dict)]


def roots_of(paths: Iterable[str]) -> list[str]:
    """Return the top folders of the repositories that hold `paths`, each once, sorted."""
    seen: dict[str, str | None] = {}
    for path in paths:
        folder = _folder_of(path)
        if folder not in seen:
            seen[folder] = find_root(folder)
    return sorted({root for root in seen.values() if root is not None})


def find_root(path: str) -> str | None:
    """Return the top folder of the repository that holds `path`, links resolved; None where there is none."""
    folder = _folder_of(path)
    while True:
        if _looks_like_repository(os.path.join(folder, ".git")):
            return folder
        parent = os.path.dirname(folder)
        if parent == folder:
            return None
        folder = parent


def repository(path: str) -> Repo:
    """Open the repository that holds `path` with GitPython, for what is not on the way of a run.

    Raises
    ------
    git.exc.InvalidGitRepositoryError
        If there is none.
    """
    from git import Repo

    return Repo(_folder_of(path), search_parent_directories=True)


def start(path: str, timeout_s: float = DEFAULT_TIMEOUT_S) -> Look:
    """Begin to look at the repository that holds `path`, and return at once."""
    return Look(path, timeout_s)


class Look:
    """A look at one repository that has been started."""

    def __init__(self, path: str, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        self._lock = threading.Lock()
        self._until = time.monotonic() + timeout_s
        self._timeout_s = timeout_s
        self._git: Child | None = None
        self._facts: dict[str, Any] | Unavailable
        try:
            self._facts = _read_facts(path, timeout_s)
        except OSError as error:
            self._facts = Unavailable(f"the repository of {path} cannot be read: {error}")
        if isinstance(self._facts, dict):
            self._begin(self._facts)

    def result(self, wait_s: float | None = None) -> dict[str, Any] | Unavailable | None:
        """Return the facts, as `repository_facts` does.

        Parameters
        ----------
        wait_s : float, optional
            How long to wait for git at most, in seconds; without it, until its time is up.

        Returns
        -------
        dict, Unavailable or None
            None while git is still at work and has time left: ask again.
        """
        give_up = self._until if wait_s is None else min(self._until, time.monotonic() + wait_s)
        pause_s = _FIRST_PAUSE_S
        while True:
            with self._lock:
                self._look_after()
                if self._git is None:
                    return self._facts
            left_s = give_up - time.monotonic()
            if left_s <= 0:
                if wait_s is None or time.monotonic() >= self._until:
                    continue  # the next look ends it
                return None
            time.sleep(min(pause_s, left_s))
            pause_s = min(pause_s * 1.5, _LONGEST_PAUSE_S)

    def _begin(self, facts: dict[str, Any]) -> None:
        if facts["commit"] is None:
            return
        command = ["git", "-C", facts["root"], *_STATUS, _SUBMODULES]
        try:
            self._git = Child(command, quiet_environment())
        except FileNotFoundError:
            facts["dirty_unknown"] = "git is not installed, or not on PATH"
        except OSError as error:
            facts["dirty_unknown"] = f"git cannot be started: {error}"

    def _look_after(self) -> None:
        """Take git's answer if it is there; end it if its time is up."""
        if self._git is None or not isinstance(self._facts, dict):
            return
        code = self._git.poll()
        if code is None and time.monotonic() < self._until:
            return
        if code is None:
            self._git.kill()
            self._facts["dirty_unknown"] = f"git did not answer within {self._timeout_s:g} s"
        elif code == 0:
            self._facts["dirty"] = self._git.answered
        else:
            self._facts["dirty_unknown"] = self._git.complaint or f"git ended with code {code}"
        self._git = None


# -------------------------------------------------------------------------------------------------- reading git's files


def _folder_of(path: str) -> str:
    path = os.path.realpath(path)
    return path if os.path.isdir(path) else os.path.dirname(path)


def _looks_like_repository(dot_git: str) -> bool:
    """Say what git itself goes by: a folder with a HEAD, or the file that stands for one that lies elsewhere."""
    return os.path.lexists(os.path.join(dot_git, "HEAD")) or os.path.isfile(dot_git)


def _read_facts(path: str, timeout_s: float) -> dict[str, Any] | Unavailable:
    root = find_root(path)
    if root is None:
        bare = all(os.path.exists(os.path.join(_folder_of(path), name)) for name in ("HEAD", "objects", "refs"))
        return Unavailable(f"{path} is a bare repository" if bare else f"{path} is in no git repository")
    git_dir = git_dir_of(root)
    if not os.path.lexists(os.path.join(git_dir, "HEAD")):
        return Unavailable(f"{os.path.join(root, '.git')} points to {git_dir}, which is no repository")
    common = common_dir_of(git_dir)
    branch, commit = head_of(root, timeout_s)
    url = _remote_url(parse_config(os.path.join(common, "config")), branch)
    url = without_secrets(url) if url else f"git:/{root}"
    facts: dict[str, Any] = {"url": url, "commit": commit, "dirty": None, "branch": branch, "root": root}
    if commit is None:
        facts["dirty"] = os.path.exists(os.path.join(git_dir, "index"))  # something was added, nothing committed
    return facts


def _text(path: str) -> str:
    with open(path, encoding="utf-8", errors="surrogateescape") as file:
        return file.read()


def git_dir_of(root: str) -> str:
    """Return the folder with the repository's state; worktrees and submodules have a file that points to it."""
    dot_git = os.path.join(root, ".git")
    if os.path.isdir(dot_git):
        return dot_git
    return os.path.normpath(os.path.join(root, _text(dot_git).partition("gitdir:")[2].strip()))


def common_dir_of(git_dir: str) -> str:
    """Return the folder with what all worktrees of a repository share: branches, objects, settings."""
    try:
        return os.path.normpath(os.path.join(git_dir, _text(os.path.join(git_dir, "commondir")).strip()))
    except FileNotFoundError:
        return git_dir


def head_of(root: str, timeout_s: float) -> tuple[str | None, str | None]:
    """Return branch and commit of a working tree; no branch if HEAD is detached, no commit before the first one."""
    git_dir = git_dir_of(root)
    common = common_dir_of(git_dir)
    if os.path.isdir(os.path.join(common, "reftable")):
        return _asked_head(root, timeout_s)
    return _read_head(git_dir, common)


def _read_head(git_dir: str, common: str) -> tuple[str | None, str | None]:
    head = os.path.join(git_dir, "HEAD")
    # In old repositories HEAD is a link to the branch's file.
    told = f"ref: {os.readlink(head)}" if os.path.islink(head) else _text(head).strip()
    branch = None
    for _ in range(5):  # a reference may name another one; git follows as many
        if not told.startswith("ref:"):
            if told and not _is_commit(told):
                raise OSError(f"{head} is damaged: {told[:80]!r} names no commit")
            return branch, told or None
        name = told[4:].strip()
        if branch is None:
            branch = name.removeprefix("refs/heads/")
        told = read_reference(name, git_dir, common)
    return branch, None


def _is_commit(text: str) -> bool:
    return len(text) in (40, 64) and not set(text) - set("0123456789abcdef")


def read_reference(name: str, git_dir: str, common: str) -> str:
    for folder in dict.fromkeys((git_dir, common)):
        try:
            return _text(os.path.join(folder, *name.split("/"))).strip()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            continue
    try:
        with open(os.path.join(common, "packed-refs"), encoding="utf-8", errors="surrogateescape") as packed:
            for line in packed:
                commit, _, packed_name = line.strip().partition(" ")
                if packed_name == name:
                    return commit
    except FileNotFoundError:
        pass
    return ""


def _asked_head(root: str, timeout_s: float) -> tuple[str | None, str | None]:
    """Ask git for branch and commit where it keeps them in a binary table."""
    import subprocess

    answers = []
    for question in (["symbolic-ref", "--short", "-q", "HEAD"], ["rev-parse", "--verify", "-q", "HEAD"]):
        try:
            done = subprocess.run(
                ["git", "-C", root, *question],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=timeout_s,
                env=quiet_environment(),
            )
        except subprocess.TimeoutExpired as error:
            raise OSError(f"git did not answer within {timeout_s:g} s") from error
        if done.returncode not in (0, 1):
            raise OSError(done.stderr.decode("utf-8", "replace").strip() or f"git ended with code {done.returncode}")
        answers.append(done.stdout.decode("utf-8", "surrogateescape").strip() or None)
    return answers[0], answers[1]


def _remote_url(config: dict[tuple[str, str], str], branch: str | None) -> str | None:
    remotes = {
        section.removeprefix("remote."): value
        for (section, key), value in config.items()
        if key == "url" and section.startswith("remote.")
    }
    for name in ("origin", config.get((f"branch.{branch}", "remote"))):
        if name in remotes:
            return remotes[name]
    return next(iter(remotes.values()), None)


def without_secrets(url: str) -> str:
    """Mask the password or token that a remote's URL holds; the user of ``git@host`` is none."""
    if "@" not in url and "?" not in url:
        return url
    from capture.secrets import redact_url

    return redact_url(url)


def parse_config(path: str) -> dict[tuple[str, str], str]:
    """Read git's settings as ``(section.subsection, key) -> value``; of several values of one key, the first.

    Section and key are in lower case; a subsection is kept as it is.
    """
    found: dict[tuple[str, str], str] = {}
    section = ""
    try:
        text = _text(path)
    except FileNotFoundError:
        return found
    for line in text.replace("\\\n", "").splitlines():
        line = line.strip()
        if line.startswith("["):
            head, _, line = line[1:].partition("]")
            name, _, rest = head.partition(" ")
            subsection = rest.strip().strip('"').replace('\\"', '"').replace("\\\\", "\\")
            section = f"{name.lower()}.{subsection}" if subsection else name.lower()
            line = line.strip()
        if not line or line[0] in "#;":
            continue
        key, _, value = line.partition("=")
        found.setdefault((section, key.strip().lower()), _unquoted(value.strip()))
    return found


def _unquoted(value: str) -> str:
    """Take quotes, escapes and a comment off a value."""
    text, quoted, escaped = [], False, False
    for char in value:
        if escaped:
            text.append({"n": "\n", "t": "\t", "b": "\b"}.get(char, char))
            escaped = False
        elif char == "\\":
            escaped = True
        elif char == '"':
            quoted = not quoted
        elif char in "#;" and not quoted:
            break
        else:
            text.append(char)
    return "".join(text).strip()


# --------------------------------------------------------------------------------------------------------- asking git


def quiet_environment() -> dict[str, str]:
    """Return an environment in which git looks at the folder that it is told, and only looks."""
    # A hook of git, which may well start an experiment, sets variables that turn every other git to its repository.
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_") or name in _KEPT}
    return {**kept, "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}


_KEPT = {"GIT_CONFIG_NOSYSTEM", "GIT_CONFIG_SYSTEM", "GIT_CONFIG_GLOBAL", "GIT_EXEC_PATH"}
