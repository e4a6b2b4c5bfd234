import numpy as np

from regrain.editing.media.labels import grow_labels


def test_labels_grow_into_free_pixels_only_each_to_its_own_reach():
    labels = np.zeros((2, 24, 40), np.uint8)
    labels[0, 8:14, 4:10], labels[0, 8:14, 14:20], labels[1, 3, 3] = 1, 2, 2
    reach = {1: 3, 2: 7}
    grown = grow_labels(labels, reach)
    y, x = np.mgrid[:24, :40]
    for t in (0, 1):
        nearest = {n: np.full((24, 40), np.inf) for n in reach}
        for n in reach:
            for py, px in zip(*np.nonzero(labels[t] == n), strict=True):
                nearest[n] = np.minimum(nearest[n], np.hypot(y - py, x - px))
        near = {n: np.where(d <= reach[n], d, np.inf) for n, d in nearest.items()}
        # The distance transform is off by at most 2 %: pixels in doubt are not asked.
        doubt = np.isclose(near[1], near[2], rtol=0.05, atol=0.3)
        for n, d in nearest.items():
            doubt |= np.isclose(d, reach[n], rtol=0.05)
        want = np.where(near[1] < near[2], 1, np.where(np.isfinite(near[2]), 2, 0))
        assert (grown[t] == np.where(labels[t] > 0, labels[t], want))[~doubt | (labels[t] > 0)].all()
    assert (grown[labels > 0] == labels[labels > 0]).all()
    assert grow_labels(labels, {1: 0, 2: 0}) is labels
