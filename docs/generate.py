"""Keeps the tables in the pages that are made from code: ``python docs/generate.py [--check]``.

A page marks such a part with ``<!-- generated: NAME -->`` and ``<!-- end -->``; what stands between is replaced by what
the function of that name returns. A test runs the check.
"""

from __future__ import annotations

import inspect
import re
import sys
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parent
_PART = re.compile(r"(<!-- generated: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def _first_sentence(thing: object) -> str:
    text = " ".join((inspect.getdoc(thing) or "").split("\n\n")[0].split())
    return _code(text)


def _code(text: str) -> str:
    """Turn reStructuredText's marks for code into those of Markdown."""
    return re.sub(r"``(.+?)``", r"`\1`", text)


def hooks() -> str:
    """Every hook with the arguments that it may declare."""
    from capture.hooks import HOOKS, RunObserver

    return _table(
        ["hook", "arguments", "when"],
        [
            [f"`{name}`", ", ".join(f"`{a}`" for a in arguments) or "none", _first_sentence(getattr(RunObserver, name))]
            for name, arguments in HOOKS.items()
        ],
    )


def events() -> str:
    """Every event with its fields."""
    from capture.events import EVENTS

    def shown(cls: Any, field: str) -> str:
        return f"`{field}={getattr(cls, field)!r}`" if hasattr(cls, field) else f"`{field}`"

    return _table(
        ["event", "fields", "what it says"],
        [
            [f"`events.{cls.__name__}`", ", ".join(shown(cls, field) for field in cls.fields), _first_sentence(cls)]
            for cls in EVENTS.values()
        ],
    )


def record() -> str:
    """What a record holds, what a file of it, and what a series."""
    from capture.records import RunRecord, Series, StoredFile

    rows = []
    for cls in (RunRecord, StoredFile, Series):
        for names, kind, text in _attributes(cls):
            spelled = ", ".join(f"`{name}`" for name in names.split(", "))
            rows.append([f"`{cls.__name__}`", spelled, kind, text])
    return _table(["of", "attribute", "type", "holds"], rows)


def story() -> str:
    """The methods of a `Story`."""
    from capture.testing import Story

    return _methods(Story)


def curator() -> str:
    """The methods of a `Curator`."""
    from capture.hooks import Curator

    return _methods(Curator)


def _attributes(cls: type) -> list[tuple[str, str, str]]:
    """Return names, type and text of each entry in the section "Attributes" of a docstring."""
    section = (inspect.getdoc(cls) or "").split("Attributes\n----------\n")[1].split("\n\n")[0]
    entries = re.findall(r"^(\w.*?) : (.*)\n?((?: +.*\n?)*)", section, re.MULTILINE)
    return [(names, kind, _code(" ".join(text.split()))) for names, kind, text in entries]


def _methods(cls: type) -> str:
    empty = inspect.Parameter.empty
    rows = []
    for name, function in vars(cls).items():
        if name[0] != "_" and inspect.isfunction(function):
            signature = inspect.signature(function)
            own = [each.replace(annotation=empty) for each in list(signature.parameters.values())[1:]]
            spelled = signature.replace(parameters=own, return_annotation=empty)
            rows.append([f"`{name}{spelled}`", _first_sentence(function)])
    return _table(["method", "does"], rows)


def settings() -> str:
    """Every setting with its default."""
    from capture.settings import DEFAULTS

    return _table(
        ["setting", "default", "what it does"],
        [[f"`{name}`", f"`{default!r}`", text] for name, (default, text) in DEFAULTS.items()],
    )


def flags() -> str:
    """Every option of an experiment's command line."""
    from capture.commandline_options import STOCK

    rows = [
        ["`-h`, `--help`", "", "Show the everyday options.", "yes"],
        ["`--help-all`", "", "Show all options.", "no"],
    ]
    for option in STOCK:
        spelled = ", ".join(f"`{flag}`" for flag in (option.short, option.long) if flag)
        value = "" if option.is_flag else f"`{option.value}`"
        origin = "yes" if option.stock == "sacred" else "no"
        rows.append([spelled, value, option.help, origin])
    return _table(["option", "value", "what it does", "in Sacred"], rows)


def commands() -> str:
    """Every command that each experiment has."""
    from capture import Experiment
    from capture.commands import stock_commands

    stock = stock_commands(Experiment("any", _caller_globals={"__file__": __file__, "__name__": "any"}))
    return _table(
        ["command", "what it does"], [[f"`{name}`", _first_sentence(function)] for name, function in stock.items()]
    )


def libraries() -> str:
    """Every library whose functions are wrapped to see what it opens, and what is not seen of it."""
    from capture.probes.lineage.readers import TESTED, UNSEEN

    return _table(
        ["library", "versions", "not seen"],
        [
            [f"`{name}`", oldest if oldest == newest else f"{oldest} to {newest}", UNSEEN.get(name, "")]
            for name, (oldest, newest) in TESTED.items()
        ],
    )


def public() -> str:
    """Every name that can be imported from the package itself, and where it comes from."""
    import capture

    def what(name: str) -> str:
        return "The version of the library." if name == "__version__" else _first_sentence(getattr(capture, name))

    sacred = {
        "__version__", "observers", "Experiment", "Ingredient", "SETTINGS", "cli_option", "host_info_gatherer",
        "host_info_getter",
    }  # fmt: skip
    return _table(
        ["name", "tier", "what it is"],
        [[f"`{name}`", "Sacred-compatible" if name in sacred else "public", what(name)] for name in capture.__all__],
    )


def errors() -> str:
    """The tree of exceptions."""
    import capture.errors

    tree = (capture.errors.__doc__ or "").split("::\n\n")[1].split("\n\nEach")[0]
    return "```text\n" + inspect.cleandoc(tree) + "\n```\n"


def fresh(page: Path) -> str:
    """Return the text of a page with its generated parts made anew."""

    def made(match: re.Match[str]) -> str:
        return match[1] + globals()[match[2]]() + match[3]

    return _PART.sub(made, page.read_text(encoding="utf-8"))


def main(arguments: list[str]) -> int:
    """Write the pages, or with ``--check`` name those that are stale."""
    stale = [page for page in sorted(DOCS.rglob("*.md")) if fresh(page) != page.read_text(encoding="utf-8")]
    for page in stale:
        print(("stale: " if "--check" in arguments else "written: ") + str(page.relative_to(DOCS)))
        if "--check" not in arguments:
            page.write_text(fresh(page), encoding="utf-8")
    return 1 if stale and "--check" in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
