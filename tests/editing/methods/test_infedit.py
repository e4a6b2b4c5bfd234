"""InfEdit where fewer words mark what is edited than in the cases of its formulas."""

import pytest
from infedit_formulas import CASE, WORDS
from made_models import load_double, write_small_model
from wiring import REFINED, check_formulas, drive, requested

from regrain.editing.errors import RequestError


def test_words_that_are_kept_alone_are_kept(tmp_path):
    model = load_double(write_small_model(tmp_path / "small"))
    given = {**CASE.base, "steps": 3, **WORDS, "edit_words": ""}
    request = requested("infedit", REFINED)
    check_formulas(drive(model, request, tmp_path / "cache", **given))


def test_words_that_mark_the_edit_are_refused_beside_words_of_regions(small, tmp_path):
    """Then masks say what stays."""
    given = {**CASE.base, "blend": "words", "edit_words": "panda"}
    with pytest.raises(RequestError, match=r"^params.blend: Where regions have words"):
        drive(small, requested("infedit"), tmp_path, **given)
