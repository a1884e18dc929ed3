"""A config scope without its source: the function runs as it is, and is watched instruction by instruction.

For functions from ``exec``, ``python -c`` and the REPL before 3.13, files of which only the .pyc is there, and files
edited since they were imported. After each instruction that binds a local name, the value is passed through the
overrides and, if they replace it, written back into the running frame. Debuggers work this way, and it is as slow:
milliseconds for a scope.

The tracer of a debugger or of coverage is set aside meanwhile and put back afterwards. (It could do little here: there
is no source to show.)
"""

from __future__ import annotations

import sys

from capture.errors import ConfigScopeError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from types import CodeType, FrameType, FunctionType
    from typing import Any


def run_watched(
    func: FunctionType,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    bind: Callable[[str, Any], Any],
    leave: Callable[[dict[str, Any]], None],
    overridden: Collection[str] = (),
) -> Any:
    """Call `func`, with every value that it binds to a local name passed through `bind`.

    Parameters
    ----------
    func : function
    args, kwargs
        What it is called with.
    bind : callable
        ``(name, value) -> value``; what it returns is what the name is bound to.
    leave : callable
        Gets the local variables when the function ends, also by an exception.
    overridden : collection of str
        Names for which `bind` may return another value.

    Returns
    -------
    object
        What `func` returns.

    Raises
    ------
    ConfigScopeError
        If one instruction both binds an overridden name and reads it again, so that nothing can come between.
    """
    watch = _Watch(func.__code__, bind, leave)
    watch.refuse_inseparable(overridden)
    before = sys.gettrace()
    # Python 3.12 sends no events per instruction unless some frame had asked for them when tracing was turned on.
    sys._getframe().f_trace_opcodes = True
    sys.settrace(watch.enter)
    try:
        return func(*args, **kwargs)
    finally:
        sys.settrace(before)


class _Watch:
    """The trace functions for one call of one function."""

    def __init__(
        self, code: CodeType, bind: Callable[[str, Any], Any], leave: Callable[[dict[str, Any]], None]
    ) -> None:
        self._code, self._bind, self._leave = code, bind, leave
        self._stores, self._inseparable = _stores(code)
        self._bound_within = _bound_within(code)
        self._frame: FrameType | None = None
        self._just_bound: tuple[str, ...] = ()

    def refuse_inseparable(self, overridden: Collection[str]) -> None:
        for name, line in self._inseparable.items():
            if name in overridden:
                raise ConfigScopeError(
                    f"cannot override {name!r} in the config scope {self._code.co_name}: its source is not"
                    f" available, and line {line} of {self._code.co_filename} both sets and reads it."
                    "\n  what to do:  put the two on lines of their own"
                )

    def enter(self, frame: FrameType, event: str, arg: object) -> Any:
        """Trace the function itself, and nothing that it calls."""
        if frame.f_code is not self._code or self._frame is not None:
            return None
        self._frame = frame
        frame.f_trace_lines = False
        frame.f_trace = self._step  # before the next line, to which Python 3.13 listens only then
        frame.f_trace_opcodes = True
        return self._step

    def _step(self, frame: FrameType, event: str, arg: object) -> Any:
        if event == "opcode":
            # The event comes before the instruction is carried out, so what is bound now are names of the last one.
            if self._just_bound:
                self._rebind(frame.f_locals)
            self._just_bound = self._stores.get(frame.f_lasti, self._bound_within)
        elif event == "return":
            # Before 3.13 each access to f_locals reads the frame anew and loses what was written: ask once.
            variables = frame.f_locals
            self._rebind(variables)
            self._just_bound = ()
            self._leave(dict(variables))
        return self._step

    def _rebind(self, variables: Any) -> None:
        for name in self._just_bound:
            if name in variables:
                value = variables[name]
                replacement = self._bind(name, value)
                if replacement is not value:
                    variables[name] = replacement


def _bound_within(code: CodeType) -> tuple[str, ...]:
    """Return the variables of `code` that functions within it bind: comprehensions with a walrus, before 3.12.

    Any instruction may call those functions, so these names are looked at after each.
    """
    import dis

    names: set[str] = set()
    for constant in code.co_consts:
        if isinstance(constant, type(code)):
            stored = {i.argval for i in dis.get_instructions(constant) if i.opname == "STORE_DEREF"}
            names.update(stored, _bound_within(constant))
    return tuple(sorted(names.intersection(code.co_cellvars)))


def _stores(code: CodeType) -> tuple[dict[int, tuple[str, ...]], dict[str, int]]:
    """Find where `code` binds its local names.

    Returns
    -------
    (dict of int to tuple of str, dict of str to int)
        Offset of an instruction to the names that it binds; and the names that some instruction binds and reads at
        once, with its line.
    """
    import dis

    stores: dict[int, tuple[str, ...]] = {}
    inseparable: dict[str, int] = {}
    # Since 3.12 a comprehension runs within its function. Its own variable is put aside by LOAD_FAST_AND_CLEAR; the
    # next store of that name is the comprehension's, and no entry.
    of_comprehension: set[str] = set()
    line = code.co_firstlineno
    starts = dict(dis.findlinestarts(code))
    for instruction in dis.get_instructions(code):
        line = starts.get(instruction.offset) or line
        operation = instruction.opname
        if operation == "LOAD_FAST_AND_CLEAR":
            of_comprehension.add(instruction.argval)
        if not operation.startswith(("STORE_FAST", "STORE_DEREF")):
            continue
        names = instruction.argval if isinstance(instruction.argval, tuple) else (instruction.argval,)
        if operation == "STORE_FAST_LOAD_FAST":
            stored, loaded = names
            names = (stored,)
            if stored == loaded and stored not in of_comprehension:
                inseparable[stored] = line
        bound = tuple([name for name in names if name not in of_comprehension and name not in code.co_freevars])
        of_comprehension.difference_update(names)
        if bound:
            stores[instruction.offset] = bound
    return stores, inseparable
