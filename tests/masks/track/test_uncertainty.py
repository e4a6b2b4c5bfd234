from pathlib import Path

import numpy as np
import pytest
from json_files import read_json

from regrain.masks.track.uncertainty import (
    UncertainSpan,
    doubts,
    in_words,
    judged,
)


def test_stretches_of_a_region():
    scores = [0.9] * 3 + [0.3] * 2 + [0.0] * 4 + [0.9] + [0.05] * 2
    spans = ("doubtful", 3, 4, False), ("lost", 5, 8, False), ("lost", 10, 11, True)
    assert doubts(dict(enumerate(scores)), 12) == [
        UncertainSpan(*span) for span in spans
    ]
    # Frames that are not neighbours are no stretch.
    assert [(one.first, one.last) for one in doubts({3: 0.2, 4: 0.2, 9: 0.2}, 40)] == [
        (3, 4),
        (9, 9),
    ]


SAID = read_json(Path(__file__).with_name("uncertain_words.json"))
"""By what is said, spans (kind, first and last frame, whether it goes on to the end),
and the number of the first frame."""


@pytest.mark.parametrize("said", SAID)
def test_words(said):
    spans, first = SAID[said]
    found = [UncertainSpan(*(*span, False)[:4]) for span in spans]
    assert (in_words(found, first=first) or "nothing") == said


def test_a_small_rest_lowers_confidence_and_a_large_one_does_not():
    assert judged(0.9, 0.5) == 0.9
    assert judged(0.4, 1.2) == 0.4
    assert np.isclose(judged(0.9, 0.06), 0.2)
    assert judged(0.9, 0.0) == 0.0
