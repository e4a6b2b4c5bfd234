import pickle
from types import SimpleNamespace
from typing import Annotated

import pytest
import typer
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from regrain.editing import errors
from regrain.editing.boundary import boundary
from regrain.editing.cli.commands import call
from regrain.editing.models.loading.load import load_backbone


def test_what_a_request_says_wrong_is_a_value_error():
    for kind in (errors.ClipError, errors.MaskError, errors.PromptError):
        assert issubclass(kind, errors.RequestError)
    assert issubclass(errors.RequestError, ValueError)


def test_text_is_one_line_and_survives_pickling():
    error = pickle.loads(pickle.dumps(errors.MaskError("ma\nsks", "two\n  lines")))
    assert type(error) is errors.MaskError
    assert (str(error), error.field, error.message) == (
        "ma sks: two lines",
        "ma sks",
        "two lines",
    )


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    strength: float = 1.0


class Outer(BaseModel):
    model_config = ConfigDict(strict=True)
    regions: list[Inner] = []
    frames: Annotated[int, Field(ge=1, le=9)] | None = None
    widths: int | list[int] = 1
    kind: str = Field("", alias="_kind")


@pytest.mark.parametrize(
    ("value", "said"),
    [
        # Which of several types failed is not named.
        ({"widths": "x"}, "widths: Expected a whole number, got 'x'."),
        ({"widths": [1, "x"]}, "widths: Expected a whole number, got [1, 'x']."),
        ({"_kind": 1}, "_kind: Expected text, got 1."),
        # A value that may be missing has its limits.
        ({"frames": 0}, "frames: Expected a whole number from 1 to 9, got 0."),
        ({"frames": 10}, "frames: Expected a whole number from 1 to 9, got 10."),
        (
            {"regions": [{}, {"strenght": 1}]},
            "regions.1.strenght: Unknown key. Did you mean 'strength'? Choose from strength.",
        ),
        (
            {"regions": [{"strength": "x" * 500}]},
            f"regions.0.strength: Expected a number, got '{'x' * 56}....",
        ),
    ],
)
def test_what_pydantic_complains_of_is_named_by_its_path(value, said):
    with pytest.raises(ValidationError) as caught:
        Outer.model_validate(value)
    assert str(errors.from_validation(caught.value, Outer)) == said
    assert str(errors.from_validation(caught.value, Outer, "p.")) == f"p.{said}"


SHORT = {
    ImportError("libtorch_cpu.so: failed to map segment from shared object"): "Memory",
    RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 bytes"): "Memory",
    OSError(12, "Cannot allocate memory"): "Memory",
    RuntimeError("can't start new thread"): "No further thread",
    BlockingIOError(11, "Resource temporarily unavailable"): "No further thread",
    OSError(24, "Too many open files", "a.mp4"): "Too many files",
}


@pytest.mark.parametrize("failure", SHORT)
@pytest.mark.parametrize("inner", [False, True])
def test_a_machine_that_is_short_of_something_is_blamed_on_nothing_else(
    failure, inner, capsys
):
    app = typer.Typer()

    @app.command()
    def fail():
        if not inner:
            raise failure
        try:
            raise failure
        except Exception:
            raise ImportError("no diffusers") from None

    assert call(app, "fail", []) == 2
    assert capsys.readouterr().err.startswith(f"error: machine: {SHORT[failure]}")
    with (
        pytest.raises(errors.ResourceError, match=f"clip: {SHORT[failure]}"),
        boundary("clip", "It is damaged.", errors.ClipError),
    ):
        fail()


@pytest.mark.parametrize(
    ("failure", "said"),
    [
        (ImportError("no", name="av"), "installation: "),
        (OSError(2, "No such file", "out of.mp4"), "file: 'out of.mp4' cannot be used"),
    ],
)
def test_other_failures_are_no_shortage(failure, said, capsys):
    app = typer.Typer()

    @app.command()
    def fail():
        raise failure

    assert call(app, "fail", []) == 2
    assert capsys.readouterr().err.startswith(f"error: {said}")
    with pytest.raises(errors.ClipError), boundary("clip", "Wrong.", errors.ClipError):
        raise failure


def test_python_without_docstrings_is_named(small_folder, monkeypatch):
    flags = SimpleNamespace(optimize=2)
    monkeypatch.setattr("regrain.editing.models.loading.load.sys.flags", flags)
    with pytest.raises(errors.ModelError, match="^python: .* without -OO"):
        load_backbone(str(small_folder))
