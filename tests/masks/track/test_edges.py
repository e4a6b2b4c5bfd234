import numpy as np

from regrain.masks.track.edges import iou, learn, tighten


def test_edges_go_where_colours_part(discs):
    image, red, blue = discs
    off = np.roll(red, 4, axis=1)
    tight = tighten(image, off, blue, learn(image, red))
    assert iou(off, red) < 0.9
    assert iou(tight, red) > 0.97


def test_nothing_and_everything_teach_no_colours(discs):
    assert learn(discs[0], np.zeros((120, 200), bool)) is None
    assert learn(discs[0], np.ones((120, 200), bool)) is None
