"""What was watched, by what and since when, and what could not be seen: in words, and as a yes or no.

"Complete" says that nothing is known to have gone unseen, not that all was seen: the limits of watching are told in the
text of every statement.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

_NAMED = 5  #: names that are listed before "and so many more"


def statement(
    *,
    since: str,
    children: Mapping[str, Any] | None,
    started: int = 0,
    folders: int | None = None,
    folder_problems: Sequence[str] = (),
    nearby: int = 0,
    folder_losses: Sequence[str] = (),
    libraries: Sequence[str] | None = None,
    library_limits: Sequence[str] = (),
    urls: bool = False,
    hosts: Sequence[str] = (),
    lost: int = 0,
    hook_errors: int = 0,
    first_error: str | None = None,
    replaced: Sequence[str] = (),
    undigested: int = 0,
    failures: Sequence[str] = (),
    by_git: int = 0,
    shared: bool = False,
    interim: bool = False,
) -> dict[str, Any]:
    """Say what was watched and what could not be seen.

    Parameters
    ----------
    since : str
        Since when the run was watched, as people write it.
    children : mapping or None
        See `capture.probes.lineage.children.account`; None if children were not watched.
    started : int
        Child processes that were started, if these were not watched.
    folders : int or None
        How many folders were watched; None if none was to be.
    folder_problems : sequence of str
        Why no folder was watched, or not all of them.
    nearby : int
        Files that only the watch of folders saw.
    folder_losses : sequence of str
        What the watch of folders is known to have missed.
    libraries : sequence of str or None
        What libraries opened past Python and nobody could see; None if they were not asked.
    library_limits : sequence of str
        What else of theirs would not be seen.
    urls : bool
        Whether URLs were recorded.
    hosts : sequence of str
        To which there were connections that no URL explains.
    lost : int
        Things that were seen and not kept, there being too many.
    hook_errors : int
        How often seeing failed; `first_error` says how it did first.
    replaced : sequence of str
        Programs by which the run's own process tried to replace itself.
    undigested : int
        Inputs and outputs without a digest.
    failures : sequence of str
        Parts of watching that failed as a whole.
    by_git : int
        Files that nobody is known to have opened, while git looked at their repository for this library.
    shared : bool
        Whether several runs of this process were told of the same thing, since nobody knows whose it was.
    interim : bool
        The run goes on.

    Returns
    -------
    dict
        complete : bool; watched : list of str; unseen : list of str; text : str.
    """
    watched = [f"files that Python opened, by its audit hook, since {since}"]
    unseen: list[str] = list(failures)
    limits = ["what was opened before, or after the run"]
    if interim:
        unseen.append("what came after this was told, while the run went on")

    if children is None:
        limits.append("what child processes opened (not watched, by a setting)")
        if started:
            unseen.append(f"{_count(started, 'child process', 'es')} not observed (by a setting)")
    else:
        if children["observed"]:
            watched.append(f"files that {_count(children['observed'], 'Python child process', 'es')} opened")
        if children["not_observed"]:
            number = _count(children["not_observed"], "child process", "es")
            unseen.append(f"{number} not observed ({_listed(children['names'])})")
        if going_on := children.get("going_on"):
            limits.append(f"what {_count(going_on, 'child process', 'es')} did that went on when the run was over")
    if libraries is None:
        limits.append("what libraries opened past Python (not asked, by a setting)")
    else:
        watched.append("files that libraries opened past Python, for those that are known and tested")
        unseen += libraries
        limits += library_limits
    if urls:
        watched.append("URLs fetched by http.client, httpx and aiohttp")
    else:
        limits.append("what was fetched from URLs (not recorded, by a setting)")
    if hosts:
        unseen.append(f"connections whose content is not recorded: {_listed(hosts)}")
    if folders:
        watched.append(f"{_count(folders, 'folder')}, for files that anybody opened there")
    else:
        why = " (no folder is watched, by a setting)" if folders is None else ""
        limits.append(f"what C code opened past Python{why}")
    unseen += folder_losses
    if by_git:
        limits.append(f"who opened {_count(by_git, 'file')} while git looked at the repository, most likely git")
    if shared:
        limits.append("which run it was for, of several in this process, that threads opened something")
    if nearby:
        number = _count(nearby, "file")
        were = "was" if nearby == 1 else "were"
        unseen.append(f"{number} {were} opened nearby by nobody that was watched, perhaps by another process")
    if lost:
        unseen.append(f"{_count(lost, 'thing')} more than are kept")
    if hook_errors:
        unseen.append(f"what happened while watching failed, {_count(hook_errors, 'time')} ({first_error})")
    if replaced:
        unseen.append(f"what {_listed(replaced)} did, by which the process replaced itself")

    complete = not unseen
    sentences = [f"Watched: {'; '.join(watched)}."]
    sentences.append("Nothing is known to have gone unseen." if complete else f"Not seen: {'; '.join(unseen)}.")
    sentences.append(f"Out of sight: {'; '.join(limits)}.")
    if folder_problems:
        sentences.append(f"Folders: {'; '.join(folder_problems)}.")
    if undigested:
        have = "has" if undigested == 1 else "have"
        sentences.append(f"{_count(undigested, 'file')} {have} no digest, for the reasons given there.")
    return {"complete": complete, "watched": watched, "unseen": unseen, "text": " ".join(sentences)}


def _count(number: int, noun: str, plural: str = "s") -> str:
    return f"{number:,} {noun}{'' if number == 1 else plural}"


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_NAMED])
    return shown if len(names) <= _NAMED else f"{shown} and {len(names) - _NAMED:,} more"
