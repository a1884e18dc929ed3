"""The command line of a script: what ``ex.automain`` and ``ex.run_commandline`` parse and carry out."""

from __future__ import annotations

import os
import sys

from capture.errors import CaptureError, CommandLineError, SacredInterrupt, suggest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from capture.experiment import Experiment
    from capture.run import Run

USAGE = """\
Usage:
  {program} [(with UPDATE...)] [options]
  {program} help [COMMAND]
  {program} (-h | --help | --help-all)
  {program} COMMAND [(with UPDATE...)] [options]
"""
#: What `USAGE` says, as it is parsed. docopt tries all forms and adds up in the first what repeats in any of them, so
#: options that repeat stand in one form only, behind all that can fail.
GRAMMAR = """\
Usage:
  PROGRAM help [COMMAND]
  PROGRAM (-h | --help | --help-all)
  PROGRAM [(with UPDATE...) | COMMAND [(with UPDATE...)]] [options]{repeated}

Options:
"""
HELP_OPTIONS = (("-h --help", "Show the everyday options."), ("   --help-all", "Show all options."))
ARGUMENTS = """\
Arguments:
  COMMAND   What to run (see below); the main function if none is named.
  UPDATE    A config entry, as PATH=VALUE, or the name of a named config or of a config file.
"""


def run_commandline(experiment: Experiment, argv: str | Sequence[str] | None = None) -> Run | None:
    """Parse a command line and do what it says; the process ends with the exit code that a shell expects.

    Returns
    -------
    Run, or None if only help was asked for

    Raises
    ------
    SystemExit
        With 1 if the run failed, 2 if the command line cannot be understood.
    """
    program, arguments = split_argv(argv)
    debug = pdb = False
    try:
        options, command, updates = parse(experiment, program, arguments)
        debug, pdb = bool(options.get("--debug")), bool(options.get("--pdb"))
        for hook in experiment.option_hooks:
            hook(options=options)
        debug, pdb = bool(options.get("--debug")), bool(options.get("--pdb"))
        if options["--help"] or options["--help-all"]:
            sys.stdout.write(usage_of(experiment, program, everything=options["--help-all"])[1])
            return None
        if options.pop("help"):
            _help(experiment, program, command)
            return None
        for name in ("--help", "--help-all"):
            options.pop(name)
        return _run(experiment, program, options, command, updates)
    except KeyboardInterrupt:
        raise
    except CommandLineError as error:
        if debug:
            raise
        sys.stderr.write(f"{os.path.basename(program)}: {error}\n")
        sys.exit(2)
    except Exception as error:
        if debug:
            raise
        if pdb:
            import pdb as debugger
            import traceback

            traceback.print_exception(type(error), error, error.__traceback__)
            debugger.post_mortem(error.__traceback__)
        else:
            from capture import traces

            if isinstance(error, CaptureError) and error.print_usage:
                sys.stderr.write(usage_of(experiment, program)[0] + "\n")
            if isinstance(error, SacredInterrupt):
                sys.stderr.write(f"{type(error).__name__}: {error}\n" if str(error) else f"{type(error).__name__}\n")
            else:
                traces.show(error)
        sys.exit(1)


def _run(
    experiment: Experiment, program: str, options: dict[str, Any], command: str | None, updates: Sequence[str]
) -> Run:
    from capture.settings import SETTINGS

    config_updates: dict[str, Any] = {}
    named_configs: list[str] = []
    if updates:
        from capture.config.updates import parse_updates

        config_updates, named_configs = parse_updates(updates, strict=SETTINGS.COMMAND_LINE.STRICT_PARSING)
    command = command or experiment.default_command
    if not any(name == command for name, _ in experiment.gather_commands()):
        _refuse_command(experiment, program, command)
    if experiment.overrides_run():
        return experiment.run(command, config_updates, named_configs, info={}, meta_info={}, options=options)
    run = experiment._create_run(
        command, config_updates, named_configs, options=options, update_layer="command line"
    )
    run()
    return run


def _refuse_command(experiment: Experiment, program: str, command: str | None) -> None:
    commands = experiment.get_commands()
    text = usage_of(experiment, program)[0] + "\n"
    if command is None:
        text += "Error: No command found to be run. Specify a command or define a main function."
    else:
        close = suggest(command, [*commands, *[name for name, _ in experiment.gather_named_configs()]])
        text += f'Error: Command "{command}" not found.'
        if "=" in command:
            text += f' To set a config entry, write: {os.path.basename(program)} with "{command}".'
        elif close:
            text += f" Did you mean {close!r}?"
    sys.stdout.write(f"{text} Available commands are: {', '.join(commands)}\n")
    sys.exit(1)


def split_argv(argv: str | Sequence[str] | None) -> tuple[str, list[str]]:
    """Return the program's name and its arguments.

    Raises
    ------
    ValueError
        If `argv` is neither None, nor a string, nor a sequence of strings.
    """
    if argv is None:
        argv = sys.argv
    if isinstance(argv, str):
        import shlex

        argv = shlex.split(argv)
    if not isinstance(argv, (list, tuple)) or not all(isinstance(word, str) for word in argv):
        raise ValueError(f"a command line is a string or a list of strings, got {argv!r}")
    if not argv:
        raise ValueError("a command line begins with the name of the program; got an empty one")
    return argv[0] or "script", list(argv[1:])


def parse(
    experiment: Experiment, program: str, arguments: Sequence[str]
) -> tuple[dict[str, Any], str | None, list[str]]:
    """Return options by long name, the command or None, and the updates.

    Raises
    ------
    CommandLineError
        If the arguments do not fit the usage.
    """
    from capture.commandline_options import defaults_of, options_of

    options = {**defaults_of(experiment), "--help-all": False, "help": False}
    if not arguments:
        return options, None, []  # the usual case pays for no parser
    import docopt

    known = options_of(experiment)
    _refuse_unknown_flags(arguments, known)
    words, folded = _fold_updates(arguments)
    try:
        # positional: docopt-ng renamed its keyword parameters between releases
        parsed = docopt.docopt(_grammar(known), words, False)
    except docopt.DocoptExit as error:
        raise CommandLineError(_explain(arguments, known, experiment)) from error
    if parsed["COMMAND"] == "with":
        raise CommandLineError(_explain(["with"], known, experiment))
    repeated = {option.long for option in known if option.repeats}
    for name in options:
        value = parsed.get(name)
        if value is not None and not (name in repeated and not value):
            options[name] = value
    updates = [update for word in parsed["UPDATE"] for update in folded.get(word, (word,))]
    return options, parsed["COMMAND"], [update for update in updates if update.strip()]


def _fold_updates(arguments: Sequence[str]) -> tuple[list[str], dict[str, list[str]]]:
    """Let one word stand for updates that follow each other: docopt's time grows with the number of words.

    Returns
    -------
    words : list of str
        The arguments, with each row of ``PATH=VALUE`` behind ``with`` replaced by one word.
    folded : dict of str to list of str
        What those words stand for.
    """
    words: list[str] = []
    folded: dict[str, list[str]] = {}
    for word in arguments:
        last = words[-1] if words else None
        is_update = "=" in word and not word.startswith("-")
        if is_update and last in folded:
            folded[last].append(word)
        elif is_update and last == "with":
            words.append(f"\0{len(folded)}")  # no argument of a process contains this character
            folded[words[-1]] = [word]
        else:
            words.append(word)
    return words, folded


def _refuse_unknown_flags(arguments: Sequence[str], options: Sequence[Any]) -> None:
    """Name a slip in a flag, and the flag that was probably meant."""
    flags = ["-h", "--help", "--help-all"]
    flags += [flag for option in options for flag in (option.short, option.long) if flag]
    takes_value = {flag for option in options if not option.is_flag for flag in (option.short, option.long)}
    skip = False
    for place, word in enumerate(arguments):
        if skip:
            skip = False
            continue
        name, _, value = word.partition("=")
        skip = word in takes_value
        if word == "--" or not word.startswith("--") or name in flags:
            continue
        matching = [flag for flag in flags if flag.startswith(name)]
        if len(matching) == 1:
            skip = matching[0] in takes_value and "=" not in word
            continue
        close = matching or [flag for flag in [suggest(name, [each for each in flags if each[:2] == "--"])] if flag]
        if close:
            hint = f" Did you mean {' or '.join(close)}?"
        else:
            after = arguments[place + 1] if place + 1 < len(arguments) else ""
            given = value or ("VALUE" if not after or after == "with" or after[0] == "-" else after)
            hint = f" To set a config entry, write: with {name.lstrip('-')}={given}."
        raise CommandLineError(f"there is no option {name}.{hint} --help-all lists the options.")


def _explain(arguments: Sequence[str], options: Sequence[Any], experiment: Experiment) -> str:
    """Say in one paragraph why the arguments do not fit the usage."""
    shorts = {option.short: option for option in options if option.short}
    longs = {option.long: option for option in options}
    for position, word in enumerate(arguments):
        option = longs.get(word) or shorts.get(word)
        if option is not None and not option.is_flag and position + 1 >= len(arguments):
            return f"the option {word} needs a value: {option.spelling.strip()}"
        flag = longs.get(word.partition("=")[0])
        if flag is not None and flag.is_flag and "=" in word:
            return f"the option {flag.long} takes no value, got {word!r}"
        if len(word) > 1 and word[0] == "-" and word[1] != "-" and word[:2] not in shorts and word[:2] != "-h":
            return f"there is no option {word[:2]}. --help-all lists the options."
    if "with" in arguments and arguments.index("with") + 1 >= len(arguments):
        return "after 'with' comes at least one update: KEY=VALUE, or the name of a named config or config file"
    assignments = [word for word in arguments if "=" in word and not word.startswith("-")]
    if assignments and "with" not in arguments:
        return f"config updates stand behind 'with': with {' '.join(assignments)}"
    doubled = [word for word in dict.fromkeys(arguments) if word.startswith("-") and arguments.count(word) > 1]
    if doubled:
        return f"the option {doubled[0]} is given more than once"
    usage = "[COMMAND] [with UPDATE...] [options]"
    return f"the arguments {' '.join(arguments)!r} do not fit the usage: {usage}. --help says more."


# ---------------------------------------------------------------------------------------------------------------- help


def usage_of(
    experiment: Experiment, program_name: str | None = None, everything: bool = False
) -> tuple[str, str, str]:
    """Return the short usage, the long help, and the text that the command line is parsed by.

    The last holds no text of the user's: a docstring that contains the word "usage:" cannot change how arguments are
    read.
    """
    from capture.commandline_options import options_of

    program = _shown(program_name if program_name is not None else sys.argv[0], experiment.base_dir)
    options = options_of(experiment)
    short = USAGE.format(program=program)
    return short, _long_help(experiment, short, options, everything), _grammar(options)


def _grammar(options: Sequence[Any]) -> str:
    """Return the usage text that docopt parses by."""
    repeated = "".join(f" [{option.long}={option.value}]..." for option in options if option.repeats)
    text = GRAMMAR.format(repeated=repeated)
    text += "".join(f"  {spelling.strip()}\n" for spelling, _ in HELP_OPTIONS)
    return text + "".join(f"  {option.spelling.strip()}\n" for option in options)


def _shown(program: str, base_dir: str) -> str:
    """Return the program's name as the user would type it, relative to the folder of the experiment."""
    if os.path.isabs(program):
        relative = os.path.relpath(program, base_dir)
        return program if relative.startswith("..") else relative
    return program


def _long_help(experiment: Experiment, short: str, options: Sequence[Any], everything: bool) -> str:
    from capture.settings import SETTINGS

    doc = (experiment.doc or "").strip()
    if not SETTINGS.COMMAND_LINE.SHOW_DISABLED_OPTIONS:
        options = [option for option in options if not option.is_disabled]
    shown = [option for option in options if everything or option.everyday or option.stock is None]
    rows = [*HELP_OPTIONS, *((option.spelling, option.help) for option in shown)]
    parts = [doc + "\n" if doc else "", short, "Options:\n" + _table(rows)]
    if not everything:
        parts[-1] += "  (--help-all shows " + str(len(options) - len(shown)) + " more)\n"
    parts.append(ARGUMENTS)
    commands = [(name, _first_line(function)) for name, function in experiment.get_commands().items()]
    parts.append("Commands:\n" + _table(commands))
    named = [(name, _doc_of_source(source)) for name, source in experiment.gather_named_configs()]
    if named:
        parts.append("Named configs:\n" + _table(named))
    return "\n".join(part for part in parts if part)


def _table(rows: Sequence[tuple[str, str]]) -> str:
    import textwrap

    width = max(len(left) for left, _ in rows)
    lines = []
    for left, right in rows:
        wrapped = textwrap.wrap(right, 98 - width) or [""]
        lines.append(f"  {left:<{width}}  {wrapped[0]}".rstrip())
        lines += [" " * (width + 4) + line for line in wrapped[1:]]
    return "\n".join(lines) + "\n"


def _first_line(function: Any) -> str:
    lines = (function.__doc__ or "").strip().splitlines()
    return lines[0].strip() if lines else ""


def _doc_of_source(source: Any) -> str:
    doc = getattr(source, "docs", {}).get("__doc__") or ""
    return " ".join(str(doc).split())


def _help(experiment: Experiment, program: str, command: str | None) -> None:
    if command is None:
        sys.stdout.write(usage_of(experiment, program)[1])
        return
    commands = experiment.get_commands()
    if command not in commands:
        _refuse_command(experiment, program, command)
    import inspect

    function = commands[command]
    sys.stdout.write(f"{command}{inspect.signature(function)}\n")
    doc = inspect.getdoc(function)
    if doc:
        sys.stdout.write("".join(f"    {line}\n" if line else "\n" for line in doc.splitlines()))
