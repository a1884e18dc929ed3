"""Nothing that a user can call, set or override is left out of the documentation."""

from __future__ import annotations

import subprocess
import sys

import pytest

import capture
from capture.cli import COMMANDS
from capture.commandline_options import STOCK
from capture.commands import stock_commands
from capture.hooks import CAPABILITIES, HOOKS
from capture.settings import DEFAULTS
from tests.project.tree import ROOT

DOCS = ROOT / "docs"


def page(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def test_generated_tables_are_fresh():
    """A table of hooks that is a version behind is worse than none, because it is believed."""
    done = subprocess.run([sys.executable, str(DOCS / "generate.py"), "--check"], capture_output=True, text=True)
    assert done.returncode == 0, f"run: python docs/generate.py\n{done.stdout}{done.stderr}"


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_has_a_row(hook):
    """Whoever writes an observer reads one page, and finds every hook there."""
    assert f"| `{hook}` |" in page("writing-an-observer.md")


@pytest.mark.parametrize("capability", sorted(CAPABILITIES))
def test_every_capability_is_explained(capability):
    """An observer declares what it stores; what the words mean must be written somewhere."""
    assert f'`"{capability}"`' in page("writing-an-observer.md")


@pytest.mark.parametrize("setting", DEFAULTS)
def test_every_setting_has_a_row(setting):
    """A switch that nobody can find might as well not be there."""
    assert f"| `{setting}` |" in page("settings.md")


def flags():
    return ["-h", "--help", "--help-all", *[flag for option in STOCK for flag in (option.short, option.long) if flag]]


@pytest.mark.parametrize("flag", flags())
def test_every_option_has_a_row(flag):
    """The help shows a line for each; the page says what it does to what else."""
    rows = [line for line in page("command-line.md").splitlines() if line.startswith("| `-")]
    assert any(f"`{flag}`" in row.split(" | ")[0] for row in rows)


@pytest.mark.parametrize("command", stock_commands(capture.Experiment("any")))
def test_every_stock_command_has_a_row(command):
    """Every experiment has them, so nobody finds them in a script."""
    assert f"| `{command}` |" in page("command-line.md")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_of_the_tool_has_a_heading(command):
    """`capture --help` has one line for each; that is no documentation."""
    assert f"### capture {command}\n" in page("command-line.md")


#: What other people's code may import from the package. Taking one away, or renaming it, breaks them: see the page.
PUBLIC = [
    "__version__",
    "observers",
    "Experiment",
    "Ingredient",
    "Run",
    "current_run",
    "SETTINGS",
    "cli_option",
    "host_info_gatherer",
    "host_info_getter",
    "CaptureError",
    "ConfigError",
    "InvalidConfigError",
    "SacredInterrupt",
    "TimeoutInterrupt",
    "RunObserver",
    "Reader",
    "Curator",
    "Probe",
    "Unavailable",
    "open_store",
    "start_run",
    "log_scalar",
    "log_metrics",
    "log_params",
    "log_artifact",
    "add_artifact",
    "add_resource",
    "open_resource",
    "add_tags",
]


def test_the_public_names_are_these():
    """A name that goes, or one that comes by accident, has to be meant: the list is written down twice."""
    assert sorted(capture.__all__) == sorted(PUBLIC)
    for name in PUBLIC:
        assert getattr(capture, name) is not None


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_has_its_tier(name):
    """Who builds on a name must be able to see how long it will be there."""
    [row] = [line for line in page("stability.md").splitlines() if line.startswith(f"| `{name}` |")]
    assert row.split(" | ")[1] in ("Sacred-compatible", "public", "provisional")
