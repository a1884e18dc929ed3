"""Functions get the very objects that typed classes in the configuration describe."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Optional, Union

import attrs
import pydantic
import pytest

from capture import Experiment, Ingredient
from capture.errors import ConfigTypeError, MissingConfigError


@dataclass
class Model:
    width: int = 64


@dataclass
class Training:
    lr: float = 0.1
    model: Model = field(default_factory=Model)

    def doubled(self):
        return 2 * self.lr


class PydanticTraining(pydantic.BaseModel):
    lr: float = 0.1


@attrs.define
class AttrsTraining:
    lr: float = 0.1


@pytest.fixture
def ex():
    return Experiment("typed", observers=[])


@pytest.mark.parametrize("cls", [Training, PydanticTraining, AttrsTraining])
def test_a_parameter_annotated_with_the_class_of_the_config_gets_the_object(ex, cls):
    """Whatever its name is: methods and attribute access are why people write such classes."""
    ex.config(cls)

    def main(anything):
        return anything

    main.__annotations__["anything"] = cls
    ex.main(main)
    got = ex.run(config_updates={"lr": "0.5"}).result
    assert type(got) is cls
    assert got.lr == 0.5


def test_an_object_given_as_a_whole_group_is_handed_over_by_name_and_by_class(ex):
    """``add_config(model=Model())`` is how a typed part is put into an untyped config."""
    ex.add_config(model=Model(3), lr=0.1)

    @ex.capture
    def by_class(anything: Model):
        return anything

    @ex.main
    def main(model: Model, lr):
        assert by_class() is model
        return model, lr

    assert ex.run(config_updates={"model.width": 7}).result == (Model(7), 0.1)


def test_an_object_within_an_object_is_the_same_one(ex):
    """Otherwise a cached property, or a connection that it opened, would be there twice."""
    ex.config(Training)

    @ex.capture
    def inner(model: Model):
        return model

    @ex.main
    def main(config: Training):
        return config.model is inner() and config.doubled()

    assert ex.run().result == 0.2


@pytest.mark.parametrize(
    "annotation",
    [Optional[Training], Union[None, Training], Training | None, "Training", "Training | None", "Optional[Training]",  # noqa: UP007, UP045
     "classes.Training", Optional["Training"]],
)  # fmt: skip
def test_the_ways_to_write_an_annotation(ex, annotation):
    """Postponed annotations are strings; optional ones name the class, too."""
    ex.config(Training)

    def main(config):
        return config

    main.__annotations__["config"] = annotation
    ex.main(main)
    assert ex.run().result == Training()


@pytest.mark.parametrize("annotation", ["list[Training]", "dict[str, Training]", list[Training], type[Training], object])
def test_a_container_of_such_objects_is_not_the_object(ex, annotation):
    """Filling it would put an object where a list is expected."""
    ex.config(Training)

    def main(others=()):
        return others

    main.__annotations__["others"] = annotation
    ex.main(main)
    assert ex.run().result == ()


def test_without_the_annotation_it_is_a_dict_like_any_other(ex):
    """Existing functions keep working when a config becomes typed."""
    ex.config(Training)

    @ex.main
    def main(model, _config):
        return dict(model), dict(_config)["lr"]

    assert ex.run().result == ({"width": 64}, 0.1)


def test_of_two_objects_of_one_class_the_name_decides(ex):
    """Guessing between an encoder and a decoder would be worse than asking."""
    ex.add_config(encoder=Model(1), decoder=Model(2))

    @ex.main
    def main(encoder: Model, decoder: Model):
        return encoder.width, decoder.width

    @ex.command
    def unclear(model: Model):
        """Which one?"""

    assert ex.run().result == (1, 2)
    with pytest.raises(MissingConfigError, match="'model'"):
        ex.run("unclear")


def test_a_prefix_narrows_what_an_annotation_can_mean(ex):
    """As it narrows the entries."""
    ex.add_config(encoder=Model(1), decoder=Model(2))

    @ex.capture(prefix="decoder")
    def within(m: Model, width):
        return m.width, width

    @ex.main
    def main():
        return within()

    assert ex.run().result == (2, 2)


def test_what_the_caller_gives_wins(ex):
    """As for every captured function."""
    ex.config(Training)

    @ex.capture
    def use(config: Training):
        return config.lr

    @ex.main
    def main():
        return use(), use(Training(lr=9.0)), use(config=Training(lr=8.0))

    assert ex.run().result == (0.1, 9.0, 8.0)


def test_an_ingredients_typed_config_reaches_its_own_functions_and_the_experiments():
    """A typed ingredient is used from both sides."""
    data = Ingredient("data")
    data.config(Model)
    ex = Experiment("typed", ingredients=[data], observers=[])

    @data.capture
    def own(m: Model):
        return m

    @ex.main
    def main(data: Model, whatever: Model):
        return data is own() and whatever is data and data.width

    assert ex.run(config_updates={"data.width": 5}).result == 5


def test_a_value_that_does_not_fit_is_refused_before_main(ex):
    """An hour into training is too late."""
    ex.config(Training)
    called = []

    @ex.main
    def main(config: Training):
        called.append(config)

    with pytest.raises(ConfigTypeError, match=r"model\.width"):
        ex.run(config_updates={"model.width": "wide"})
    with pytest.raises(ConfigTypeError, match="did you mean 'width'|width"):
        ex.run(config_updates={"model.widht": 3})
    assert called == []
