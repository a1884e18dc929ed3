"""Why runs differ: what went in, ranked by what most likely explains it, and then what came out.

Each part of a comparison has a module of its own, which gives its differences a weight by what is known of them. Here
they are put together, and what needs all of them is said: what a seed is worth where nothing else differs, and what
could not be compared.
"""

from __future__ import annotations

from capture.query._compared import Compared, all_same, listed
from capture.query._config_differences import BY_CHANGED_CODE
from capture.query._difference import CAUSES, OUTCOMES, Difference
from capture.query._grounds import weight_of
from capture.query._shown_values import shown_values
from capture.query.addresses import names_of, store_of
from capture.wording import counted, format_duration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from capture.records import RunRecord

__all__ = ["CAUSES", "OUTCOMES", "Comparison", "Difference", "compare"]


class Comparison:
    """What `compare` found.

    Attributes
    ----------
    names : list of str
        What the runs are called: labels, or ``.`` for the working tree; ``STORE::LABEL`` where they are in several
        stores.
    causes : list of Difference
        What went in, the likeliest explanation first.
    outcomes : list of Difference
        What came out.
    limits : list of str
        Sentences about what could not be compared, and what to make of it.
    agreements : list of str
        In words, what came out the same of all runs.
    runs : list of RunRecord
        What was compared.
    """

    def __init__(
        self,
        names: list[str],
        causes: list[Difference],
        outcomes: list[Difference],
        limits: list[str],
        runs: Sequence[RunRecord] = (),
        agreements: Sequence[str] = (),
    ) -> None:
        self.names, self.causes, self.outcomes, self.limits = names, causes, outcomes, limits
        self.runs, self.agreements = list(runs), list(agreements)

    @property
    def stores(self) -> list[str | None]:
        """The URL of the store that each run is in; None for the working tree, and for records of no client."""
        return [store_of(run) for run in self.runs]

    @property
    def differ(self) -> bool:
        """Whether anything differs; noise, and what the runs took, does not count."""
        return any(each.counts for each in (*self.causes, *self.outcomes))

    @property
    def explains(self) -> bool:
        """Whether any cause may explain the rest."""
        return any(each.explains for each in self.causes)

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data that JSON can hold."""
        return {
            "names": list(self.names),
            "stores": self.stores,
            "differ": self.differ,
            "causes": [each.to_dict() for each in self.causes],
            "outcomes": [each.to_dict() for each in self.outcomes],
            "agreements": list(self.agreements),
            "limits": list(self.limits),
        }

    def to_pandas(self) -> Any:
        """Return a `pandas.DataFrame`: a row for each difference, a column for the values of each run."""
        import pandas

        from capture.filters import MISSING

        rows = [
            {
                "kind": each.kind,
                "name": each.name,
                **{name: None if value is MISSING else value for name, value in zip(self.names, each.values)},
                "weight": each.weight if each.kind in CAUSES else None,
                "why": each.why,
            }
            for each in (*self.causes, *self.outcomes)
        ]
        return pandas.DataFrame(rows, columns=["kind", "name", *self.names, "weight", "why"])

    def __repr__(self) -> str:
        causes, outcomes = (sum(each.counts for each in part) for part in (self.causes, self.outcomes))
        first = f", first {self.causes[0].kind} {self.causes[0].name}" if causes else ""
        told = f"{counted(causes, 'cause')}{first}; {counted(outcomes, 'outcome')}"
        return f"<Comparison of {listed(self.names)}: {told}>"

    def _repr_html_(self) -> str:
        from capture.query.reprs import escape

        def row(each: Difference) -> str:
            why = f'<div style="opacity:.65">{escape(each.why)}</div>' if each.why else ""
            cells = [f"{escape(each.name)}{why}", *map(escape, shown_values(each, _LONGEST_CELL))]
            kind = f'<td style="{_CELL};white-space:nowrap">{escape(each.kind)}</td>'
            return kind + "".join(f'<td style="{_CELL}">{cell}</td>' for cell in cells)

        def part(title: str, differences: Sequence[Difference]) -> str:
            shown = [each for each in differences if not each.same]
            heading = f'<tr><th scope="rowgroup" colspan="{len(self.names) + 2}" style="{_CELL}">{title}</th></tr>'
            return heading + "".join(f"<tr>{row(each)}</tr>" for each in shown) if shown else ""

        head = "".join(f'<th style="{_CELL}">{escape(name)}</th>' for name in ("", "", *self.names))
        rows = part("What differs, the likeliest cause first", self.causes)
        rows += part("What came out", [each for each in self.outcomes if each.kind != "usage"])
        rows += part("What it took", [each for each in self.outcomes if each.kind == "usage"])
        limits = "".join(f"<li>{escape(each)}</li>" for each in self.limits)
        table = f"<table><tr>{head}</tr>{rows}</table>" if rows else "<p>no difference</p>"
        return table + (f"<ul>{limits}</ul>" if limits else "")


_CELL = "text-align:left;vertical-align:top;overflow-wrap:anywhere"
_LONGEST_CELL = 200  #: characters


def compare(
    runs: Sequence[RunRecord], every: bool = False, names: Sequence[str] | None = None, context: int = 3
) -> Comparison:
    """Compare two or more runs.

    Parameters
    ----------
    runs : sequence of RunRecord
        The first is what the others are compared with. One may be the working tree of `capture.query.working_tree`.
        They may be in different stores: files are read from that of each run.
    every : bool
        Whether what is equal, and noise, is listed too.
    names : sequence of str, optional
        What the runs are called; see `capture.query.addresses.names_of`, if left out.
    context : int
        Lines around changed ones in a unified diff.

    Raises
    ------
    ValueError
        If there are fewer than two.
    """
    from capture.query._config_differences import command_differences, config_differences
    from capture.query._input_differences import input_differences
    from capture.query._machine_differences import environment_differences, host_differences
    from capture.query._outcome_differences import agreements, outcome_differences
    from capture.query._package_differences import package_differences
    from capture.query._source_differences import Sources, git_differences

    if len(runs) < 2:
        raise ValueError(f"a comparison takes two runs or more, got {len(runs)}")
    compared = Compared(runs, list(names) if names is not None else names_of(runs), every, context)
    sources = Sources(compared)
    code = sources.differences()
    config = config_differences(compared, sources)
    causes = [*config, *code]
    causes += command_differences(compared)
    causes += git_differences(compared, sources, any(not each.same for each in code))
    causes += package_differences(compared, sources)
    causes += input_differences(compared, [each for each in config if not each.same])
    causes += environment_differences(compared) + host_differences(compared)
    outcomes = outcome_differences(compared)
    _are_other_experiments(compared, causes)
    _judge_together(compared, causes, outcomes)
    for run in runs:
        compared.limits += getattr(run, "limits", ())
    compared.limits[:0] = _losses(compared)
    experiments = list(dict.fromkeys(run.name for run in compared.runs))
    if len(experiments) > 1:
        compared.limits.insert(0, f"these are runs of different experiments: {listed(experiments)}")
    causes.sort(key=lambda each: (each.same, -each.weight, CAUSES.index(each.kind), each.name))
    outcomes.sort(key=lambda each: (each.same, OUTCOMES.index(each.kind)))
    return Comparison(compared.names, causes, outcomes, compared.limits, runs, agreements(compared, outcomes))


def _losses(compared: Compared) -> list[str]:
    """Say what the records have lost, which is no difference between the runs."""
    found = []
    for name, run in zip(compared.names, compared.runs):
        lost = getattr(run, "losses", ())
        found += [f"the record of {name} is damaged, and differs by that: {loss.text}" for loss in lost]
    return found


# ------------------------------------------------------------------------------------------- what needs the whole of it

STOPPED = ("INTERRUPTED", "PREEMPTED", "TIMEOUT")  #: states of runs that somebody, or something, stopped before the end


def _early_end(compared: Compared, place: int) -> str:
    """Say how a run ended before it was done."""
    from capture.query._outcome_differences import failure_of

    name, run, state = compared.names[place], compared.runs[place], compared.states[place]
    after = f" after {format_duration(run.duration)}" if run.duration is not None else ""
    if state == "FAILED":
        failure = failure_of(run).get("fail_trace")
        return f"{name} failed{after}{f': {failure}' if failure else ''}"
    return f"{name} was stopped{after} ({state}): what came out of it is what there was by then"


def _are_other_experiments(compared: Compared, causes: list[Difference]) -> None:
    """Put before everything else that the runs are of experiments with main files of their own.

    What such runs have in their configuration is no change of one into the other.
    """
    names = [run.name for run in compared.runs]
    mains = [str(run.experiment.get("mainfile") or "") for run in compared.runs]
    if all_same(names) or all_same(mains) or not all(compared.has_run()):
        return
    why = f"other experiments, with main files of their own: {listed(list(dict.fromkeys(mains)))}"
    causes.append(Difference("command", "experiment", names, weight=weight_of("experiment"), why=why))
    for each in causes:
        if each.why == BY_CHANGED_CODE:
            each.why = "computed in a config scope, by the code of another experiment"


def _judge_together(compared: Compared, causes: list[Difference], outcomes: list[Difference]) -> None:
    """Weigh what depends on everything else, and say what the whole amounts to."""
    from capture.query._outcome_differences import are_close

    counting = [each for each in causes if each.counts]
    came_out = [each for each in outcomes if each.counts]
    if not all(compared.has_run()):
        return
    drawn = [each for each in counting if each.kind == "seed" and each.weight == weight_of("seed, drawn")]
    around = [each for each in counting if each.kind in ("host", "environment")]
    if drawn and not came_out:
        for each in drawn:
            each.weight, each.why = weight_of("seed, follows"), f"{each.why}; what came out is the same"
    elif drawn and not [each for each in counting if each.weight > weight_of("seed, drawn")]:
        for each in drawn:
            each.why = "drawn at random, and nothing else that matters differs"
    elif drawn:
        compared.limit("the seeds were drawn at random, so part of the difference is chance: seed=NUMBER takes it out")
    if are_close(compared, outcomes):
        compared.limit("all numbers agree up to rounding, as where threads or another processor sum in another order")
        for each in around:
            each.weight = max(each.weight, min(0.95, each.weight * 1.5))
    _say_what_is_left(compared, counting, came_out, outcomes)


def _say_what_is_left(
    compared: Compared, counting: list[Difference], came_out: list[Difference], outcomes: list[Difference]
) -> None:
    """Say what to think where nothing that was recorded explains what differs."""
    died, unfinished = [state == "DIED" for state in compared.states], compared.unfinished()
    if any(died):
        compared.limits.insert(0, f"{compared.named(died)} died: what came out of it is what there was by then")
    if any(unfinished):
        compared.limits.insert(0, f"{compared.named(unfinished)} had not ended when this was compared")
    stopped = [place for place, state in enumerate(compared.states) if state in ("FAILED", *STOPPED)]
    if len(set(compared.states)) > 1:  # runs that all ended alike are compared like any others
        for place in stopped[::-1]:
            compared.limits.insert(0, _early_end(compared, place))
    is_whole = not any(died) and not any(unfinished) and not (stopped and len(set(compared.states)) > 1)
    is_whole = is_whole and not _losses(compared)
    if came_out and is_whole and not [each for each in counting if each.weight > weight_of("source, comments")]:
        unseen = [
            "nothing that was recorded differs, and yet what came out does. What no record holds: the order in which "
            "threads and GPU kernels work, time, the network, files that went unseen, memory that was not initialised"
        ]
        compared.limits[:0] = unseen
    elif not came_out and any(each.kind == "usage" and each.name == "duration" for each in outcomes):
        from capture.query._machine_differences import machines_in_words

        durations = [run.duration for run in compared.runs if run.duration]
        if len(durations) == len(compared.runs) and max(durations) > 1.5 * min(durations) > 1.5:
            compared.limit(
                "of what came out only the durations differ: the candidate is the host, and what else it was doing "
                f"({machines_in_words(compared)})"
            )
