"""Where a repository can be had: its remote, and not what stands in a record for one that has none."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from capture.records import RunRecord

_MARK = "git:/"  #: before the folder of a repository without a remote, where Sacred's layout wants a URL


def remote_of(run: RunRecord, url: Any) -> str:
    """Return the URL of a repository that a run records; "" if it only names the folder on the run's machine.

    ``git://data/digits`` may be a server called "data". It is a folder where the run's own facts know it as one.

    Examples
    --------
    >>> from capture.records import RunRecord
    >>> run = RunRecord()
    >>> run.experiment = {"base_dir": "/data/digits/src"}
    >>> remote_of(run, "git://data/digits"), remote_of(run, "git://example.org/digits")
    ('', 'git://example.org/digits')
    """
    if not isinstance(url, str):
        return ""
    if not url.startswith(_MARK):
        return url
    folder = url[len(_MARK) :]
    late = run.facts.get("git")
    roots = [each.get("root") for each in late if isinstance(each, dict)] if isinstance(late, list) else []
    base = run.experiment.get("base_dir") if isinstance(run.experiment, dict) else None
    return "" if folder in roots or _is_within(base, folder) else url


def _is_within(base: Any, folder: str) -> bool:
    if not isinstance(base, str) or not folder.strip("/"):
        return False
    return base == folder or base.replace("\\", "/").startswith(folder.replace("\\", "/").rstrip("/") + "/")
