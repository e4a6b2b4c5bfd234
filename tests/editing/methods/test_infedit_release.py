"""InfEdit beside numbers of the authors' code: in the same precision, with the same
model, latents and draws, no value differs by a millionth of the largest."""

from functools import partial

import pytest
import torch
from infedit_release import (
    CASES,
    NUMBERS,
    USUAL,
    drawn,
    is_released,
    kept,
    load_tiny,
    request,
)
from json_files import read_json
from running import finish

from regrain.editing.attention.maps import exchange
from regrain.editing.methods import infedit
from regrain.editing.params.registry import METHODS, check_params
from regrain.editing.recipe import attention_recorder

pytestmark = pytest.mark.processors
RELEASED = read_json(NUMBERS)
replaced = infedit.replaced


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return load_tiny(tmp_path_factory.mktemp("models"))


def swapped(source, target, indices):
    """The tokens in others' places, by the vectors of the two prompts the wrong way
    round."""
    one, other = (
        source.with_vectors(target.vectors),
        target.with_vectors(source.vectors),
    )
    return replaced(one, other, indices)


@pytest.mark.parametrize("name", CASES)
def test_an_edit_is_the_released_one(tiny, no_grad, monkeypatch, name):
    # The layers that are read at 64 x 96, of latents as small as these.
    monkeypatch.setattr(attention_recorder, "_SIDE", 4)
    monkeypatch.setattr(torch, "randn", drawn)
    # Words are aligned as in their code, and found by the other prompt's vectors.
    monkeypatch.setattr(infedit, "exchange", partial(exchange, variant="original"))
    monkeypatch.setattr(infedit, "replaced", swapped)
    source, prompt, given = CASES[name]
    params = check_params("infedit", USUAL | given)
    asked = request(source, prompt)
    (found,) = finish(METHODS["infedit"].run(tiny, asked, params)).edits
    is_released(kept(found), RELEASED[name])
