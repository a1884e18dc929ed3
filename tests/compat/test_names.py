"""Each public name of Sacred 0.8.7 works under its old name, or raises an error that says what to use.

The names and the parameters are facts about Sacred, listed in tests/golden/sacred-0.8.7-names.json: by module, each name
with its parameters where it is a function or class of that module.
"""

from __future__ import annotations

import importlib
import inspect
import json
import sys

import pytest

from capture.compat import SacredNameError
from capture.compat.table import INSTEAD, MODULES
from tests.project.tree import ROOT

FACTS = json.loads((ROOT / "tests" / "golden" / "sacred-0.8.7-names.json").read_text(encoding="utf-8"))

#: parameters with other names here; who calls them by position, as all known packages do, sees no difference
RENAMED = {
    "sacred.commandline_options.CLIOption",  # made by @cli_option
    "sacred.commands.save_config",  # a command: the run fills what it takes
    "sacred.config.captured_function.captured_function",
    "sacred.config.config_dict.ConfigDict",
    "sacred.config.config_files.load_config_file",
    "sacred.config.config_files.save_config_file",
    "sacred.config.custom_containers.make_read_only",
    "sacred.config.utils.normalize_numpy",
    "sacred.observers.telegram_obs.TelegramObserver",  # takes the entries of **kwargs by name
    "sacred.serializer.flatten",
    "sacred.serializer.restore",
    "sacred.settings.FrozenKeyMunch",  # made by the library
    "sacred.settings.SettingError",
    "sacred.utils.CircularDependencyError",
    "sacred.utils.ConfigAddedError",
    "sacred.utils.MissingConfigError",
    "sacred.utils.NamedConfigNotFoundError",
    "sacred.utils.iterate_flattened",
    "sacred.utils.optional_kwargs_decorator",
    "sacred.utils.set_by_dotted_path",
}


@pytest.mark.parametrize("module", sorted(FACTS))
def test_a_module_has_each_of_its_names_or_says_what_to_use(module, as_sacred):
    """A package that reaches deep into Sacred either works, or its author learns what to write."""
    short = module.partition(".")[2]
    if short in INSTEAD:
        with pytest.raises(SacredNameError, match="use instead"):
            importlib.import_module(module)
        return
    found = importlib.import_module(module)
    for name, parameters in FACTS[module]["names"].items():
        inner = f"{short}.{name}" if short else name
        if inner in INSTEAD:
            with pytest.raises(SacredNameError, match="use instead") as caught:
                getattr(found, name)
            assert caught.value.name == f"{module}.{name}" and caught.value.instead == INSTEAD[inner]
            continue
        value = getattr(found, name)
        if parameters is not None and f"{module}.{name}" not in RENAMED:
            taken = list(inspect.signature(value).parameters)
            assert set(parameters.split()) <= set(taken), f"{module}.{name} takes {taken}"


@pytest.mark.parametrize("module", [name for name, facts in FACTS.items() if facts["all"]])
def test_a_star_import_gives_what_it_gives_in_sacred(module, as_sacred):
    """`from sacred.utils import *` stands in many a script."""
    namespace: dict = {}
    exec(f"from {module} import *", namespace)
    assert set(FACTS[module]["all"].split()) <= namespace.keys()


@pytest.mark.parametrize(
    ("package", "code"),
    [
        ("neptune-sacred", "from sacred.dependencies import get_digest; from sacred.observers import RunObserver"),
        ("incense", "import importlib, sacred.serializer; importlib.reload(sacred.serializer)"),
        ("padertorch", "import sacred.commands; sacred.commands.print_config, sacred.commands.print_named_configs"),
        ("padertorch", "from sacred.observers.file_storage import FileStorageObserver"),
        ("padertorch", "from sacred.utils import InvalidConfigError, MissingConfigError"),
        ("pymarl", "from sacred import Experiment, SETTINGS; from sacred.utils import apply_backspaces_and_linefeeds"),
        ("pymarl", "import sacred; sacred.SETTINGS['CAPTURE_MODE'] = 'no'; sacred.SETTINGS.CAPTURE_MODE = None"),
        ("imitation", "import sacred; sacred.Ingredient('x'); from sacred.utils import SacredInterrupt"),
        ("il-representations", "from sacred.config.custom_containers import DogmaticDict, DogmaticList"),
        ("vikingzero", "from sacred.config.config_dict import ConfigDict; ConfigDict({'a': 1})()"),
        ("seml", "from sacred.config.utils import dogmatize, recursive_fill_in, undogmatize"),
        ("seml", "from sacred.observers.base import RunObserver, td_format"),
        ("slurmjobs", "from sacred.dependencies import MB; from sacred.optional import libc"),
        ("hyperopt users", "from sacred.initialize import Scaffold, create_scaffolding"),
    ],
)
def test_imports_of_known_packages_work(package, code, as_sacred):
    """What is imported in public repositories, beside the packages that are tested whole."""
    exec(code, {})


def test_the_tables_name_nothing_that_sacred_does_not_have():
    """An entry that was misspelt would stand for nothing."""
    known = {f"{module}.{name}" for module, facts in FACTS.items() for name in facts["names"]} | FACTS.keys()
    assert {f"sacred.{name}" for name in INSTEAD} <= known
    assert {f"sacred.{name}" if name else "sacred" for name in MODULES} <= known
    assert known >= RENAMED


def test_classes_are_those_of_this_library(as_sacred):
    """So isinstance and subclasses hold across packages, whichever name each of them imports."""
    import sacred
    from sacred.config.custom_containers import ReadOnlyContainer, ReadOnlyDict
    from sacred.observers import RunObserver
    from sacred.utils import SacredInterrupt

    import capture
    from capture.config.readonly import freeze
    from capture.errors import TimeoutInterrupt

    assert sacred.Experiment is capture.Experiment and sacred.SETTINGS is capture.SETTINGS
    assert isinstance(capture.Experiment("x"), sacred.Ingredient)
    assert issubclass(capture.observers.FileStorageObserver, RunObserver)
    assert issubclass(TimeoutInterrupt, SacredInterrupt)
    assert isinstance(freeze({}), ReadOnlyDict) and isinstance(freeze([]), ReadOnlyContainer)
    assert not isinstance({}, ReadOnlyContainer)


def test_an_observer_of_sacreds_class_is_told_of_a_run(as_sacred):
    """What the whole of this is for."""
    from sacred import Experiment
    from sacred.observers import RunObserver

    class Mine(RunObserver):
        priority = 5

        def __init__(self):
            self.told = []

        def started_event(self, ex_info, command, host_info, start_time, config, meta_info, _id):
            self.told.append((command, config["lr"]))
            return 12

        def completed_event(self, stop_time, result):
            self.told.append(result)

    observer = Mine()
    ex = Experiment("x")
    ex.observers.append(observer)
    ex.add_config(lr=0.5)
    ex.main(lambda lr: lr * 2)
    assert ex.run()._id == 12
    assert observer.told == [("<lambda>", 0.5), 1.0]


def test_a_name_that_sacred_never_had_is_an_ordinary_import_error(as_sacred):
    """Feature tests as `try: from sacred import New` go on working."""
    import sacred

    with pytest.raises(ImportError, match="cannot import name 'Nothing'"):
        from sacred import Nothing  # noqa: F401
    with pytest.raises(ModuleNotFoundError, match=r"No module named 'sacred\.nothing'"):
        importlib.import_module("sacred.nothing")
    assert not hasattr(sacred, "nothing") and not hasattr(sacred, "journal")
    assert {"Experiment", "observers"} <= set(dir(sacred))


def test_modules_are_reached_through_the_package(as_sacred):
    """`import sacred` alone is enough for sacred.utils.join_paths, as it is with Sacred."""
    import sacred

    assert sacred.utils.join_paths("a", "b") == "a.b"
    assert sacred.observers.base.td_format.__name__ == "td_format"
    assert sacred.randomness.opt.has_numpy is ("numpy" in sys.modules or importlib.util.find_spec("numpy") is not None)


def test_an_option_by_subclass_is_refused_with_the_remedy(as_sacred):
    """Sacred has warned of them since 0.8; a class that is silently no option would be worse."""
    from sacred.commandline_options import CommandLineOption

    with pytest.raises(SacredNameError, match=r"sacred\.cli_option"):

        class Mine(CommandLineOption):
            pass


def test_reloading_a_module_changes_nothing(as_sacred):
    """Incense reloads sacred.serializer whenever it opens a database."""
    import sacred.serializer

    assert importlib.reload(sacred.serializer) is sacred.serializer
    assert sacred.serializer.restore(sacred.serializer.flatten({"a": (1, 2)})) == {"a": (1, 2)}
