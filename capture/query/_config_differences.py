"""What was asked of the runs: their configuration and who set it, their seeds, their command."""

from __future__ import annotations

from capture.filters import MISSING
from capture.query._compared import all_same, listed
from capture.query._difference import Difference
from capture.query._grounds import weight_of
from capture.query.columns import flat
from capture.query.grouping import is_seed
from capture.secrets import masked_entries

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from capture.query._compared import Compared
    from capture.query._source_differences import Sources
    from capture.records import RunRecord

#: how the text of an origin begins whose values somebody chose for this run, and whose values the code gives
CHOSEN = ("command line", "config_updates", "config updates", "named config", "update", "queued run")
RANDOM = "generated"
BY_CHANGED_CODE = "computed in a config scope, by code that was changed"
SCOPES = ("config scope", "config hook", "config source")


def config_differences(compared: Compared, sources: Sources) -> list[Difference]:
    """Compare the configurations entry by entry; seeds are entries too."""
    tables = [_entries(run) if is_run else None for run, is_run in zip(compared.runs, compared.has_run())]
    origins = [_Origins(run) for run in compared.runs]
    found = []
    for each in compared.differences("config", tables, "config, set", "config."):
        path = each.name[len("config.") :]
        if _is_only_the_place_of_others(path, each.values, tables):
            continue
        each.origins = [None if value is MISSING else of.text(path) for value, of in zip(each.values, origins)]
        each.kind = "seed" if is_seed(path) else "config"
        found.append(each)
    _weigh(compared, [each for each in found if not each.same], sources)
    masked = sorted({path for run in compared.runs for path in masked_entries(run.config)})
    if masked:
        compared.limit(f"what {listed(masked)} held is masked in the records, and cannot be compared")
    return found


def _entries(run: RunRecord) -> dict[str, Any]:
    leaves: dict[str, Any] = {}
    for key, value in run.config.items():
        leaves.update(flat(value, str(key)))
    return leaves


def _is_only_the_place_of_others(path: str, values: Sequence[Any], tables: Sequence[Mapping[str, Any] | None]) -> bool:
    """Say whether an entry is an empty dict in one run and holds entries in another: those are listed."""
    if not all(value is MISSING or (isinstance(value, dict) and not value) for value in values):
        return False
    return any(name.startswith(path + ".") for table in tables if table is not None for name in table)


class _Origins:
    """Who set what in one run."""

    def __init__(self, run: RunRecord) -> None:
        facts = run.facts.get("config")
        told = facts.get("origins") if isinstance(facts, dict) else None
        self._told: Mapping[str, Any] = told if isinstance(told, dict) else {}
        updates = run.meta.get("config_updates")
        self._updates = flat(updates, "") if isinstance(updates, dict) and updates else {}

    def text(self, path: str) -> str | None:
        """Return who set an entry, or what it stands in; None where that is not known."""
        place = path
        while place:
            if place in self._told:
                return str(self._told[place])
            place = place.rpartition(".")[0]
        if any(f".{path}" == name or f".{path}".startswith(name + ".") for name in self._updates):
            return "config updates"  # an old record tells no more: on the command line, or by who started the run
        return RANDOM + " random seed, most likely" if path == "seed" and not self._told else None


# ------------------------------------------------------------------------------------------------------------- weights


def _weigh(compared: Compared, differing: list[Difference], sources: Sources) -> None:
    """Say of each entry that differs what that rests on; the whole list is needed: some follow from others."""
    names = {each.name[len("config.") :] for each in differing}
    for each in differing:
        is_ours = each.name.rpartition(".")[2] == "seed"  # which is drawn where nobody sets it; others are entries
        ground, each.why = (_seed_ground if is_ours else _entry_ground)(compared, each, names, sources)
        if each.kind == "seed" and weight_of(ground) > weight_of("seed, set"):
            ground = "seed, set"
        unread = None if is_ours else sources.is_read_by_nothing(each.name[len("config.") :])
        if unread is not None and weight_of(ground) > weight_of("config, read by nothing"):
            ground, each.why = "config, read by nothing", unread
        each.weight = weight_of(ground)


def _entry_ground(compared: Compared, entry: Difference, differing: set[str], sources: Sources) -> tuple[str, str]:
    path = entry.name[len("config.") :]
    origins = [each or "" for each, value in zip(entry.origins, entry.values) if value is not MISSING]
    chosen = [each for each in origins if each.startswith(CHOSEN)]
    if chosen:
        return "config, set", _who(compared, entry)
    if not any(origins):
        return "config, set", "the record does not tell who set it"
    if not all(each.startswith(SCOPES) for each in origins):
        return "config, default changed", f"it stands in {_by(origins[-1])}"
    statements = [sources.statement(run, origin) for run, origin in enumerate(entry.origins) if origin]
    if None in statements:
        return _follows_from_any(path, differing) or ("config, default changed", "computed in a config scope")
    if not all_same([each.code for each in statements if each is not None]):
        return "config, default changed", "its line in the config scope was changed"
    names = statements[0].names if statements[0] is not None else set()
    before = sorted(other for other in differing if other != path and other.rpartition(".")[2] in names)
    if before:
        return "config, follows", f"follows from {listed(before)}: computed in a config scope"
    return _follows_from_any(path, differing, sources) or (
        "config, not explained",
        "computed in a config scope from something that is not recorded: a file, the clock, the environment, chance",
    )


def _follows_from_any(path: str, differing: set[str], sources: Sources | None = None) -> tuple[str, str] | None:
    """Say that an entry follows from others where it cannot be told from which; None where no other differs."""
    if sources is not None and sources.code_differs:
        return "config, default changed", BY_CHANGED_CODE
    others = sorted(differing - {path, "seed"})
    return ("config, follows", f"computed in a config scope, likely from {listed(others)}") if others else None


def _seed_ground(compared: Compared, entry: Difference, differing: set[str], sources: Sources) -> tuple[str, str]:
    path = entry.name[len("config.") :]
    origins = [each or "" for each, value in zip(entry.origins, entry.values) if value is not MISSING]
    drawn = [each.startswith(RANDOM) for each in origins]
    if all(drawn) and path != "seed" and "seed" in differing:
        return "seed, follows", "derived from config.seed"
    if all(drawn):
        return "seed, drawn", "drawn at random, as in any two runs without a seed of their own"
    return "seed, set", _who(compared, entry)


def _who(compared: Compared, entry: Difference) -> str:
    """Say who set an entry in which run."""
    setters: dict[str, list[str]] = {}
    for name, origin, value in zip(compared.names, entry.origins, entry.values):
        if value is not MISSING:
            setters.setdefault(_by(origin) if origin else "", []).append(name)
    untold = setters.pop("", [])
    if not setters:
        return "the record does not tell who set it"
    if len(setters) == 1 and not untold:
        return f"set by {next(iter(setters))}"
    told = [f"{setter} in {listed(names)}" for setter, names in setters.items()]
    return "set by " + ", ".join([*told, f"not told for {listed(untold)}"] if untold else told)


def _by(origin: str) -> str:
    if origin.startswith(RANDOM):
        return "chance (drawn at random)"
    return "the command line" if origin == "command line" else origin


# ------------------------------------------------------------------------------------------------------------- command


def command_differences(compared: Compared) -> list[Difference]:
    """Compare the commands, the named configs, the options and the arguments that were given."""
    runs = [run if there else None for run, there in zip(compared.runs, compared.has_run())]
    commands = [{"command": run.command} if run is not None else None for run in runs]
    found = compared.differences("command", commands, "command")
    named = [{"named_configs": run.meta.get("named_configs") or []} if run is not None else None for run in runs]
    found += compared.differences("command", named, "command, explained", "meta.")
    options = [_options(run) if run is not None else None for run in runs]
    found += compared.differences("command", options, _option_ground, "meta.options.")
    return found + _argument_differences(compared)


def _options(run: RunRecord) -> dict[str, Any]:
    options = run.meta.get("options")
    return {str(name): value for name, value in options.items()} if isinstance(options, dict) else {}


#: options that change what becomes of a run's record, not what it computes
_ABOUT_THE_RECORD = frozenset(
    {
        *("--id", "--comment", "--name", "--tag", "--priority", "--beat-interval", "--file_storage", "--mongo_db"),
        *("--sql", "--tiny_db", "--s3", "--observe", "--unobserved", "--loglevel", "--print-config", "--print_config"),
        *("--debug", "--pdb", "--capture", "--enforce_clean", "--force", "--queue", "--help"),
    }
)


def _option_ground(name: str, values: list[Any]) -> tuple[str, str]:
    if name in _ABOUT_THE_RECORD or not any(value for value in values if value is not MISSING):
        return "noise", "it is about the record, not about what is computed"
    return "command, arguments", "an option of the script's own"


def _other_words(run: RunRecord, argv: list[Any]) -> list[str]:
    """Return the arguments of a script that are no command, no config updates, and no options that the record has.

    A script that calls ``ex.run()`` may read arguments of its own: then no option is set, and all of them count.
    """
    words = [str(word) for word in argv[1:]]
    words = words[: words.index("with")] if "with" in words else words
    given: set[str] = set()
    for value in _options(run).values():
        given.update(map(str, value) if isinstance(value, list) else [] if value in (None, False) else [str(value)])
    told = {run.command, *given}
    return [word for word in words if word not in told and not (given and word.startswith("-"))]


def _argument_differences(compared: Compared) -> list[Difference]:
    """Compare what the script was given, where its options and config updates do not tell all of it."""
    processes = compared.facts("process")
    known = [isinstance(each.get("argv"), list) and there for each, there in zip(processes, compared.has_run())]
    told = [(run, each["argv"]) for run, each, is_known in zip(compared.runs, processes, known) if is_known]
    others = [_other_words(run, argv) for run, argv in told]
    ground = "noise" if not others or all_same(others) else "command, arguments"
    tables = [{"argv": each["argv"]} if is_known else None for each, is_known in zip(processes, known)]
    return compared.differences("command", tables, ground)
