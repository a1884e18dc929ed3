"""What a difference weighs as an explanation, and why: the one table that the ranking of causes rests on.

The numbers are an order, not probabilities: what somebody chose for this run comes before what the code makes of it,
that before what merely changed around it, and last what follows from something else that is listed or differs in any
two runs. `docs/comparing.md` shows this table; a test compares them.
"""

from __future__ import annotations

#: ground -> weight, reason
GROUNDS: dict[str, tuple[float, str]] = {
    "experiment": (0.99, "another experiment, with a main file of its own, is another program"),
    "command": (0.97, "another command of the experiment is another function"),
    "config, set": (0.95, "somebody set the entry for this run: on the command line, in a named config, in a file"),
    "config, default changed": (0.90, "the value stands in the code or in a file of settings, and was changed there"),
    "source, code": (0.85, "code that the run used was changed"),
    "input, other content": (0.80, "a file of the same name had other content"),
    "package, imported by the sources": (0.75, "the run's own code imports it"),
    "config, not explained": (0.72, "computed from something that no record holds: a file, the clock, chance"),
    "seed, set": (0.70, "somebody chose the seed"),
    "package, imported": (0.65, "it was loaded, by another package"),
    "git, unexplained": (0.62, "the commit or the changes differ, and not all sources could be compared"),
    "source, more or fewer": (0.60, "a source file that only some of the runs used"),
    "python": (0.58, "another version of the interpreter"),
    "input, more or fewer": (0.55, "a file that only some of the runs read"),
    "config, read by nothing": (0.52, "no source mentions the entry outside of config scopes"),
    "seed, drawn": (0.50, "it was drawn at random, as in any two runs: it comes after what somebody changed"),
    "environment, numeric": (0.45, "the variable steers threads, kernels or the order of sums"),
    "host, computing": (0.40, "another processor or GPU, or another number of cores, sums in another order"),
    "command, arguments": (0.35, "the script got other arguments that are no config updates"),
    "environment": (0.33, "the variable, or a switch of the interpreter, was another"),
    "package, not imported by all": (0.28, "only some of the runs imported it, or had it"),
    "config, follows": (0.25, "computed in a config scope from another entry that differs"),
    "input, follows": (0.24, "another entry of the configuration names another file"),
    "source, config scopes": (0.22, "only config scopes were changed; what they set is compared as configuration"),
    "host": (0.20, "another machine or system, of which little depends"),
    "package, recorder": (0.15, "the package records runs and computes nothing for them"),
    "seed, follows": (0.14, "it is derived from another seed that differs"),
    "package, installed": (0.12, "it is installed, and the run did not import it"),
    "git, untracked": (0.10, "a file in no commit that the run is not known to have used"),
    "host, around": (0.08, "limits, file systems and users rarely change what is computed"),
    "source, comments": (0.05, "only comments or formatting: the code is the same"),
    "git, explained": (0.04, "the sources that the runs used are compared one by one"),
    "command, explained": (0.03, "what it sets is compared as configuration"),
    "noise": (0.00, "any two runs differ in it"),
}

EXPLAINS = 0.3  #: what weighs less follows from another difference, or rarely changes what comes out


def weight_of(ground: str) -> float:
    """Return the weight of a ground."""
    return GROUNDS[ground][0]
