"""The lab's `Experiment`: what every run of the lab has, whoever wrote the script."""

from __future__ import annotations

import getpass
import os
from typing import Any

from capture import Experiment, cli_option, host_info_gatherer
from capture.errors import CommandLineError
from lab_framework.portal import PortalObserver

PORTAL_VARIABLE = "LAB_PORTAL"  #: where it is set, every run is recorded there, or does not start


@cli_option("-j", "--project")
def project_option(args: str, run: Any) -> None:
    """The project that the run is booked on."""
    # It becomes a config entry, which is done before there is a run: see `LabExperiment._create_run`.


@cli_option("-g", "--gpu-hours")
def gpu_hours_option(args: str, run: Any) -> None:
    """How long the run may take, in hours on one GPU."""
    try:
        hours = float(args)
    except ValueError:
        raise CommandLineError(f"--gpu-hours is a number of hours, got {args!r}") from None
    run.meta_info["gpu_hours"] = hours


@host_info_gatherer("partition")
def partition() -> str:
    """Return the part of the cluster that the run was given to."""
    return os.environ.get("SLURM_JOB_PARTITION", "interactive")


def show_project(project: str) -> None:
    """Print the project that a run would be booked on."""
    print(project)


class LabExperiment(Experiment):
    """An experiment that is booked on a project.

    Parameters
    ----------
    name : str, optional
        Default: the name of the script, however many classes lie between it and `capture.Experiment`.
    ingredients : sequence of Ingredient
    project : str
        Becomes the config entry ``project``; ``with project=...`` and ``--project`` change it.
    additional_host_info, additional_cli_options : sequence
        Added to the lab's.
    **options
        See `capture.Experiment`.
    """

    def __init__(
        self,
        name: str | None = None,
        ingredients: Any = (),
        *,
        project: str = "unsorted",
        additional_host_info: Any = (),
        additional_cli_options: Any = (),
        **options: Any,
    ) -> None:
        super().__init__(
            name,
            ingredients,
            additional_host_info=[partition, *additional_host_info],
            additional_cli_options=[project_option, gpu_hours_option, *additional_cli_options],
            **options,
        )
        self.add_config(project=project)
        self.command(show_project, unobserved=True)

    def get_experiment_info(self) -> dict[str, Any]:
        """Add the team to what is known of the experiment."""
        return {**super().get_experiment_info(), "team": os.environ.get("LAB_TEAM", "unknown")}

    def _create_run(
        self,
        command_name: str | None = None,
        config_updates: Any = None,
        named_configs: Any = (),
        info: Any = None,
        meta_info: Any = None,
        options: Any = None,
        **more: Any,
    ) -> Any:
        """Turn an option into a config entry, and add tags and the portal to the run that comes of it.

        Runs from a command line, from ``ex.run()`` and from a job script all pass here.
        """
        if options and options.get("--project"):
            config_updates = {**(config_updates or {}), "project": options["--project"]}
        run = super()._create_run(command_name, config_updates, named_configs, info, meta_info, options, **more)
        run.tags += [f"project:{run.config['project']}", f"user:{getpass.getuser()}"]
        portal = os.environ.get(PORTAL_VARIABLE)
        if portal:
            run.observers.append(PortalObserver.from_url(portal, required=True))
        return run
