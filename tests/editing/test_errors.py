import pickle
from typing import Annotated

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from regrain.editing import errors


@pytest.mark.parametrize(
    ("kind", "parents"),
    [
        (errors.RequestError, (errors.EditingError, ValueError)),
        (errors.ClipError, (errors.RequestError,)),
        (errors.MaskError, (errors.RequestError,)),
        (errors.PromptError, (errors.RequestError,)),
        (errors.ModelError, (errors.EditingError,)),
        (errors.ResourceError, (errors.EditingError,)),
        (errors.DivergedError, (errors.EditingError,)),
    ],
)
def test_tree(kind, parents):
    assert all(issubclass(kind, parent) for parent in parents)
    assert issubclass(kind, ValueError) == issubclass(kind, errors.RequestError)


def test_text_is_one_line_and_survives_pickling():
    error = pickle.loads(pickle.dumps(errors.MaskError("ma\nsks", "two\n  lines")))
    assert type(error) is errors.MaskError
    assert (str(error), error.field, error.message) == ("ma sks: two lines", "ma sks", "two lines")


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")
    strength: float = 1.0


class Either(BaseModel):
    model_config = ConfigDict(strict=True)
    widths: int | list[int] = 1
    kind: str = Field("", alias="_kind")


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"widths": "x"}, "widths: Expected a whole number, got 'x'."),
        ({"widths": [1, "x"]}, "widths: Expected a whole number, got [1, 'x']."),
        ({"_kind": 1}, "_kind: Expected text, got 1."),
    ],
)
def test_a_choice_of_types_is_named_by_its_key_alone(value, said):
    with pytest.raises(ValidationError) as caught:
        Either.model_validate(value)
    assert str(errors.from_validation(caught.value, Either)) == said


class Outer(BaseModel):
    regions: list[Inner] = []
    frames: Annotated[int, Field(ge=1, le=9)] | None = None


def complaint(content):
    with pytest.raises(ValidationError) as caught:
        Outer.model_validate(content)
    return errors.from_validation(caught.value, Outer, "p.")


def test_unknown_key_is_named_with_what_is_allowed_there():
    error = complaint({"regions": [{}, {"strenght": 1}]})
    assert error.field == "p.regions.1.strenght"
    assert "Unknown key" in error.message
    assert "Did you mean 'strength'?" in error.message


def test_a_value_that_may_be_missing_has_its_limits():
    for given in (0, 10):
        assert complaint({"frames": given}).message == f"Expected a whole number from 1 to 9, got {given!r}."


def test_bad_value_is_shown_and_cut():
    error = complaint({"regions": [{"strength": "x" * 500}]})
    assert error.field == "p.regions.0.strength"
    assert "xxx..." in error.message
    assert len(error.message) < 200
