"""The packages and the interpreter of the runs: what was imported before what was merely installed."""

from __future__ import annotations

from capture.filters import MISSING
from capture.query._compared import rows_of
from capture.query._difference import Difference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from capture.query._compared import Compared
    from capture.query._source_differences import Sources
    from capture.records import RunRecord

#: packages that make the record, and what they use for that; the latter may be the run's own choice, too
RECORDERS = ("experiment-capture", "sacred")
USED_BY_RECORDERS = ("docopt", "docopt-ng", "wrapt", "gitpython", "jsonpickle", "py-cpuinfo")


def package_differences(compared: Compared, sources: Sources) -> list[Difference]:
    """Compare the versions of packages, those that were imported and those that were installed."""
    imported = [_imported(run) for run in compared.runs]
    locks = [_lock(run) for run in compared.runs]
    installed = [_installed(lock) for lock in locks]
    _say_what_is_unknown(compared, imported, locks)
    modules = {pair for run in compared.runs for pair in _owned(run)}
    ground = _Ground(compared, imported, installed, sources, modules)
    versions = [_both(*pair) for pair in zip(imported, installed)]
    origins = [_origins_of(run) for run in compared.runs]
    found = compared.differences("package", versions, ground.of_package, "packages.")
    found += compared.differences("package", [_python(run) for run in compared.runs], ground.of_python)
    found += compared.differences("package", origins, ground.of_origin, "packages.")
    found += compared.differences("package", [_conda(lock) for lock in locks], "package, installed", "conda.")
    return found


def _say_what_is_unknown(compared: Compared, imported: Sequence[Any], locks: Sequence[Any]) -> None:
    unknown = [not each and is_run for each, is_run in zip(imported, compared.has_run())]
    if any(imported) and any(unknown):
        compared.limit(f"which packages {compared.named(unknown)} imported is not recorded")
    if any(locks) and not all(locks):
        compared.limit(f"what was installed for {compared.named(not each for each in locks)} is not recorded")


class _Ground:
    """Judges a package by who imported it.

    Parameters
    ----------
    compared : Compared
    imported, installed : sequence of dict
        Versions by name, run by run; None where what was installed is not known.
    sources : Sources
    modules : set of (str, str)
        Distribution and top-level module of what was imported.
    """

    def __init__(
        self,
        compared: Compared,
        imported: Sequence[dict[str, str]],
        installed: Sequence[dict[str, str] | None],
        sources: Sources,
        modules: set[tuple[str, str]],
    ) -> None:
        self._compared, self._imported, self._installed = compared, imported, installed
        self._sources, self._modules = sources, modules
        self._direct: set[str] | None = None

    def of_package(self, name: str, values: list[Any]) -> tuple[str, str]:
        if name in RECORDERS or (name in USED_BY_RECORDERS and name not in self._imported_by_sources()):
            return "package, recorder", ""
        users = [name in table for table in self._imported]
        if not any(users):
            return "package, installed", ""
        versions = {value for value, used in zip(values, users) if used}
        if len(versions) == 1:
            return self._of_some(name, users, values)
        if name in self._imported_by_sources():
            return "package, imported by the sources", "the run's own code imports it"
        return "package, imported", "imported, by another package or in a way that the sources do not show"

    def of_origin(self, name: str, values: list[Any]) -> tuple[str, str]:
        """Judge the state of the repository that a package was loaded from."""
        package, _, part = name.rpartition(".")
        if self._sources.complete and all(package in _told_by_sources(run) for run in self._compared.runs):
            return "git, explained", "the files that were loaded from it are compared one by one"
        direct = package in self._imported_by_sources()
        what = "at another commit" if part == "commit" else "in another state, committed in none"
        return (
            "package, imported by the sources" if direct else "package, imported",
            f"the repository that it was loaded from was {what}",
        )

    def _of_some(self, name: str, users: list[bool], values: list[Any]) -> tuple[str, str]:
        """Judge a package that some runs imported, and that the others did not, or lacked."""
        why = f"imported by {self._compared.named(users)} only"
        lacking = [value is MISSING and lock is not None for value, lock in zip(values, self._installed)]
        if any(lacking):
            why += f", not installed for {self._compared.named(lacking)}"
        trees = [not is_run for is_run in self._compared.has_run()]
        if any(lacks and is_tree for lacks, is_tree in zip(lacking, trees)):
            direct = name in self._imported_by_sources()
            return "package, imported by the sources" if direct else "package, imported", why
        return "package, not imported by all", why

    def _imported_by_sources(self) -> set[str]:
        if self._direct is None:
            tops = self._sources.imported()
            self._direct = {name for name, module in self._modules if module.partition(".")[0] in tops}
            self._direct.update(name for table in self._imported for name in table if name.replace("-", "_") in tops)
        return self._direct

    def of_python(self, name: str, values: list[Any]) -> tuple[str, str]:
        if name == "python":
            return "python", ""
        return "package, installed", "the same version of Python, made otherwise"


def normalized(name: str) -> str:
    from capture.probes.packages import normalized as normal_form

    return normal_form(name)


def _imported(run: RunRecord) -> dict[str, str]:
    if not isinstance(run.experiment.get("dependencies"), list):
        return {}
    return {normalized(name): version for name, version in run.packages.items()}


def _owned(run: RunRecord) -> set[tuple[str, str]]:
    """Return distribution and top-level module of what was imported, as far as the record tells."""
    imports = run.facts.get("imports")
    found: set[tuple[str, str]] = set()
    for each in rows_of(imports.get("distributions") if isinstance(imports, dict) else None):
        modules = each.get("modules")
        if isinstance(modules, list):
            found.update((normalized(str(each.get("name"))), str(name)) for name in modules if name)
    return found


def _told_by_sources(run: RunRecord) -> set[str]:
    """Return the distributions whose files are among the sources that the run recorded, being in a user's folder."""
    imports = run.facts.get("imports")
    rows = rows_of(imports.get("distributions") if isinstance(imports, dict) else None)
    return {normalized(str(each.get("name"))) for each in rows if each.get("sources")}


def _lock(run: RunRecord) -> dict[str, Any]:
    """Return what the record says of everything that was installed; empty where it says nothing."""
    from capture.probes import environment

    facts = run.facts.get("environment")
    try:
        lock = facts["lock"]["source"]  # type: ignore[index]
        return environment.read(run.kept_file(lock).read())
    except (KeyError, TypeError, OSError, ValueError, RecursionError):  # what is kept may be anything
        return {}


def _installed(lock: dict[str, Any]) -> dict[str, str] | None:
    if not lock:
        return None
    return {normalized(str(each.get("name"))): str(each.get("version")) for each in rows_of(lock["distributions"])}


def _both(imported: dict[str, str], installed: dict[str, str] | None) -> dict[str, str] | None:
    """Return versions by package: as imported, else as installed; None where nothing is known."""
    return {**(installed or {}), **imported} if imported or installed else None


def _python(run: RunRecord) -> dict[str, Any]:
    """Return the version of the interpreter and how it was made."""
    version = run.host.get("python_version")
    found: dict[str, Any] = {} if version is None else {"python": version}
    facts = run.facts.get("environment")
    python = facts.get("python") if isinstance(facts, dict) else None
    if isinstance(python, dict):
        keys = ("implementation", "build", "compiler", "abi", "free_threaded")
        found.update({f"python.{key}": python[key] for key in keys if key in python})
    return found


def _origins_of(run: RunRecord) -> dict[str, Any]:
    """Return the commits of packages that were installed from a repository, or as a pointer to one."""
    found: dict[str, Any] = {}
    imports = run.facts.get("imports")
    for each in rows_of(imports.get("distributions") if isinstance(imports, dict) else None):
        if each.get("commit"):
            found[f"{normalized(str(each.get('name')))}.commit"] = each["commit"]
    for state in rows_of(run.facts.get("git")):
        if state.get("distribution"):
            patch = state.get("patch")
            changed = patch.get("digest") if isinstance(patch, dict) else None
            name = normalized(str(state["distribution"]))
            found[f"{name}.commit"] = state.get("commit")
            if changed:
                found[f"{name}.changes"] = changed
    return found


def _conda(lock: dict[str, Any]) -> dict[str, str] | None:
    """Return the conda packages that are no Python distributions."""
    if not lock:
        return None
    python = {normalized(str(each.get("name"))) for each in rows_of(lock["distributions"])}
    listed = list(rows_of(lock.get("conda")))
    packages = [(str(each.get("name")), f"{each.get('version')} {each.get('build')}") for each in listed]
    return {name: version for name, version in packages if normalized(name) not in python}
