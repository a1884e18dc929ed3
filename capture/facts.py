"""What is found out about a run when it is made: sources, packages, repository, host, and what plug-ins tell."""

from __future__ import annotations

import os
import sys
import threading
from contextvars import ContextVar

from capture.settings import SETTINGS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from capture.experiment import Experiment
    from capture.ingredient import Ingredient
    from capture.run import Run
    from capture.watching import Watching

WAIT_S = 0.5  #: how long the start of a run waits for facts; what comes later is recorded later


class Facts:
    """What is found out about the sources, packages, repository and host of a run.

    Parameters
    ----------
    parts : sequence of Ingredient
    experiment : Ingredient or None
        The one whose name and main file are recorded.
    wait_s : float
        How long the start of the run waits for its repositories.
    """

    def __init__(self, parts: Sequence[Ingredient], experiment: Ingredient | None, wait_s: float = WAIT_S) -> None:
        from capture.probes import git, sources

        self.wait_s = wait_s
        self._parts = list(parts)
        self.experiment = experiment if experiment is not None else self._parts[0]
        self.files: list[tuple[str, str]] = []
        self._by_part: dict[Ingredient, list[tuple[str, str]]] = {}
        for part in self._parts:
            found = sources.discover_sources(
                part.caller_globals, part.base_dir, strategy=SETTINGS.DISCOVER_SOURCES, mainfile=part.mainfile
            )
            for path in part.added_sources:
                name = os.path.relpath(path, part.base_dir)
                found.append((path, path if name.startswith("..") else name))
            self._by_part[part] = found
            self.files += [pair for pair in found if pair not in self.files]
        self._git: dict[str, Any] = {}
        if SETTINGS.GIT.ENABLED and any(part.save_git_info for part in self._parts):
            folders = {os.path.dirname(path) for path, _ in self.files} | {self.experiment.base_dir}
            self._git = {root: git.start(root, SETTINGS.GIT.TIMEOUT_S) for root in git.roots_of(folders)}
        self.late_repositories: dict[str, Any] = {}  # looks that did not answer in time
        self.late_gpus = False
        self._gpus: list[Any] = []
        self._gpus_came = threading.Event()

    def sources_of(self, part: Ingredient) -> list[tuple[str, str]]:
        """Return ``(name, MD5)`` of the sources of one ingredient."""
        from capture.probes.sources import digests

        return sorted((name, digests(path)[1]) for path, name in self._by_part[part])

    @property
    def dependencies(self) -> list[str]:
        """Packages as ``"name==version"``, sorted by name."""
        from capture.probes.packages import discover_packages
        from capture.probes.sources import imported_modules

        strategy = SETTINGS.DISCOVER_DEPENDENCIES
        found: dict[str, str] = {}
        if strategy == "imported":
            modules: dict[str, Any] = {}
            for part in self._parts:
                modules.update(imported_modules(part.caller_globals, part.base_dir, part.mainfile))
            found.update(discover_packages(modules, strategy))
        else:
            found.update(discover_packages(sys.modules, strategy))
        for part in self._parts:
            found.update(part.added_dependencies)
        return [f"{name}=={version}" for name, version in sorted(found.items(), key=lambda pair: pair[0].lower())]

    def experiment_info(self, wait_s: float) -> dict[str, Any]:
        """Return Sacred's ``ex_info``; a repository that does not answer within `wait_s` seconds comes later."""
        experiment = self.experiment
        mainfile = experiment.mainfile
        if mainfile is not None:
            relative = os.path.relpath(mainfile, experiment.base_dir)
            mainfile = mainfile if relative.startswith("..") else relative
        found = {pair for part in self._parts for pair in self.sources_of(part)}
        dependencies = self.dependencies
        repositories, waited = [], False
        for root, handle in self._git.items():
            facts = handle.result(0.0 if waited else wait_s)
            if facts is None:
                self.late_repositories[root] = handle
                waited = True
            elif facts:
                repositories.append({key: facts.get(key) for key in ("url", "commit", "dirty")})
        return {
            "name": experiment.path,
            "base_dir": experiment.base_dir,
            "sources": [list(pair) for pair in sorted(found)],
            "dependencies": dependencies,
            "repositories": repositories,
            "mainfile": mainfile,
        }

    def described(self, experiment: Experiment) -> dict[str, Any]:
        """Return what the experiment says of itself: these facts, and what a subclass makes of them."""
        token = _facts_in_hand.set(self)
        try:
            return experiment.get_experiment_info()
        finally:
            _facts_in_hand.reset(token)

    def host_info(self, experiment: Experiment | None) -> dict[str, Any]:
        """Return Sacred's ``host_info``."""
        from capture.probes import gpu
        from capture.probes.getters import get_host_info

        additions = experiment.additional_host_info if experiment is not None else []
        found = get_host_info(additions, wait_s=self.wait_s, on_late=self._host_answered)
        self.late_gpus = "gpus" not in found and gpu.driver_present()
        return found

    def _host_answered(self, name: str, facts: Any) -> None:
        self._gpus.append(facts)
        self._gpus_came.set()

    def gpus_answered_late(self) -> Any:
        """Return what the driver told for which the start of the run did not wait."""
        self._gpus_came.wait()
        return self._gpus[0]

    @property
    def base_dirs(self) -> list[str]:
        """The base folders of the experiment and its ingredients."""
        return list(dict.fromkeys(part.base_dir for part in self._parts))

    @property
    def added_dependencies(self) -> dict[str, str]:
        """Name to version of the packages that the user has named."""
        return {name: version for part in self._parts for name, version in part.added_dependencies}

    @property
    def repository_roots(self) -> list[str]:
        """Return the root folders of the repositories at which git looks."""
        return list(self._git)

    def repositories(self) -> dict[str, Any]:
        """Return, by root folder, what git tells; to be asked for beside the run, since git may take its time."""
        return {root: look.result() for root, look in self._git.items()}

    def answered_late(self) -> list[dict[str, Any]]:
        """Return what the repositories told for which the start of the run did not wait."""
        found = {root: look.result(SETTINGS.GIT.TIMEOUT_S) for root, look in self.late_repositories.items()}
        return [{"root": root, **facts} for root, facts in found.items() if facts]

    def watch(self, run: Run) -> Watching:
        """Find out, beside the run, what its start did not wait for, and what there is to be seen of it."""
        from capture.watching import Watching

        return Watching(run, self)


#: the facts of the run that is being made in this context
_facts_in_hand: ContextVar[Facts | None] = ContextVar("capture_facts_in_hand", default=None)


def experiment_info(part: Ingredient) -> dict[str, Any]:
    """Return Sacred's ``ex_info`` of an experiment; of what is known already where its run is being made."""
    facts = _facts_in_hand.get()
    if facts is not None and facts.experiment is part:
        return facts.experiment_info(facts.wait_s)
    return Facts(part.all_parts(), part).experiment_info(wait_s=5.0)
