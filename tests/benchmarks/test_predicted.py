"""What runs are said to need, beside what is counted from shapes."""

from pathlib import Path

import pytest

from benchmarks.predicted import WANS, cards, counted
from regrain.editing.storage.memory import need_of

DOCUMENT = Path(__file__).parents[2] / "docs" / "models.md"
FRAMES = 81  # of 832 x 480, for which calls are counted


@pytest.mark.full
@pytest.mark.parametrize("name", WANS)
def test_what_is_said_is_within_a_tenth_of_what_is_counted(name):
    need = need_of(name)
    found = counted(name)
    assert need.weights == pytest.approx(found.weights, rel=0.1)
    assert need.blocks == pytest.approx(found.blocks, rel=0.1)
    assert need.per_frame * FRAMES == pytest.approx(found.call, rel=0.1)
    in_blocks = found.blocks + found.call
    assert need.on_gpu(FRAMES, free=0) / 2**30 == pytest.approx(
        max(in_blocks, 2.7), rel=0.1
    )


@pytest.mark.parametrize(
    ("name", "gigabytes"), [("Wan 2.1 VACE, 14B", 11.5), ("Wan 2.1 VACE", 7)]
)
def test_the_models_people_want_fit_on_the_cards_they_have(name, gigabytes):
    need = need_of(name)
    assert need.on_gpu(FRAMES, free=gigabytes * 1e9 / 2) <= gigabytes * 1e9
    assert need.on_gpu(FRAMES) > gigabytes * 1e9 or name == "Wan 2.1 VACE"


def test_the_table_of_cards_is_the_documents():
    assert cards() in DOCUMENT.read_text()
