"""InfEdit where fewer words mark what is edited than in the cases of its formulas."""

from infedit_formulas import CASE, WORDS
from made_models import load_double, write_small_model
from wiring import REFINED, check_formulas, drive, requested


def test_words_that_are_kept_alone_are_kept(tmp_path):
    model = load_double(write_small_model(tmp_path / "small"))
    given = {**CASE.base, "steps": 3, **WORDS, "edit_words": ""}
    request = requested("infedit", REFINED)
    check_formulas(drive(model, request, tmp_path / "cache", **given))
