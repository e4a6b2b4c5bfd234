"""FateZero: what it keeps in memory, and which words it takes. `test_wiring` holds its
steps to formulas."""

import pytest
from wiring import requested

from regrain.editing.errors import PromptError
from regrain.editing.methods import fatezero
from regrain.editing.params.fatezero import FateZeroParams
from regrain.editing.params.registry import check_params
from regrain.editing.recipe.window import working_clip

FOX = "a fox on the grass"
pytestmark = pytest.mark.usefixtures("own_cache")


def params(**given) -> FateZeroParams:
    return check_params("fatezero", {"steps": 4, "preview_every": 0, **given})


def prompts_of(model, asked, given) -> fatezero.FateZeroPrompts:
    return fatezero.FateZeroPrompts(model, asked, given, working_clip(model, asked))


@pytest.mark.parametrize(
    ("prompt", "given", "field", "message"),
    [
        (
            FOX,
            {"blend_words": "cta", "blend_self": True},
            "params.blend_words",
            "Did you mean 'cat'",
        ),
        (
            "a big cat on the grass",
            {"blend_self": True},
            "params.blend_words",
            "Name a word",
        ),
        (
            FOX,
            {"emphasis_words": "fix=3"},
            "params.emphasis_words",
            "Did you mean 'fox'",
        ),
        ("a fox on grass", {"cross_control": "replace"}, "prompt", "refine"),
    ],
)
def test_words_that_are_not_there_are_named(small, prompt, given, field, message):
    with pytest.raises(PromptError, match=message) as caught:
        prompts_of(small, requested("fatezero", prompt, masks=False), params(**given))
    assert caught.value.field == field
