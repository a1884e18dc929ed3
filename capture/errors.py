"""Every exception that `capture` raises on purpose.

::

    CaptureError                        (SacredError is the same class)
    ├── ConfigError                     a value, key or source of the configuration
    │   ├── InvalidConfigError          for users to raise: this combination of values makes no sense
    │   ├── MissingConfigError          a captured function lacks values           (also TypeError)
    │   ├── ConfigAddedError            an update names an entry that nothing reads (also KeyError)
    │   ├── NamedConfigNotFoundError    no named config and no file of that name   (also KeyError)
    │   ├── InvalidConfigKey            a key that cannot be stored                (also KeyError)
    │   ├── ConfigTypeError             a value of the wrong type for its entry    (also TypeError, ValueError)
    │   ├── ConfigScopeError            a function that cannot be a config scope   (also TypeError)
    │   │   └── ConfigScopeSyntaxError  ... because it yields or awaits            (also SyntaxError)
    │   ├── ScopeParameterError         a config scope asks for an unknown entry   (also KeyError)
    │   ├── MaskedConfigError           an entry is a mask, where a secret was     (also ValueError)
    │   └── ConfigFileError             a config file cannot be read               (also ValueError)
    ├── ReadOnlyConfigError             a captured function changed its config     (also TypeError)
    ├── CircularDependencyError         an ingredient contains itself
    ├── SignatureError                  a captured function was called wrongly     (also TypeError)
    ├── CommandLineError                an option or argument is malformed         (also ValueError)
    ├── SettingError                    no such setting, or a value it cannot have (also KeyError, ValueError)
    ├── ObserverError                   an observer cannot do what it was asked
    │   ├── HookError                   a hook declares an argument nobody passes  (also TypeError)
    │   ├── RequiredObserverError       an observer added as required cannot start
    │   └── StoreNotFoundError          nothing lies where a store is to be read   (also FileNotFoundError)
    ├── NoRunError                      there is no run for what needs one (also RuntimeError, AttributeError)
    ├── AmbiguousRunError               several runs are live and none is this context's (also RuntimeError)
    ├── RecordError                     a stored record cannot be read             (also ValueError)
    ├── RestoringError                  a recorded state cannot be rebuilt there   (also OSError)
    ├── SpoolError                      the bytes of a file cannot be kept         (also OSError)
    └── RunNotFoundError                no such run in the store                   (also KeyError)

    SacredInterrupt                     raise it to end a run with a status of your own
    └── TimeoutInterrupt                the run took too long (status TIMEOUT)

Each carries its facts as attributes, says what went wrong, where, what was possible and what to do, and survives
pickling, so that it crosses process boundaries.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any


def suggest(word: object, possible: Iterable[object], cutoff: float | None = None) -> str | None:
    """Return the entry of `possible` that `word` is probably a slip of, or None.

    Parameters
    ----------
    word : object
    possible : iterable of object
    cutoff : float, optional
        How like it the entry is at least, from 0 to 1. Of short words more is asked: half of their letters are in many.

    Examples
    --------
    >>> suggest("FAILD", ["FAILED", "TIMEOUT"]), suggest("IMPORT", ["FAILED", "TIMEOUT"]), suggest("LR", ["lr"])
    ('FAILED', None, 'lr')
    """
    import difflib

    text, entries = str(word), [str(entry) for entry in possible]
    if cutoff is None:
        cutoff = 0.7 if len(text) < 8 else 0.6
    close = difflib.get_close_matches(text, entries, n=1, cutoff=cutoff)
    if close:
        return close[0]
    lower = {entry.lower(): entry for entry in reversed(entries)}
    return lower.get(text.lower())


def is_short_for(one: str, other: str) -> bool:
    """Say whether one name is made of the first letters of the other: ``lr`` and ``learning_rate``."""
    first = ["".join(part[:1] for part in name.split("_")) if "_" in name else "" for name in (one, other)]
    return one == first[1] or other == first[0]


class CaptureError(Exception):
    """Base of the library's errors; says how the command line should show it.

    Parameters
    ----------
    message : str
        What, where, what was possible, what to do.
    print_traceback : bool
        Whether the command line shows a traceback, or the message alone.
    filter_traceback : {"default", "always", "never"}
        Whether frames of this library are left out of that traceback.
    print_usage : bool
        Whether the command line prints its short usage first.
    """

    def __init__(
        self,
        message: object = "",
        print_traceback: bool = True,
        filter_traceback: str = "default",
        print_usage: bool = False,
    ) -> None:
        super().__init__(message)
        if filter_traceback not in ("default", "always", "never"):
            raise ValueError(
                f"filter_traceback is 'default', 'always' or 'never', got {filter_traceback!r}"
            )
        self.print_traceback = print_traceback
        self.filter_traceback = filter_traceback
        self.print_usage = print_usage

    def __reduce__(self) -> tuple[Any, ...]:
        # The default calls the class with `args`, which subclasses that build their message cannot take.
        return (_rebuild, (type(self), self.args, self.__dict__.copy()))

    def __str__(self) -> str:
        # KeyError would show repr(message), which turns a paragraph into one line with \n in it.
        return str(self.args[0]) if self.args else ""


def _rebuild(cls: type[CaptureError], args: tuple[object, ...], state: dict[str, Any]) -> CaptureError:
    error = cls.__new__(cls)
    error.args = args
    error.__dict__.update(state)
    return error


class ConfigError(CaptureError):
    """A value, key or source of the configuration is wrong.

    Parameters
    ----------
    message : str
    conflicting_configs : str or sequence of str
        Dotted paths of the entries that clash.
    print_conflicting_configs : bool
        Whether the values of those entries are listed under the message.
    config : dict, optional
        The configuration in which they clash; attached by the library when the error passes through it.
    """

    def __init__(
        self,
        message: object = "",
        conflicting_configs: str | Iterable[str] = (),
        print_conflicting_configs: bool = True,
        print_traceback: bool = False,
        filter_traceback: str = "default",
        print_usage: bool = False,
        config: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(message, print_traceback, filter_traceback, print_usage)
        self.conflicting_configs: tuple[str, ...] = (
            (conflicting_configs,) if isinstance(conflicting_configs, str) else tuple(conflicting_configs)
        )
        self.print_conflicting_configs = print_conflicting_configs
        self.config = config

    def __str__(self) -> str:
        text = super().__str__()
        if not self.print_conflicting_configs or self.config is None:
            return text
        lines = [f"  {path}={_lookup(self.config, path)!r}" for path in self.conflicting_configs]
        return "\n".join([text, "Conflicting configuration values:", *lines]) if lines else text


def _lookup(config: dict[str, Any], path: str) -> object:
    value: Any = config
    for part in path.split("."):
        if not isinstance(value, dict) or part not in value:
            return "<missing>"
        value = value[part]
    return value


class InvalidConfigError(ConfigError):
    """For users: raise it when a combination of config values makes no sense."""


class MissingConfigError(ConfigError, TypeError):
    """A captured function was called and some of its parameters have no value.

    Attributes
    ----------
    missing_configs : tuple of str
        Names of the parameters without a value.
    """

    def __init__(self, message: object = "", missing_configs: Iterable[str] = (), **kwargs: Any) -> None:
        kwargs.setdefault("print_usage", True)
        super().__init__(message, **kwargs)
        self.missing_configs = tuple(missing_configs)


class ConfigAddedError(ConfigError, KeyError):
    """A config update names an entry that nothing declares and nothing reads.

    Attributes
    ----------
    key : str
        Dotted path of the entry.
    layer : str
        Who set it ("command line", "config_updates", ...).
    known : tuple of str
        Entries that exist.
    suggestion : str or None
        The entry it is probably a slip of.
    """

    #: parameters of captured functions that no entry fills
    SPECIAL_ARGS = frozenset({"_config", "_log", "_rnd", "_run", "_seed", "__doc__", "config_filename"})

    def __init__(
        self,
        key: str,
        layer: str = "config update",
        known: Iterable[str] = (),
        suggestion: str | None = None,
        **kwargs: Any,
    ) -> None:
        self.key, self.layer, self.known = key, layer, tuple(sorted(known))
        self.suggestion = suggestion or suggest(key, self.known)
        lines = [f"config entry {key!r}, set by the {layer}, is read by nothing."]
        if self.suggestion:
            lines.append(f"  did you mean:   {self.suggestion}")
        if self.known:
            more = f", and {len(self.known) - 20} more" if len(self.known) > 20 else ""
            lines.append(f"  known entries:  {', '.join(self.known[:20])}{more}")
        lines.append("  to add it:      declare it in a config scope, or pass --force")
        super().__init__("\n".join(lines), **kwargs)


class NamedConfigNotFoundError(ConfigError, KeyError):
    """Neither a named config nor a config file has this name."""

    def __init__(self, name: str, known: Iterable[str] = (), **kwargs: Any) -> None:
        self.name, self.known = name, tuple(sorted(known))
        self.suggestion = suggest(name, self.known)
        lines = [f"there is no named config and no config file called {name!r}."]
        if self.suggestion:
            lines.append(f"  did you mean:   {self.suggestion}")
        lines.append(f"  named configs:  {', '.join(self.known) or 'none'}")
        lines.append("  to set a value: KEY=VALUE")
        kwargs.setdefault("print_usage", False)
        super().__init__("\n".join(lines), **kwargs)


class InvalidConfigKey(ConfigError, KeyError):
    """A config key that cannot be stored, or that the settings forbid.

    Attributes
    ----------
    path : str
        Dotted path of the key.
    rule : str
        What a key may not be.
    setting : str or None
        The setting that lifts the rule, if one does.
    """

    def __init__(
        self, message: object = "", path: str = "", rule: str = "", setting: str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(message, **kwargs)
        self.path, self.rule, self.setting = path, rule, setting


class ConfigTypeError(ConfigError, TypeError, ValueError):
    """A value that its typed entry cannot take.

    Attributes
    ----------
    path : str
        Dotted path of the entry.
    """

    def __init__(self, path: str, message: str, **kwargs: Any) -> None:
        self.path = path
        super().__init__(f"{path}: {message}" if path else message, **kwargs)


class ConfigScopeError(ConfigError, TypeError):
    """A function that cannot be a config scope, or that returned something that is not a config."""


class ConfigScopeSyntaxError(ConfigScopeError, SyntaxError):
    """A function that cannot be a config scope because it is a generator or a coroutine."""

    @property
    def msg(self) -> str:  # type: ignore[override]
        # What tracebacks print of a SyntaxError; the builtin's own is lost in pickling.
        return str(self)


class ScopeParameterError(ConfigError, KeyError):
    """A config scope names an entry as its parameter, and nothing provides that entry.

    Attributes
    ----------
    parameter : str
    available : tuple of str
        Entries that the scope may name.
    suggestion : str or None
        The entry that the parameter is probably a slip of.
    """

    def __init__(self, parameter: str, scope: object, available: Iterable[str] = (), **kwargs: Any) -> None:
        self.parameter, self.available = parameter, tuple(sorted(available))
        self.suggestion = suggest(parameter, self.available)
        lines = [f"{scope} takes the entry {parameter!r}, which nothing declares before it."]
        if self.suggestion:
            lines.append(f"  did you mean:  {self.suggestion}")
        lines.append(f"  available:     {', '.join(self.available) or 'nothing'}")
        lines.append(
            "  what to do:    declare it in an earlier config scope, give the parameter a default,"
            f" or pass {parameter}=VALUE"
        )
        super().__init__("\n".join(lines), **kwargs)


class MaskedConfigError(ConfigError, ValueError):
    """A configuration was taken from a record, in which secrets are masked, and a run cannot do with the masks.

    So it is with a run that was queued, too: its record has the masks, and who runs it gives the values again.

    Attributes
    ----------
    paths : tuple of str
        Dotted paths of the masked entries.
    """

    def __init__(self, paths: Iterable[str] = (), **kwargs: Any) -> None:
        self.paths = tuple(paths)
        super().__init__(
            "the configuration comes from a record, in which secrets are masked, and holds masks in place of values."
            f"\n  masked entries:     {', '.join(self.paths)}"
            f"\n  to give the values: with {' '.join(f'{path}=VALUE' for path in self.paths)}",
            **kwargs,
        )


class ConfigFileError(ConfigError, ValueError):
    """A config file that cannot be read, or holds something that is not configuration.

    Attributes
    ----------
    file : str or None
    line, column : int or None
        Where it fails to parse, both counted from 1.
    """

    def __init__(
        self,
        message: object = "",
        file: str | None = None,
        line: int | None = None,
        column: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(message, **kwargs)
        self.file, self.line, self.column = file, line, column


class ReadOnlyConfigError(CaptureError, TypeError):
    """The configuration is read-only inside captured functions.

    Attributes
    ----------
    operation : str
        What was refused ("append to", "set a key of", ...).
    """

    def __init__(self, message: object = "", operation: str = "", **kwargs: Any) -> None:
        super().__init__(message, **kwargs)
        self.operation = operation


class CircularDependencyError(CaptureError):
    """An ingredient contains itself."""

    def __init__(self, path: Iterable[str] = (), **kwargs: Any) -> None:
        self.path = tuple(path)
        kwargs.setdefault("print_traceback", False)
        super().__init__("ingredients contain each other: " + "->".join(self.path), **kwargs)


class SignatureError(CaptureError, TypeError):
    """A captured function was called with arguments that it does not take."""


class CommandLineError(CaptureError, ValueError):
    """An option or argument on a command line is malformed."""

    def __init__(self, message: object = "", **kwargs: Any) -> None:
        kwargs.setdefault("print_traceback", False)
        super().__init__(message, **kwargs)


class SettingError(CaptureError, KeyError, ValueError):
    """There is no such setting, or it cannot have this value."""

    def __init__(self, message: object = "", **kwargs: Any) -> None:
        kwargs.setdefault("print_traceback", False)  # it was made in a file or a variable, which the message names
        super().__init__(message, **kwargs)


class ObserverError(CaptureError):
    """An observer cannot do what it was asked to do."""


class PartlyStoredError(ObserverError):
    """Raised by `RunObserver.flush` when all is stored but some events, which the store does not take.

    They are set aside as missed, as if their own hooks had raised; the others count as stored.

    Attributes
    ----------
    refused : dict
        ``(uid, writer)`` of a run -> the seqs of its events.
    """

    def __init__(self, message: str, refused: dict[tuple[str, str], list[int]] | None = None) -> None:
        super().__init__(message)
        self.refused = refused or {}

    def __reduce__(self) -> Any:
        return type(self), (str(self), self.refused)


class HookError(ObserverError, TypeError):
    """A hook of an observer declares an argument that is never passed to it.

    Attributes
    ----------
    observer, hook, argument : str
    known : tuple of str
        Arguments that this hook may declare.
    """

    def __init__(self, observer: str, hook: str, argument: str, known: Iterable[str] = ()) -> None:
        self.observer, self.hook, self.argument, self.known = observer, hook, argument, tuple(known)
        close = suggest(argument, self.known)
        hint = f"\n  did you mean: {close}" if close else ""
        super().__init__(
            f"{observer}.{hook} declares the argument {argument!r}, which no run passes to it.{hint}"
            f"\n  it may take:  {', '.join(self.known)}"
            f"\n  or:           give {argument!r} a default value, or take **kwargs"
        )


class RequiredObserverError(ObserverError):
    """An observer that was added with ``required=True`` cannot start, so the run did not."""

    def __init__(self, message: object = "", **kwargs: Any) -> None:
        kwargs.setdefault("print_traceback", False)
        super().__init__(message, **kwargs)


class StoreNotFoundError(ObserverError, FileNotFoundError):
    """Nothing lies where a store is to be read."""


class NoRunError(CaptureError, RuntimeError, AttributeError):
    """Something that belongs to a run was used while none is live."""


class AmbiguousRunError(CaptureError, RuntimeError):
    """Several runs are live, and this thread belongs to none of them."""


class RecordError(CaptureError, ValueError):
    """A stored record or journal cannot be read."""


class RestoringError(CaptureError, OSError):
    """A recorded state cannot be rebuilt in the folder that was named."""


class SpoolError(CaptureError, OSError):
    """The bytes of a file cannot be kept until they are stored: the disk is full, say, or read-only."""


class RunNotFoundError(CaptureError, KeyError):
    """The store holds no such run."""


class SacredInterrupt(Exception):
    """Raise a subclass of it to end a run with the status named in `STATUS`."""

    STATUS = "INTERRUPTED"


class TimeoutInterrupt(SacredInterrupt):
    """The run took longer than it may."""

    STATUS = "TIMEOUT"


SacredError = CaptureError


class RunOverError(CaptureError, RuntimeError):
    """Something that was found out beside a run came when the run was over, and is not recorded."""
