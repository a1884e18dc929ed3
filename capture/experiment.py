"""`Experiment`: decorated functions become commands whose runs are recorded."""

from __future__ import annotations

import os
import sys

from capture import context
from capture.errors import NoRunError
from capture.ingredient import Ingredient, globals_of_maker
from capture.run import current_run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import Any, TypeVar

    from capture.run import Run

    R = TypeVar("R")
    T = TypeVar("T")


class Experiment(Ingredient):
    """The centre of a script: configuration, commands, and the observers that are told about runs.

    Parameters
    ----------
    name : str, optional
        Default: the name of the file that calls this constructor, without its ending.
    ingredients : sequence of Ingredient
    interactive : bool
        Say that it is defined where there is no file; detected by itself, kept for Sacred's users.
    base_dir : str, optional
        See `Ingredient`.
    additional_host_info : sequence
        Functions made by `capture.host_info_gatherer`.
    additional_cli_options : sequence
        Functions made by `capture.cli_option`.
    save_git_info : bool
        Whether the repository of the sources is looked up.
    observers : sequence of RunObserver or URL, optional
        None: the default store, ``SETTINGS.STORE``. An empty list: none. A relative path is meant from the folder that
        is current when it is given here, or added to `observers`.

    Raises
    ------
    RuntimeError
        If there is no name and no file to take it from.

    Attributes
    ----------
    additional_probes : list of Probe
        Asked for facts beside each run, as those are that installed packages declare.
    """

    def __init__(
        self,
        name: str | None = None,
        ingredients: Sequence[Ingredient] = (),
        interactive: bool = False,
        base_dir: str | os.PathLike[str] | None = None,
        additional_host_info: Sequence[Any] | None = None,
        additional_cli_options: Sequence[Any] | None = None,
        save_git_info: bool = True,
        observers: Sequence[Any] | None = None,
        *,
        _caller_globals: dict[str, Any] | None = None,
    ) -> None:
        caller_globals = globals_of_maker(self) if _caller_globals is None else _caller_globals
        if name is None:
            file = caller_globals.get("__file__")
            if interactive or not file:
                raise RuntimeError(
                    "name is required in interactive mode: there is no file to take one from. Experiment('a name')"
                )
            name = os.path.splitext(os.path.basename(file))[0]
        super().__init__(
            name,
            ingredients,
            interactive=interactive,
            _caller_globals=caller_globals,
            base_dir=base_dir,
            save_git_info=save_git_info,
        )
        self.default_command: str | None = None
        self.observers = ObserverList(observers or ())
        self.records_by_default = observers is None
        self.option_hooks: list[Callable[..., Any]] = []
        self.captured_out_filter: Callable[[str], str] | None = None
        self.logger: Any = None
        self.current_run: Run | None = None
        self.additional_host_info = list(additional_host_info or [])
        self.additional_cli_options = list(additional_cli_options or [])
        self.additional_probes: list[Any] = []

    # ------------------------------------------------------------------------------------------------------ decorators

    def main(self, function: Callable[..., R]) -> Callable[..., R]:
        """Make a function the command that runs when none is named."""
        captured = self.command(function)
        self.default_command = captured.__name__
        return captured

    def automain(self, function: Callable[..., R]) -> Callable[..., R]:
        """Make a function the default command, and run the command line if its file is the script that was started.

        It must be the last thing in the file: what stands below it does not exist yet when it runs.

        Raises
        ------
        RuntimeError
            In a notebook or at the interactive prompt, where there is no command line to run.
        """
        captured = self.main(function)
        if function.__module__ == "__main__":
            if _at_a_prompt():
                raise RuntimeError(
                    "automain would run the command line of the interactive session."
                    " Use @ex.main, and run the experiment with ex.run()"
                )
            self.run_commandline()
        return captured

    def option_hook(self, function: T) -> T:
        """Call a function with the options of the command line before a run is made; it may change flags.

        Raises
        ------
        KeyError
            If it has no parameter called ``options``.
        """
        code = function.__code__  # type: ignore[attr-defined]
        if "options" not in code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]:
            raise KeyError("an option hook has a parameter called 'options'")
        self.option_hooks.append(function)  # type: ignore[arg-type]
        return function

    # ---------------------------------------------------------------------------------------------------------- running

    def run(
        self,
        command_name: str | None = None,
        config_updates: Mapping[str, Any] | None = None,
        named_configs: str | Sequence[str] = (),
        info: dict[str, Any] | None = None,
        meta_info: dict[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
        *,
        tags: Sequence[str] = (),
    ) -> Run:
        """Run a command and return its `Run`.

        Parameters
        ----------
        command_name : str, optional
            Default: the main function.
        config_updates : mapping, optional
            Entries to set, nested or by dotted path.
        named_configs : str or sequence of str
            Named configs or config files, in the order they apply.
        info : dict, optional
            First contents of ``_run.info``.
        meta_info : dict, optional
            Kept with the run.
        options : mapping, optional
            Options of the command line by long name: ``{"--name": "x", "--force": True}``.
        tags : sequence of str

        Raises
        ------
        RuntimeError
            If no command is named and there is no main function.
        KeyError
            If there is no such command or ingredient.
        """
        run = self._create_run(command_name, config_updates, named_configs, info, meta_info, options, tags=tags)
        run()
        return run

    def overrides_run(self) -> bool:
        """Say whether a framework's class does something around each run: then the command line goes through it."""
        return type(self).run is not Experiment.run

    def _create_run(
        self,
        command_name: str | None = None,
        config_updates: Mapping[str, Any] | None = None,
        named_configs: str | Sequence[str] = (),
        info: dict[str, Any] | None = None,
        meta_info: dict[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
        *,
        tags: Sequence[str] = (),
        update_layer: str = "config_updates",
    ) -> Run:
        from capture.assembly import create_run

        command_name = command_name or self.default_command
        if command_name is None:
            raise RuntimeError(
                "There is no command to run: decorate a function with @ex.main, or name one of: "
                + ", ".join(self.get_commands())
            )
        run = create_run(
            self,
            command_name,
            config_updates=config_updates or {},
            named_configs=[named_configs] if isinstance(named_configs, str) else list(named_configs),
            info=info,
            meta_info=meta_info,
            options={**self.get_default_options(), **(options or {})},
            tags=tags,
            update_layer=update_layer,
        )
        self.current_run = run
        return run

    def build_config(
        self, config_updates: Mapping[str, Any] | None = None, named_configs: str | Sequence[str] = ()
    ) -> dict[str, Any]:
        """Return the configuration that a run would have, without running anything.

        Raises
        ------
        ConfigError
            As a run of the main function would, entries that nothing reads included.
        """
        from capture.assembly import check_config, resolve_config

        names = [named_configs] if isinstance(named_configs, str) else list(named_configs)
        resolved = resolve_config(self, self.default_command, config_updates or {}, names)
        command = self.find_command(self.default_command) if self.default_command else None
        check_config(self, resolved, command)
        return resolved.values

    def run_commandline(self, argv: str | Sequence[str] | None = None) -> Run | None:
        """Run what a command line says: of this script, or `argv`, whose first item is the program's name.

        Raises
        ------
        ValueError
            If `argv` is neither a string nor a list of strings.
        """
        from capture.script import run_commandline

        return run_commandline(self, argv)

    def default_observers(self) -> list[Any]:
        """Return the observers of a run that names none: the default store, ``SETTINGS.STORE``; may be overridden.

        It is asked when there is no ``observers=`` argument, nothing in ``ex.observers``, and no ``-o`` or ``-u`` on
        the command line.
        """
        from capture.assembly import default_observers

        return default_observers()

    # --------------------------------------------------------------------------------------------- commands and options

    def get_commands(self) -> dict[str, Any]:
        """Return all commands by name, the stock ones (print_config, ...) included."""
        return dict(self.gather_commands())

    def find_command(self, name: str) -> Any:
        """Return the captured function of a command.

        Raises
        ------
        KeyError
            If there is none of that name; the message lists those there are.
        """
        for known, function in self.gather_commands():
            if known == name:
                return function
        commands = self.get_commands()
        from capture.errors import suggest

        close = suggest(name, commands)
        hint = f" Did you mean {close!r}?" if close else ""
        raise KeyError(f'Command "{name}" not found.{hint} Available commands are: {", ".join(commands)}')

    def post_process_name(self, name: str, ingredient: Ingredient) -> str:
        """Offer the experiment's own commands and named configs without its path."""
        return name[len(self.path) + 1 :] if ingredient is self and name.startswith(self.path + ".") else name

    @property
    def all_cli_options(self) -> list[Any]:
        """Options of the command line: those of `additional_cli_options`, and the library's."""
        from capture.commandline_options import options_of

        return options_of(self)

    def get_default_options(self) -> dict[str, Any]:
        """Return all options of the command line by long name: False for flags, None for those with a value."""
        from capture.commandline_options import defaults_of

        return defaults_of(self)

    def get_usage(self, program_name: str | None = None) -> tuple[str, str, str]:
        """Return the short usage, the long help, and the usage text that the command line is parsed by."""
        from capture.script import usage_of

        return usage_of(self, program_name)

    # ------------------------------------------------------------------------------------------------- the current run

    @property
    def info(self) -> dict[str, Any]:
        """The info dict of the current run."""
        return self._live_run().info

    def open_resource(self, filename: str | os.PathLike[str], mode: str = "r", **options: Any) -> Any:
        """See `Run.open_resource`."""
        return self._live_run().open_resource(filename, mode, **options)

    def add_resource(self, filename: str | os.PathLike[str]) -> None:
        """See `Run.add_resource`."""
        self._live_run().add_resource(filename)

    def add_artifact(
        self, filename: Any, name: str | None = None, metadata: Any = None, content_type: str | None = None
    ) -> Any:
        """See `Run.add_artifact`."""
        return self._live_run().add_artifact(filename, name, metadata, content_type)

    def log_scalar(self, name: str, value: Any, step: Any = None) -> None:
        """See `Run.log_scalar`."""
        self._live_run().log_scalar(name, value, step)

    def log_metrics(self, metrics: Mapping[str, Any], step: Any = None) -> None:
        """See `Run.log_metrics`."""
        self._live_run().log_metrics(metrics, step)

    def _live_run(self) -> Run:
        """Return the innermost run around the calling code with this experiment in it, else its only live run."""
        run = context.CONTEXT_RUN.get()
        while run is not None and not self._has_part_in(run):
            run = run.parent
        if run is None:
            run = context.only_run(tuple(filter(self._has_part_in, context.candidate_runs())), repr(self))
        if run is None:
            current_run()  # says so if there is none at all
            raise NoRunError(f"no run of the experiment {self.path!r} is live here, only one of another")
        return run

    def _has_part_in(self, run: Any) -> bool:
        return self in getattr(run.frame, "owners", ())

    def gather_commands(self) -> Iterator[tuple[str, Any]]:
        """Yield ``(name, captured function)`` of all commands: those of ingredients as ``path.name``, stock ones last.

        A command that is called like a stock one takes its place.
        """
        own = set()
        for name, function in super().gather_commands():
            own.add(name)
            yield name, function
        from capture.commands import stock_commands  # only who has looked so far needs them

        yield from ((name, function) for name, function in stock_commands(self).items() if name not in own)


class ObserverList(list):
    """The observers of an experiment; one whose hooks are declared wrongly is refused here, not an hour into a run."""

    def __init__(self, observers: Any = ()) -> None:
        super().__init__(_checked(observer) for observer in observers)

    def append(self, observer: Any) -> None:
        super().append(_checked(observer))

    def insert(self, index: Any, observer: Any) -> None:
        super().insert(index, _checked(observer))

    def extend(self, observers: Any) -> None:
        super().extend(_checked(observer) for observer in observers)

    def __iadd__(self, observers: Any) -> ObserverList:  # type: ignore[misc]
        self.extend(observers)
        return self

    def __setitem__(self, index: Any, observer: Any) -> None:
        new = [_checked(each) for each in observer] if isinstance(index, slice) else _checked(observer)
        super().__setitem__(index, new)


def _checked(observer: Any) -> Any:
    """Return an observer that is fit to be told; URLs are made absolute, and looked up when a run is made.

    Raises
    ------
    HookError
        If a hook declares an argument that is never passed to it.
    """
    if isinstance(observer, (str, os.PathLike)):
        return _anchored(os.fspath(observer))
    from capture.calls import check_hooks

    check_hooks(observer)
    return observer


def _anchored(url: str) -> str:
    """Return the URL of the same store for who is in another folder: the script may go elsewhere before it runs.

    What is no relative path of this machine comes back as it is.
    """
    if ":" not in url:
        return os.path.abspath(os.path.expanduser(url)) if url.strip() else url
    scheme, _, rest = url.partition(":")
    kind = scheme.lower().partition("+")[0]
    if kind == "sqlite" and rest.startswith("///"):
        path = rest[3:]
        is_relative = path not in ("", ":memory:") and not path.startswith(("/", "~", "?", ":memory:?"))
        return f"{scheme}:///{os.path.join(os.getcwd(), path)}" if is_relative else url
    if kind in ("file", "tinydb"):
        path = rest[2:] if rest.startswith("//") else rest
        if path and not path.startswith(("/", "~", "localhost/")):
            from urllib.parse import quote

            return f"{scheme}://{quote(os.getcwd())}/{path}"
    return url


def _at_a_prompt() -> bool:
    import builtins

    return hasattr(sys, "ps1") or hasattr(builtins, "__IPYTHON__")
