import numpy as np
from made_masks import RED, drifting

from regrain.editing import ArrayClip
from regrain.masks import propagate
from regrain.masks.draw import iou
from regrain.masks.track.uncertainty import (
    DOUBTFUL,
    LOST,
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


def test_words():
    found = [
        UncertainSpan("doubtful", 90, 96, False),
        UncertainSpan("lost", 120, 143, False),
    ]
    assert in_words(found) == "lost in frames 120-143, doubtful in frames 90-96"
    assert in_words(found[:1], first=1) == "doubtful in frames 91-97"
    assert in_words([UncertainSpan("lost", 4, 4, False)]) == "lost in frame 4"
    assert (
        in_words([UncertainSpan("lost", 9, 11, True)]) == "lost from frame 9 to the end"
    )
    assert in_words([]) == ""
    many = [UncertainSpan("lost", 10 * n, 10 * n + n, False) for n in range(1, 7)]
    # the longest
    assert in_words(many) == "lost in frames 40-44, 50-55, 60-66 and 9 others"


def test_what_goes_behind_a_wall_is_lost_and_not_followed_as_a_speck_that_is_sure():
    clip, truth = drifting((40, 6), colors=RED, count=16)
    frames = clip.read(0, 16).copy()
    frames[:, :, 84:] = (90, 60, 40)
    scores = {}
    for frame, found, sure in propagate(ArrayClip(frames), {0: truth[0]}):
        left = truth[frame][1].copy()
        left[:, 84:] = False
        share = (found == 1).sum() / truth[0][1].sum()
        scores[frame] = judged(sure.regions[1], share)
        if frame < 6:
            assert iou(found == 1, left) > 0.8
            assert scores[frame] >= DOUBTFUL
        elif left.sum() < 0.4 * truth[0][1].sum():
            assert scores[frame] < DOUBTFUL
    assert all(scores[frame] < LOST for frame in range(11, 16)), scores
    assert "lost from frame" in in_words(doubts(scores, len(frames)))


def test_a_small_rest_lowers_confidence_and_a_large_one_does_not():
    assert judged(0.9, 0.5) == 0.9
    assert judged(0.4, 1.2) == 0.4
    assert np.isclose(judged(0.9, 0.06), 0.2)
    assert judged(0.9, 0.0) == 0.0
