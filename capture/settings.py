"""`SETTINGS`: every switch of the library, with Sacred's names where Sacred has one.

A value comes from the strongest layer that sets it::

    library < user file < [tool.capture] in the project's pyproject.toml < environment < code

and a flag of the command line beats them all for one run. The user file is ``~/.config/capture/config.toml``
(``$XDG_CONFIG_HOME/capture/config.toml``); environment variables are ``CAPTURE_`` and the name, groups and names joined
by two underscores: ``CAPTURE_OUTPUT__MAX_BYTES=1000000``. Files and environment are read when a setting is first read;
they hold values, never code to import. ``SETTINGS.origin("STORE")`` tells who set what.
"""

from __future__ import annotations

import os
import sys

from capture.errors import SettingError, suggest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: name -> (default, what it does). A name with a dot belongs to a group; `_OPTIONAL` lists where None is a value.
DEFAULTS: dict[str, tuple[Any, str]] = {
    "STORE": ("./runs", 'URL of the default store, which is one; "none" stops recording where no observer is named'),
    "STATE_DIR": (None, "folder of journals that wait for delivery; None: the platform's place for state"),
    "CAPTURE_MODE": (None, 'how output is captured: "fd", "sys", "no"; None: "fd" in a script, else "sys"'),
    "DEFAULT_BEAT_INTERVAL": (10.0, "seconds between heartbeats"),
    "NAIVE_TIMES": (False, "give your own observers, and `run.start_time`, UTC without a time zone, as Sacred does"),
    "DISCOVER_SOURCES": ("imported", '"imported", "sys", "dir" or "none": which files count as sources'),
    "DISCOVER_DEPENDENCIES": ("imported", '"imported", "sys", "pkg" or "none": which packages count as dependencies'),
    "CONFIG.ENFORCE_KEYS_MONGO_COMPATIBLE": (True, 'refuse config keys with "." or a leading "$"'),
    "CONFIG.ENFORCE_KEYS_JSONPICKLE_COMPATIBLE": (True, 'refuse keys that look like tags ("py/...", "json://")'),
    "CONFIG.ENFORCE_VALID_PYTHON_IDENTIFIER_KEYS": (False, "refuse config keys that are not Python identifiers"),
    "CONFIG.ENFORCE_STRING_KEYS": (False, "refuse config keys that are not strings"),
    "CONFIG.ENFORCE_KEYS_NO_EQUALS": (True, 'refuse config keys with "="'),
    "CONFIG.READ_ONLY_CONFIG": (True, "hand captured functions read-only dicts and lists"),
    "CONFIG.IGNORED_COMMENTS": (["^pylint:", "^noinspection"], "comments that describe no config entry"),
    "CONFIG.NUMPY_RANDOM_LEGACY_API": (False, "`_rnd` is a numpy RandomState instead of a Generator"),
    "HOST_INFO.INCLUDE_GPU_INFO": (True, "record GPUs"),
    "HOST_INFO.INCLUDE_CPU_INFO": (True, "record the CPU's name"),
    "HOST_INFO.CAPTURED_ENV": ([], "names of environment variables to record"),
    "COMMAND_LINE.STRICT_PARSING": (False, "refuse values on the command line that are not Python literals"),
    "COMMAND_LINE.SHOW_DISABLED_OPTIONS": (True, "show options in the help that cannot be used here"),
    "OUTPUT.CLEAN": (True, "keep the last state of redrawn lines (progress bars) instead of every redraw"),
    "OUTPUT.MAX_BYTES": (None, "cap of the recorded output, head and tail kept; None: all of it"),
    "METRICS.JSON_LIMIT": (2_000_000, "points up to which metrics.json is written when a run ends; beyond, on demand"),
    "SIGNALS": (True, "record SIGTERM, SIGHUP and SIGXCPU as PREEMPTED when the script is ours"),
    "DELIVERY.START_WAIT_S": (2.0, "seconds that all observers together may delay the start of main"),
    "DELIVERY.CALL_DEADLINE_S": (30.0, "seconds after which a hook counts as hanging"),
    "DELIVERY.STALL_S": (8.0, "seconds without progress after which the end of a run waits no longer"),
    "GIT.ENABLED": (True, "look for the repository of the sources"),
    "GIT.TIMEOUT_S": (5.0, "seconds that git may take"),
    "GIT.PATCH": (True, "keep what differs from the commit, as a patch"),
    "GIT.UNTRACKED_BYTES": (1_000_000, "size up to which an untracked file of a repository is kept; 0: none"),
    "GIT.BUNDLE_BYTES": (50_000_000, "size up to which commits that no remote has are kept, as a bundle; 0: none"),
    "IMPORTS": (True, "record at the end what was imported, wherever and whenever"),
    "ENVIRONMENT": (True, "record every installed distribution, the interpreter, and lock files of the project"),
    "PROCESS.ENABLED": (True, "record arguments, folder, interpreter, user and launcher of the process"),
    "PROCESS.ENV": (
        [
            *("OMP_*", "MKL_*", "OPENBLAS_*", "BLIS_*", "VECLIB_*", "NUMEXPR_*", "KMP_*", "GOTO_*"),
            *("CUDA_*", "CUBLAS_*", "CUDNN_*", "NVIDIA_VISIBLE_DEVICES", "NCCL_*", "HIP_*", "ROCR_*"),
            *("TF_CPP_*", "TF_CUDNN_*", "TF_DETERMINISTIC_*", "TF_ENABLE_*", "TF_FORCE_*", "TF_GPU_*", "TF_NUM_*"),
            *("TF_XLA_FLAGS", "XLA_*", "JAX_*", "TORCH_*", "PYTORCH_*"),
            *("LANG", "LANGUAGE", "LC_*", "TZ", "PYTHON*", "VIRTUAL_ENV", "CONDA_*", "MALLOC_*"),
        ],
        "environment variables that are recorded, as patterns",
    ),
    "HOST_INFO.MACHINE": (True, "record memory, cores, container, processor flags and GPUs"),
    "LINEAGE.ENABLED": (True, "record which files the run reads and writes"),
    "LINEAGE.WATCH_FOLDERS": (True, "see files that are opened past Python, where the system can tell (Linux)"),
    "LINEAGE.ADAPTERS": (True, "ask libraries that open files past Python (h5py, pyarrow, polars, ...)"),
    "LINEAGE.URLS": (True, "record what is fetched by http.client, httpx and aiohttp"),
    "LINEAGE.CHILDREN": (True, "see the files of Python processes that the run starts"),
    "LINEAGE.COPY_INPUTS_BYTES": (1_000_000, "size up to which an input from the project's folder is kept; 0: none"),
    "LINEAGE.COPY_OUTPUTS_BYTES": (10_000_000, "size up to which an output is kept as an artifact; 0: none"),
    "LINEAGE.COPY_TOTAL_BYTES": (200_000_000, "bytes of inputs and outputs that one run keeps at most"),
    "LINEAGE.HASH_LIMIT_BYTES": (10_000_000_000, "size from which a file gets the digest of a sample of it"),
    "LINEAGE.HASH_BUDGET_BYTES": (100_000_000_000, "bytes that are hashed for one run at most"),
    "LINEAGE.END_WAIT_S": (5.0, "seconds that the end of a run waits for digests"),
    "LINEAGE.MANIFEST_FILES": (1_000, "files of one folder above which one manifest stands for them"),
    "SYSTEM_METRICS.INTERVAL_S": (None, "seconds between measurements of CPU, memory, disk, network, GPU; None: none"),
    "SECRETS.ENABLED": (True, "mask secrets before anything is written"),
    "SECRETS.NAMES": ([], "further names whose values are secret"),
    "SECRETS.ALLOWED": ([], "names and paths whose values are not masked"),
    "NOTIFY.URLS": ([], "who is told how recorded runs go, as URLs of Apprise's; they hold secrets"),
    "NOTIFY.ON": (
        ["started", "completed", "failed", "interrupted", "stalled"],
        "what they are told of, and those that `notify+SCHEME://` names",
    ),
    "NOTIFY.STALLED_AFTER_S": (None, "seconds without anything new after which a run counts as stalled; None: never"),
    "PROBES.ENABLED": (True, "ask the probes that installed packages declare"),
    "PROBES.END_WAIT_S": (2.0, "seconds that the end of a run waits for facts that are still being gathered"),
}

_OPTIONAL = {
    "STATE_DIR": str,
    "CAPTURE_MODE": str,
    "OUTPUT.MAX_BYTES": int,
    "SYSTEM_METRICS.INTERVAL_S": float,
    "NOTIFY.STALLED_AFTER_S": float,
}
_LEAST = {"SYSTEM_METRICS.INTERVAL_S": 0.05, "NOTIFY.STALLED_AFTER_S": 0.05}
_NOT_EMPTY = frozenset({"STORE"})  #: an empty environment variable counts as one that is not set
_SECRET = frozenset({"NOTIFY.URLS"})  #: the values are not shown
_CHOICES = {
    "CAPTURE_MODE": (None, "fd", "sys", "no"),
    "DISCOVER_SOURCES": ("imported", "sys", "dir", "none"),
    "DISCOVER_DEPENDENCIES": ("imported", "sys", "pkg", "none"),
}


class Group:
    """Settings that belong together; read and written as attributes or as items."""

    def __init__(self, settings: Settings, prefix: str) -> None:
        object.__setattr__(self, "_settings", settings)
        object.__setattr__(self, "_prefix", prefix)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self._settings._get(self._prefix + name)

    def __setattr__(self, name: str, value: Any) -> None:
        self._settings._set(self._prefix + name, value, "code")

    __getitem__ = __getattr__
    __setitem__ = __setattr__

    def keys(self) -> list[str]:
        """Return the names in this group."""
        return list(dict.fromkeys(n[len(self._prefix) :].partition(".")[0] for n in self._names()))

    def _names(self) -> list[str]:
        return [name for name in DEFAULTS if name.startswith(self._prefix)]

    def __iter__(self) -> Any:
        return iter(self.keys())

    def __contains__(self, name: object) -> bool:
        return name in self.keys()

    def update(self, other: Any = (), **values: Any) -> None:
        """Set several settings at once."""
        for name, value in {**dict(other), **values}.items():
            self[name] = value

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as a plain nested dict."""
        return {name: v.to_dict() if isinstance(v := self[name], Group) else v for name in self}

    def shown(self, name: str) -> str:
        """Return the value of a setting for display: secret ones are masked."""
        return _shown(self._prefix + name, self[name])

    def __repr__(self) -> str:
        entries = (f"{name!r}: {self.shown(name)}" for name in self)
        return f"{type(self).__name__}({{{', '.join(entries)}}})"

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self.keys()]


class Settings(Group):
    """All settings; see `capture.settings` for the layers they come from."""

    def __init__(self) -> None:
        object.__setattr__(self, "_values", {name: _copy(default) for name, (default, _) in DEFAULTS.items()})
        object.__setattr__(self, "_origins", {})
        object.__setattr__(self, "_loaded", False)
        super().__init__(self, "")

    def __deepcopy__(self, memo: Any) -> Settings:
        new = Settings()
        new._values.update({name: _copy(value) for name, value in self._values.items()})
        new._origins.update(self._origins)
        object.__setattr__(new, "_loaded", self._loaded)
        return new

    def origin(self, name: str) -> str:
        """Say which layer set a setting: "library", a file, an environment variable or "code"."""
        self._load()
        self._check(name)
        return self._origins.get(name, "library")

    def layers(self, name: str) -> list[tuple[str, Any]]:
        """Return who sets a setting, and to what, the weakest first; files and environment only."""
        self._check(name)
        found = [(path, value) for path, table in _setting_files() for key, value in _flat(table) if key == name]
        variables = [(variable, _parse(name, os.environ[variable])) for variable, key in _variables() if key == name]
        return [*found, *((f"environment variable {variable}", value) for variable, value in variables)]

    def _get(self, name: str) -> Any:
        if not self._loaded:
            self._load()
        if name in self._values:
            return self._values[name]
        if any(known.startswith(name + ".") for known in DEFAULTS):
            return Group(self, name + ".")
        return self._check(name)

    def _set(self, name: str, value: Any, origin: str) -> None:
        if any(known.startswith(name + ".") for known in DEFAULTS):
            if not isinstance(value, dict):
                raise SettingError(
                    f"{name} is a group of settings; set one of them: {name}.NAME = VALUE (set by {origin})"
                )
            for key, item in value.items():
                self._set(f"{name}.{key}", item, origin)
            return
        self._check(name, f" (set by {origin})")
        self._values[name] = _checked(name, value, origin)
        self._origins[name] = origin

    def _check(self, name: str, by: str = "") -> None:
        if name not in DEFAULTS:
            close = suggest(name, DEFAULTS)
            group = name.rpartition(".")[0]
            known = ", ".join(n for n in DEFAULTS if n.rpartition(".")[0] == group) or ", ".join(DEFAULTS)
            hint = f"\n  did you mean:    {close}" if close else ""
            raise SettingError(f"there is no setting {name!r}{by}.{hint}\n  known settings:  {known}")

    def _load(self) -> None:
        if self._loaded:
            return
        object.__setattr__(self, "_loaded", True)
        by_code = dict(self._values), dict(self._origins)
        for path, table in _setting_files():
            for name, value in _flat(table):
                self._set(name, value, path)
        for variable, name in _variables():
            self._set(name, _parse(name, os.environ[variable]), f"environment variable {variable}")
        _warn_of_unknown_variables()
        values, origins = by_code
        for name in origins:
            self._values[name], self._origins[name] = values[name], origins[name]


def _shown(name: str, value: Any) -> str:
    if isinstance(value, str) and ":" in value:
        from capture.secrets import redact_url

        value = redact_url(value)
    return repr("***" if name in _SECRET and value else value)


def _copy(value: Any) -> Any:
    return list(value) if isinstance(value, list) else value


def _checked(name: str, value: Any, origin: str) -> Any:
    default = DEFAULTS[name][0]
    wanted = _OPTIONAL.get(name, type(default))
    if value is None and name in _OPTIONAL:
        return None
    if wanted is float and type(value) is int:
        value = float(value)
    if wanted is list and isinstance(value, tuple):
        value = list(value)
    if not isinstance(value, wanted) or (wanted is int and isinstance(value, bool)):
        raise SettingError(f"{name} is a {wanted.__name__}, got {_shown(name, value)} (set by {origin})")
    if name in _NOT_EMPTY and isinstance(value, str) and not value.strip():
        raise SettingError(f"{name} is not empty, got {value!r} (set by {origin})")
    if name in _LEAST and isinstance(value, float) and not _LEAST[name] <= value < float("inf"):
        raise SettingError(f"{name} is {_LEAST[name]} or more, got {value!r} (set by {origin})")
    if name in _CHOICES and value not in _CHOICES[name]:
        raise SettingError(f"{name} is one of {', '.join(map(repr, _CHOICES[name]))}, got {value!r} (set by {origin})")
    return value


def _parse(name: str, text: str) -> Any:
    """Read the value of an environment variable."""
    default = DEFAULTS[name][0]
    wanted = _OPTIONAL.get(name, type(default))
    if name in _OPTIONAL and text.lower() in ("", "none"):
        return None
    if wanted is bool:
        if text.lower() in ("1", "true", "yes", "on"):
            return True
        if text.lower() in ("0", "false", "no", "off"):
            return False
        return text  # refused with the name of the variable
    if wanted is list:
        return [part.strip() for part in text.split(",") if part.strip()]
    try:
        return wanted(text)
    except ValueError:
        return text


def _variables() -> list[tuple[str, str]]:
    names = {"CAPTURE_" + name.replace(".", "__"): name for name in DEFAULTS}
    return [
        (variable, name)
        for variable, name in names.items()
        if variable in os.environ and (name not in _NOT_EMPTY or os.environ[variable].strip())
    ]


def _warn_of_unknown_variables() -> None:
    """Say that a variable sets nothing: whoever misspelt it believes that it does."""
    known = {"CAPTURE_" + name.replace(".", "__") for name in DEFAULTS}
    for variable in os.environ:
        if variable.startswith("CAPTURE_") and variable not in known | _OTHER_VARIABLES:
            import logging

            close = suggest(variable, known)
            hint = f"; did you mean {close}?" if close else ""
            logging.getLogger("capture").warning("%s sets nothing: there is no such setting%s", variable, hint)


#: variables of this library that are no settings
_OTHER_VARIABLES = {"CAPTURE_LINEAGE_JOURNAL", "CAPTURE_PAGER"}


def _setting_files() -> list[tuple[str, dict[str, Any]]]:
    """Return the parsed settings of the user file and of the project's pyproject.toml, weakest first."""
    found = []
    config_home = os.environ.get("XDG_CONFIG_HOME") or os.path.join(os.path.expanduser("~"), ".config")
    user_file = os.path.join(config_home, "capture", "config.toml")
    if os.path.isfile(user_file):
        found.append((user_file, _toml(user_file)))
    project_file = _project_file()
    if project_file is not None:
        found.append((project_file, _toml(project_file).get("tool", {}).get("capture", {})))
    return found


def _project_file() -> str | None:
    """Return the nearest pyproject.toml above the main script that has a [tool.capture] table."""
    main = getattr(sys.modules.get("__main__"), "__file__", None)
    try:
        folder = os.path.dirname(os.path.abspath(main)) if main else os.getcwd()
    except OSError:
        return None
    while True:
        candidate = os.path.join(folder, "pyproject.toml")
        if os.path.isfile(candidate):
            with open(candidate, "rb") as stream:
                return candidate if b"[tool.capture" in stream.read() else None
        parent = os.path.dirname(folder)
        if parent == folder:
            return None
        folder = parent


def _toml(path: str) -> dict[str, Any]:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        with open(path, "rb") as stream:
            return tomllib.load(stream)
    except (OSError, ValueError) as error:
        raise SettingError(f"{path} cannot be read as TOML: {error}") from error


def _flat(table: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Flatten a table; names may be written in lower case and with dashes."""
    flat = []
    for key, value in table.items():
        name = prefix + key.upper().replace("-", "_")
        flat += _flat(value, name + ".") if isinstance(value, dict) else [(name, value)]
    return flat


SETTINGS = Settings()
