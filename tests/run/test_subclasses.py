"""What a framework may override, and that it stays out of sight: name, folder and docs are the user's."""

from __future__ import annotations

import importlib
import textwrap

import pytest

from capture import Experiment
from capture.testing import RecordingObserver

FRAMEWORK = {
    "frame_base": """
        import functools
        from capture import Experiment, Ingredient

        class Base(Experiment):
            def __init__(self, name=None, **options):
                super().__init__(name, **options)

            @classmethod
            def create(cls, **options):
                return cls(**options)

        class BasePart(Ingredient):
            def __init__(self, *args, **options):
                super().__init__(*args, **options)
    """,
    "frame_top": """
        import functools, sys
        import frame_base

        def decorated(function):
            @functools.wraps(function)
            def wrapper(*args, **kwargs):
                return function(*args, **kwargs)
            return wrapper

        class Made(type):
            def __call__(cls, *args, **kwargs):
                return super().__call__(*args, **kwargs)

        class Top(frame_base.Base):
            @decorated
            def __init__(self, **options):
                self.set_up(**options)

            def set_up(self, **options):
                super().__init__(**options)

        class Metaclassed(frame_base.Base, metaclass=Made):
            pass

        class Part(frame_base.BasePart):
            @decorated
            def __init__(self, path, **options):
                super().__init__(path, **options)

        def Proxy(**options):  # stands for the class of that name, as seml.Experiment does
            class Proxy(frame_base.Base):
                pass
            return Proxy(**options)

        def factory():
            return Top(_caller_globals=sys._getframe(1).f_globals)
    """,
}
SCRIPT = '''
"""Fit a line."""
from capture import Experiment, Ingredient
from frame_base import Base, BasePart
from frame_top import Metaclassed, Part, Proxy, Top, factory

class Own(Top):
    """A subclass in the script itself."""

    def __init__(self, **options):
        super().__init__(**options)

class Trainer:
    """Something of the user's that has an experiment."""

    def __init__(self):
        self.ex = Top()

made = {
    "plain": Experiment(), "one layer": Base(), "two layers": Top(), "its own": Own(), "a metaclass": Metaclassed(),
    "a class method": Own.create(), "a factory": factory(), "an attribute": Trainer().ex,
    "a function in its place": Proxy(),
    "plain part": Ingredient("part"), "part": BasePart("part"), "part, two layers": Part("part"),
}
'''


@pytest.fixture
def made(tmp_path, monkeypatch):
    """Return what a script makes of a framework's classes, and the script."""
    for folder, modules in [("framework", FRAMEWORK), ("project", {"fit_line": SCRIPT})]:
        (tmp_path / folder).mkdir()
        monkeypatch.syspath_prepend(str(tmp_path / folder))
        for name, code in modules.items():
            (tmp_path / folder / f"{name}.py").write_text(textwrap.dedent(code).lstrip())
            monkeypatch.delitem(__import__("sys").modules, name, raising=False)
    return importlib.import_module("fit_line").made, tmp_path / "project" / "fit_line.py"


def test_name_folder_and_docs_are_those_of_the_script(made):
    """With those of the framework every experiment of a lab would be called alike, and record the wrong sources."""
    objects, script = made
    for what, part in objects.items():
        assert part.mainfile == str(script), what
        assert part.base_dir == str(script.parent), what
        assert part.doc == "Fit a line.", what
        if isinstance(part, Experiment):
            assert part.path == "fit_line", what


def test_a_test_that_gets_the_class_as_an_argument_is_still_its_maker():
    """A function whose first argument happens to be the class is not one of its methods."""

    def check(cls):
        return cls("x")

    assert check(Experiment).mainfile == __file__


def test_the_command_line_goes_through_the_frameworks_run(capsys):
    """seml switches capturing off there, others add an observer: no run may pass it by."""
    seen = []

    class Lab(Experiment):
        def run(self, command_name=None, config_updates=None, named_configs=(), info=None, meta_info=None, options=None):
            seen.append((command_name, config_updates, list(named_configs), options["--name"]))
            return super().run(command_name, config_updates, named_configs, info, meta_info, options)

    ex = Lab("x", observers=[])
    ex.add_config(lr=1, size=1)
    ex.add_named_config("big", size=9)
    ex.main(lambda lr, size: (lr, size))
    run = ex.run_commandline("script with lr=2 big --name=y")
    assert seen == [("<lambda>", {"lr": 2}, ["big"], "y")] and run.result == (2, 9)
    assert not Experiment("y").overrides_run()


def test_the_framework_decides_where_runs_go_by_default():
    """A lab's default store is not ./runs; what a user asks for still replaces it."""
    shared, own = RecordingObserver(), RecordingObserver()

    class Lab(Experiment):
        def default_observers(self):
            return [shared]

    for observers, told in [(None, [shared]), ([own], [own]), ([], [])]:
        ex = Lab("x", observers=observers)
        ex.main(lambda: 1)
        assert ex.run().observers == told


def test_the_framework_adds_to_what_is_known_of_an_experiment():
    """The repository is asked once, whoever asks."""
    observer = RecordingObserver()

    class Lab(Experiment):
        def get_experiment_info(self):
            return {**super().get_experiment_info(), "team": "blue"}

    ex = Lab("x", observers=[observer])
    ex.main(lambda: 1)
    ex.run()
    (started,) = observer.of("started_event")
    assert started["ex_info"]["team"] == "blue"
    assert started["ex_info"]["name"] == "x"
    assert ex.get_experiment_info()["mainfile"].endswith("test_subclasses.py")


def test_every_run_passes_through_create_run():
    """Command line, `ex.run()` and job scripts: one place to add what every run of a lab has."""
    observer = RecordingObserver()

    class Lab(Experiment):
        def _create_run(self, *args, **options):
            run = super()._create_run(*args, **options)
            run.tags.append("lab")
            run.observers.append(observer)
            return run

    ex = Lab("x", observers=[])
    ex.main(lambda: 1)
    ex.run()
    ex.run_commandline(["x"])
    assert [call["tags"] for call in observer.of("annotated_event")] == [["lab"], ["lab"]]


def test_commands_can_be_renamed_added_and_hidden():
    """A framework offers commands of its own, and may call those of ingredients as its users do."""

    class Lab(Experiment):
        def post_process_name(self, name, ingredient):
            return super().post_process_name(name, ingredient).replace("_", "-")

        def gather_commands(self):
            return ((name, command) for name, command in super().gather_commands() if not name.startswith("secret"))

    ex = Lab("x", observers=[])

    @ex.command
    def show_it():
        return 3

    @ex.command
    def secret():
        return 4

    assert "show-it" in ex.get_commands()
    assert ex.run("show-it").result == 3
    with pytest.raises(KeyError, match="secret"):
        ex.run("secret")


def test_options_of_the_framework_have_defaults():
    """A lab sets a default for an option of the command line without a flag on each."""

    class Lab(Experiment):
        def get_default_options(self):
            return {**super().get_default_options(), "--comment": "from the lab"}

    ex = Lab("x", observers=[])
    ex.main(lambda: 1)
    assert ex.run().meta_info["comment"] == "from the lab"
    assert ex.run(options={"--comment": "mine"}).meta_info["comment"] == "mine"
