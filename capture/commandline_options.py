"""Options of an experiment's command line, and `cli_option`, which makes more of them."""

from __future__ import annotations

from capture.errors import CommandLineError, ObserverError, suggest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from capture.experiment import Experiment
    from capture.run import Run

LEVELS = {"CRITICAL": 50, "FATAL": 50, "ERROR": 40, "WARN": 30, "WARNING": 30, "INFO": 20, "DEBUG": 10, "NOTSET": 0}


class CommandLineOption:
    """An option: a function ``(args, run)`` that acts on a run before it starts, and how it is spelled.

    Attributes
    ----------
    short : str or None
        ``"-f"``.
    long : str
        ``"--force"``; the key of its value in the options.
    is_flag : bool
        Without a value of its own.
    value : str
        What the help calls the value.
    repeats : bool
        May be given several times; the value is then a list.
    everyday : bool
        Shown by ``--help``; the rest is shown by ``--help-all``.
    stock : {"sacred", "ours", None}
        Who defined it; None: the user.
    """

    def __init__(
        self,
        function: Callable[[Any, Run], None],
        short: str | None,
        long: str,
        is_flag: bool = False,
        value: str = "VALUE",
        repeats: bool = False,
        everyday: bool = False,
        stock: str | None = None,
    ) -> None:
        self.function = function
        self.short, self.long, self.is_flag, self.value = short, long, is_flag, value
        self.repeats, self.everyday, self.stock = repeats, everyday, stock
        self.__name__ = getattr(function, "__name__", long)
        self.__doc__ = function.__doc__

    def __call__(self, args: Any, run: Run) -> None:
        self.function(args, run)

    @property
    def spelling(self) -> str:
        """How the help writes it: ``-c --comment=VALUE``."""
        long = self.long if self.is_flag else f"{self.long}={self.value}"
        return f"{self.short} {long}" if self.short else f"   {long}"

    @property
    def help(self) -> str:
        """The function's docstring as one line."""
        return " ".join((self.__doc__ or "").split())

    @property
    def is_disabled(self) -> bool:
        """Whether it needs a store whose driver is not installed."""
        driver = getattr(self.function, "driver", None)
        if driver is None:
            return False
        from importlib.util import find_spec

        return find_spec(driver) is None

    def __repr__(self) -> str:
        return f"<CommandLineOption {self.spelling.strip()}>"


def cli_option(
    short_flag: str, long_flag: str, is_flag: bool = False
) -> Callable[[Callable[[Any, Any], None]], CommandLineOption]:
    """Make a function ``(args, run)`` an option of the command line; its docstring is the help.

    Parameters
    ----------
    short_flag : str
        One dash and one letter.
    long_flag : str
        Two dashes and a name.
    is_flag : bool
        Whether it has no value. `args` is then True, else the value as a string.

    Raises
    ------
    ValueError
        If a flag is malformed.
    """
    import re

    if not re.fullmatch(r"-[A-Za-z0-9]", short_flag or ""):
        raise ValueError(f"a short flag is one dash and one letter, like '-x'; got {short_flag!r}")
    if not re.fullmatch(r"--[A-Za-z0-9][\w-]+", long_flag or ""):
        raise ValueError(f"a long flag is two dashes and a name, like '--extra'; got {long_flag!r}")

    def decorate(function: Callable[[Any, Any], None]) -> CommandLineOption:
        return CommandLineOption(function, short_flag, long_flag, is_flag)

    return decorate


# ----------------------------------------------------------------------------------------------------- what they do


def _debug(args: Any, run: Run) -> None:
    """Show the whole traceback of an error, this library's frames included."""
    run.debug = True


def _pdb(args: Any, run: Run) -> None:
    """Open the debugger where an error was raised."""
    run.pdb = True


def _loglevel(args: Any, run: Run) -> None:
    """Set the level of the log: a name (DEBUG, INFO, WARNING, ERROR) or a number."""
    run.root_logger.setLevel(parse_loglevel(args))


def _comment(args: Any, run: Run) -> None:
    """Keep a comment with the run."""
    run.meta_info["comment"] = args


def _beat_interval(args: Any, run: Run) -> None:
    """Seconds between heartbeats; 0 for none but the last."""
    run.beat_interval = _number("--beat-interval", args)


def _unobserved(args: Any, run: Run) -> None:
    """Do not record this run."""
    run.unobserved = True


def _queue(args: Any, run: Run) -> None:
    """Describe the run to the observers and do not start it."""
    run.queue_only = True


def _force(args: Any, run: Run) -> None:
    """Do not check config updates for slips."""
    run.force = True


def _priority(args: Any, run: Run) -> None:
    """Keep a priority with a queued run."""
    run.meta_info["priority"] = _number("--priority", args)


def _enforce_clean(args: Any, run: Run) -> None:
    """Refuse to run if the sources are in no git repository, or have uncommitted changes."""
    repositories = run.experiment_info.get("repositories", [])
    if not repositories:
        raise CommandLineError(
            "--enforce_clean: none of the sources lies in a git repository that can be read, so nothing says whether"
            " they are committed.\n  what can be done:  commit them to a repository, or leave the option out"
        )
    empty = [str(repository.get("url")) for repository in repositories if repository.get("commit") is None]
    if empty:
        raise CommandLineError(
            f"--enforce_clean: nothing has been committed yet in {', '.join(empty)}."
            "\n  what can be done:  commit the sources, or leave the option out"
        )
    unknown = [str(repository.get("url")) for repository in repositories if repository.get("dirty") is None]
    if unknown:
        raise CommandLineError(
            f"--enforce_clean: git does not say whether there are uncommitted changes in {', '.join(unknown)}."
            "\n  what can be done:  see whether `git status` works there within SETTINGS.GIT.TIMEOUT_S"
        )
    dirty = [str(repository.get("url")) for repository in repositories if repository.get("dirty")]
    if dirty:
        raise CommandLineError(
            f"--enforce_clean: uncommitted changes in {', '.join(dirty)}.\n  what can be done:  commit or stash them"
        )


def _print_config(args: Any, run: Run) -> None:
    """Print the configuration before the run."""
    from capture.commands import print_run_config

    print_run_config(run)


def _id(args: Any, run: Run) -> None:
    """The id that the run shall have."""
    run._id = args


def _name(args: Any, run: Run) -> None:
    """The name under which the experiment is recorded."""
    run.experiment_info["name"] = args


def _capture(args: Any, run: Run) -> None:
    """How output is captured: no, sys or fd."""
    if args not in ("no", "sys", "fd"):
        raise CommandLineError(f"--capture is one of no, sys, fd; got {args!r}")
    run.capture_mode = args


def _file_storage(args: Any, run: Run) -> None:
    """Record to a folder of files."""
    _observe([args], run)


def _observe(args: Any, run: Run) -> None:
    """Record to the store at this URL, or in this folder; may be given several times."""
    from capture.registry import make_observer

    for url in args:
        try:
            run.observers.append(make_observer(url))
        except (ObserverError, ValueError) as error:
            raise CommandLineError(str(error)) from error


def _tag(args: Any, run: Run) -> None:
    """Tag the run; may be given several times."""
    run.tags += [tag for tag in args if tag not in run.tags]


def _to_store(flag: str, scheme: str, what: str, driver: str | None) -> Callable[[Any, Run], None]:
    """Return the function of one of Sacred's options for a store; `driver` is the module that it needs."""

    def option(args: Any, run: Run) -> None:
        from capture.registry import observer_class

        try:
            run.observers.append(observer_class(f"{scheme}://").from_argument(args))
        except (ObserverError, ValueError) as error:
            raise CommandLineError(f"{flag}: {error}") from error

    option.__doc__ = f"Record to {what}."
    option.__name__ = f"_{scheme}"
    option.driver = driver  # type: ignore[attr-defined]
    return option


def parse_loglevel(text: Any) -> int:
    """Return the number of a log level given by name or number."""
    name = str(text).strip().upper()
    if name in LEVELS:
        return LEVELS[name]
    try:
        return int(name)
    except ValueError:
        raise CommandLineError(f"--loglevel is a number or one of {', '.join(LEVELS)}; got {text!r}") from None


def _number(flag: str, text: Any) -> float:
    try:
        return float(text)
    except (TypeError, ValueError):
        raise CommandLineError(f"{flag} is a number, got {text!r}") from None


#: The options that every experiment has. `-h` is the parser's own.
STOCK = [
    CommandLineOption(_unobserved, "-u", "--unobserved", True, everyday=True, stock="sacred"),
    CommandLineOption(_observe, "-o", "--observe", value="URL", repeats=True, everyday=True, stock="ours"),
    CommandLineOption(_file_storage, "-F", "--file_storage", value="FOLDER", stock="sacred"),
    CommandLineOption(_print_config, "-p", "--print-config", True, everyday=True, stock="sacred"),
    CommandLineOption(_comment, "-c", "--comment", value="TEXT", everyday=True, stock="sacred"),
    CommandLineOption(_tag, None, "--tag", value="TAG", repeats=True, everyday=True, stock="ours"),
    CommandLineOption(_name, "-n", "--name", value="NAME", everyday=True, stock="sacred"),
    CommandLineOption(_id, "-i", "--id", value="ID", stock="sacred"),
    CommandLineOption(_force, "-f", "--force", True, everyday=True, stock="sacred"),
    CommandLineOption(_enforce_clean, "-e", "--enforce_clean", True, everyday=True, stock="sacred"),
    CommandLineOption(_debug, "-d", "--debug", True, everyday=True, stock="sacred"),
    CommandLineOption(_pdb, "-D", "--pdb", True, everyday=True, stock="sacred"),
    CommandLineOption(_loglevel, "-l", "--loglevel", value="LEVEL", everyday=True, stock="sacred"),
    CommandLineOption(_capture, "-C", "--capture", value="MODE", stock="sacred"),
    CommandLineOption(_beat_interval, "-b", "--beat-interval", value="SECONDS", stock="sacred"),
    CommandLineOption(_queue, "-q", "--queue", True, stock="sacred"),
    CommandLineOption(_priority, "-P", "--priority", value="NUMBER", stock="sacred"),
    CommandLineOption(_to_store("-m", "mongodb", "MongoDB", "pymongo"), "-m", "--mongo_db", value="DB", stock="sacred"),
    CommandLineOption(_to_store("-s", "sql", "a database", "sqlalchemy"), "-s", "--sql", value="URL", stock="sacred"),
    CommandLineOption(_to_store("-t", "tinydb", "TinyDB", None), "-t", "--tiny_db", value="FOLDER", stock="sacred"),
    CommandLineOption(_to_store("-S", "s3", "an S3 bucket", "s3fs"), "-S", "--s3", value="URL", stock="sacred"),
]
_STORES = frozenset({"--observe", "--file_storage", "--mongo_db", "--sql", "--tiny_db", "--s3"})


# ----------------------------------------------------------------------------------------------- those of an experiment


def options_of(experiment: Experiment) -> list[CommandLineOption]:
    """Return the options of an experiment's command line.

    A user's option takes a flag away from one that only this library has, never from one that Sacred has.

    Raises
    ------
    ValueError
        If a user's option spells a flag that Sacred has, or two options spell one flag.
    """
    own = [_as_option(option) for option in experiment.additional_cli_options]
    taken: dict[str, CommandLineOption] = {}
    for option in own:
        for flag in (option.short, option.long):
            if flag and flag in taken:
                raise ValueError(f"two options are spelled {flag}: {taken[flag].__name__} and {option.__name__}")
            if flag:
                taken[flag] = option
    stock = []
    for option in STOCK:
        clash = [flag for flag in (option.short, option.long) if flag in taken]
        if clash and option.stock == "sacred":
            name = taken[clash[0]].__name__
            raise ValueError(f"{clash[0]} is taken by {option.long}; the option {name} needs another")
        if option.long in clash:
            continue
        stock.append(option if not clash else _without_short(option))
    for flag in ("-h", "--help", "--help-all"):
        if flag in taken:
            raise ValueError(f"{flag} shows the help; the option {taken[flag].__name__} needs another flag")
    return own + stock


def _as_option(option: Any) -> CommandLineOption:
    if isinstance(option, CommandLineOption):
        return option
    raise ValueError(f"an option of the command line is made by @cli_option, got {option!r}")


def _without_short(option: CommandLineOption) -> CommandLineOption:
    return CommandLineOption(
        option.function, None, option.long, option.is_flag, option.value, option.repeats, option.everyday, option.stock
    )


def defaults_of(experiment: Experiment) -> dict[str, Any]:
    """Return all options by long name, as they are when nobody sets them."""
    return {"--help": False} | {o.long: False if o.is_flag else None for o in options_of(experiment)}


def apply(experiment: Experiment, chosen: Mapping[str, Any], run: Run) -> None:
    """Call the functions of the chosen options, sorted by their names.

    Raises
    ------
    CommandLineError
        If there is no such option, or its value is malformed.
    """
    known = {option.long: option for option in options_of(experiment)}
    for name in chosen:
        if name not in known and name not in ("--help", "--help-all"):
            close = suggest(name, known)
            hint = f" Did you mean {close}?" if close else ""
            raise CommandLineError(f"there is no option {name!r}.{hint} The options are: {', '.join(sorted(known))}")
    for option in sorted(known.values(), key=lambda option: option.__name__):
        value = chosen.get(option.long)
        if value == "" and option.long in _STORES:
            raise CommandLineError(f"{option.long} names a store, and its value is empty: is a variable not set?")
        if value:
            option([value] if option.repeats and isinstance(value, str) else value, run)
