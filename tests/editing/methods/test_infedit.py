"""InfEdit where fewer words mark what is edited than in the cases of its formulas."""

from dataclasses import replace

import pytest
from infedit_formulas import CASE, WORDS
from made_models import load_double, write_small_model
from wiring import REFINED, check_formulas, drive, requested

from regrain.editing.errors import PromptError, RequestError


def test_words_that_are_kept_alone_are_kept(tmp_path):
    model = load_double(write_small_model(tmp_path / "small"))
    given = {**CASE.base, "steps": 3, **WORDS, "edit_words": ""}
    request = requested("infedit", REFINED)
    check_formulas(drive(model, request, tmp_path / "cache", **given))


def test_a_word_that_is_replaced_marks_what_stands_in_its_place(small, tmp_path):
    """As released: `cat` marks the dog that comes for it."""
    request = requested("infedit", "a dog and a fox", masks=False)
    request = replace(request, source_prompt="a cat and a fox")

    def edit(words):
        given = {**CASE.base, "steps": 3, "blend": "words", "edit_words": words}
        return drive(small, request, tmp_path, **given).result.frames

    dog, cat, fox = map(edit, ("dog", "cat", "fox"))
    assert (cat == dog).all()
    assert (fox != dog).any()
    request = replace(request, prompt="a fox")
    with pytest.raises(PromptError, match="^params.edit_words: 'cat' is not in the"):
        edit("cat")


def test_words_that_mark_the_edit_are_refused_beside_words_of_regions(small, tmp_path):
    """Then masks say what stays."""
    given = {**CASE.base, "blend": "words", "edit_words": "panda"}
    with pytest.raises(RequestError, match=r"^params.blend: Where regions have words"):
        drive(small, requested("infedit"), tmp_path, **given)
