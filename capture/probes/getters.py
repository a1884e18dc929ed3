"""What a run's ``host_info`` is made of: the built-in keys, and those that users add."""

from __future__ import annotations

from capture.hooks import Unavailable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

#: Keys that are always there; an addition of one of these names is refused.
DEFAULT_KEYS = ("hostname", "os", "python_version", "cpu", "gpus", "ENV")

ADDITION_WAIT_S = 10.0  #: how long the start of a run waits for what users have added

#: Additions for every experiment of the process, by name (made with `host_info_getter`).
host_info_gatherers: dict[str, HostInfoGetter] = {}


class IgnoreHostInfo(Exception):
    """Raise it in a gatherer to leave its key out of the host info."""


class HostInfoGetter:
    """A function that finds out something about the host, and the key it is recorded under.

    Parameters
    ----------
    getter_function : callable
        Takes no arguments; returns what JSON can hold, or raises `IgnoreHostInfo`.
    name : str
    """

    def __init__(self, getter_function: Callable[[], Any], name: str) -> None:
        self.getter_function = getter_function
        self.name = name

    def __call__(self) -> Any:
        return self.getter_function()

    def get_info(self) -> Any:
        """Call the function."""
        return self.getter_function()

    def __repr__(self) -> str:
        return f"HostInfoGetter({self.getter_function!r}, {self.name!r})"


def host_info_gatherer(name: str) -> Callable[[Callable[[], Any]], HostInfoGetter]:
    """Make a function one that adds ``name`` to the host info of experiments that are given it.

    It is called before the main function, in a thread of its own; one that takes long is left out (`get_host_info`).

    Parameters
    ----------
    name : str
        The key its value is recorded under.

    Examples
    --------
    >>> @host_info_gatherer("queue")
    ... def queue():
    ...     return {"partition": "gpu"}
    >>> get_host_info([queue], include_cpu=False, include_gpu=False)["queue"]
    {'partition': 'gpu'}

    In a script: ``Experiment("digits", additional_host_info=[queue])``.
    """

    def decorate(function: Callable[[], Any]) -> HostInfoGetter:
        return HostInfoGetter(function, name)

    return decorate


def host_info_getter(func: Callable[[], Any], name: str | None = None) -> Callable[[], Any]:
    """Add a key to the host info of every experiment of this process.

    .. deprecated:: 0.1
        It is as global as it looks; use `host_info_gatherer` and ``Experiment(additional_host_info=[...])``.

    Parameters
    ----------
    func : callable
    name : str, optional
        The key; the function's name if left out.
    """
    import warnings

    warnings.warn(
        "host_info_getter changes every experiment of the process; "
        "use host_info_gatherer and Experiment(additional_host_info=[...])",
        DeprecationWarning,
        stacklevel=2,
    )
    name = getattr(func, "__name__", repr(func)) if name is None else name
    _refuse_default_keys([name])
    host_info_gatherers[name] = HostInfoGetter(func, name)
    return func


def check_additional_host_info(additional_host_info: Iterable[HostInfoGetter]) -> None:
    """Refuse additions that would hide a built-in key.

    Raises
    ------
    KeyError
        Naming the keys that cannot be used.
    """
    _refuse_default_keys(getter.name for getter in additional_host_info)


def _refuse_default_keys(names: Iterable[str]) -> None:
    for name in names:
        if name in DEFAULT_KEYS:
            raise KeyError(
                f"host info {name!r} is gathered by default and cannot be replaced; use another name than "
                f"{', '.join(DEFAULT_KEYS)}"
            )


def get_host_info(
    additional_host_info: Iterable[HostInfoGetter] | None = None,
    include_gpu: bool | None = None,
    include_cpu: bool | None = None,
    captured_env: Iterable[str] | None = None,
    wait_s: float = 2.0,
    on_late: Callable[[str, Any], None] | None = None,
    addition_wait_s: float = ADDITION_WAIT_S,
) -> dict[str, Any]:
    """Gather the facts about this machine under Sacred's keys.

    Parameters
    ----------
    additional_host_info : iterable of HostInfoGetter, optional
        What to gather besides.
    include_gpu, include_cpu : bool, optional
        Whether to ask for GPUs and processor, whose value is None otherwise; as ``SETTINGS.HOST_INFO`` says by default.
    captured_env : iterable of str, optional
        Names of environment variables to record; as ``SETTINGS.HOST_INFO`` says by default.
    wait_s : float
        How long to wait for the GPUs, in seconds; a driver that has to wake up can take long.
    on_late : callable, optional
        ``on_late("gpus", facts)`` hears of GPUs that were not known by then, or why the driver does not tell them.
    addition_wait_s : float
        How long to wait for the additions, in seconds. They work side by side, each in a thread of its own.

    Returns
    -------
    dict
        ``hostname``, ``os``, ``python_version``, ``cpu``, ``gpus``, ``ENV``, and the additions. What this machine does
        not tell is left out, and so is an addition that raised or was late (which is logged).

    Raises
    ------
    KeyError
        If an addition has the name of a built-in key.
    """
    from capture.probes.host import host_facts

    additions = [*host_info_gatherers.values(), *(additional_host_info or ())]
    check_additional_host_info(additions)
    if include_gpu is None or include_cpu is None or captured_env is None:
        from capture.settings import SETTINGS

        chosen = SETTINGS.HOST_INFO
        include_gpu = chosen.INCLUDE_GPU_INFO if include_gpu is None else include_gpu
        include_cpu = chosen.INCLUDE_CPU_INFO if include_cpu is None else include_cpu
        captured_env = chosen.CAPTURED_ENV if captured_env is None else captured_env
    facts = host_facts(captured_env, bool(include_cpu))
    facts["gpus"] = _gpus(wait_s, on_late) if include_gpu else None
    known = {name: value for name, value in facts.items() if not isinstance(value, Unavailable)}
    return {**known, **_gathered(additions, addition_wait_s)}


def _gpus(wait_s: float, on_late: Callable[[str, Any], None] | None) -> Any:
    from capture.probes import gpu

    if not gpu.driver_present():  # most machines: not worth a thread
        return Unavailable("no NVIDIA driver")
    from capture.probes.gather import FunctionProbe, gather

    answers: list[Any] = []

    def ask() -> Any:
        answers.append(gpu.gpu_facts())
        return answers[0]

    found = gather([FunctionProbe("gpus", ask, timeout_s=wait_s)], wait_s, on_late)["gpus"]
    refused = isinstance(found, Unavailable) and any(found is answer for answer in answers)
    if refused and on_late is not None:  # nothing comes later, and whoever waits for it has to know why
        on_late("gpus", found)
    return found


def _gathered(additions: Iterable[HostInfoGetter], wait_s: float) -> dict[str, Any]:
    getters = {getter.name: getter for getter in additions}
    if not getters:
        return {}
    from contextvars import copy_context

    from capture.probes.gather import FunctionProbe, gather

    # In the context of the caller, as if it called them: they may ask for what is current there.
    probes = [
        FunctionProbe(name, copy_context().run, _answer, getter, timeout_s=wait_s) for name, getter in getters.items()
    ]
    found = {}
    for name, answer in gather(probes, wait_s).items():
        if isinstance(answer, list):
            found[name] = answer[0]
        elif isinstance(answer, Unavailable):
            import logging

            logging.getLogger("capture").warning("host info %r is left out: %s", name, answer.reason)
    return found


def _answer(getter: HostInfoGetter) -> list[Any] | None:
    """Return what a getter says, in a list; None if it is to be left out."""
    try:
        return [getter()]
    except IgnoreHostInfo:
        return None
    except Exception:
        import logging

        logging.getLogger("capture").exception("host info %r could not be gathered and is left out", getter.name)
        return None
