import numpy as np
import pytest

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


@pytest.mark.parametrize(
    ("spans", "first", "said"),
    [
        ([("doubtful", 90, 96), ("lost", 120, 143)], 0,
         "lost in frames 120-143, doubtful in frames 90-96"),
        ([("doubtful", 90, 96)], 1, "doubtful in frames 91-97"),
        ([("lost", 4, 4)], 0, "lost in frame 4"),
        ([("lost", 9, 11, True)], 0, "lost from frame 9 to the end"),
        ([], 0, ""),
        # the longest
        ([("lost", 10 * n, 11 * n) for n in range(1, 7)], 0,
         "lost in frames 40-44, 50-55, 60-66 and 9 others"),
    ],
)  # fmt: skip
def test_words(spans, first, said):
    found = [UncertainSpan(*(*span, False)[:4]) for span in spans]
    assert in_words(found, first=first) == said


def test_a_small_rest_lowers_confidence_and_a_large_one_does_not():
    assert judged(0.9, 0.5) == 0.9
    assert judged(0.4, 1.2) == 0.4
    assert np.isclose(judged(0.9, 0.06), 0.2)
    assert judged(0.9, 0.0) == 0.0
