import math

import pytest
from pydantic import BaseModel

from regrain.editing.errors import ModelError, RequestError
from regrain.editing.params.registry import METHODS, check_params, resolve_params


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_every_method_has_the_common_parameters_and_describes_all(method):
    assert issubclass(method.Params, BaseModel)
    assert {"steps", "guidance_scale", "preset"} <= set(method.Params.model_fields)
    assert all(field.description for field in method.Params.model_fields.values())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("steps", 0),
        ("steps", 1001),
        ("steps", 2.5),
        ("steps", True),
        ("steps", "20"),
        ("guidance_scale", math.nan),
        ("guidance_scale", math.inf),
        ("guidance_scale", -1),
        ("self_strength", 1.01),
        ("cross_strength", -0.01),
        ("modulate_until", None),
        ("feather", 3.1),
        ("levels", "fine"),
        ("preset", "mine"),
        ("stepz", 1),
    ],
)
def test_what_is_not_allowed_is_refused_by_name(name, value):
    with pytest.raises(RequestError) as caught:
        check_params("videograin", {name: value})
    assert caught.value.field == f"params.{name}"


def test_unknown_method_lists_the_known_ones():
    with pytest.raises(RequestError, match=r"method: 'videograim' .* Did you mean 'videograin'\?"):
        check_params("videograim", {})


def test_order_of_sources():
    params, resolved = resolve_params("videograin", {"steps": 7}, {"steps": 20, "blend": False})
    assert (params.steps, params.blend, params.feather) == (7, False, 2.0)
    assert resolved["steps"] == {"value": 7, "source": "given"}
    assert resolved["blend"] == {"value": False, "source": "model"}
    assert resolved["feather"] == {"value": 2.0, "source": "method"}
    assert set(resolved) == set(type(params).model_fields)


def test_a_named_preset_outweighs_the_model_but_not_what_is_given():
    params, resolved = resolve_params(
        "videograin", {"preset": "paper", "steps": 7}, {"steps": 20, "blend": False}
    )
    assert (params.steps, params.blend) == (7, True)
    assert resolved["blend"] == {"value": True, "source": "preset"}
    assert resolved["preset"] == {"value": "paper", "source": "given"}


def test_a_bad_recommendation_is_the_models_fault():
    with pytest.raises(ModelError, match=r"defaults.json: params.steps"):
        resolve_params("videograin", {}, {"steps": -1})
