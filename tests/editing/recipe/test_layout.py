import numpy as np
import pytest

from regrain.editing import ArrayClip, EditRequest, Region
from regrain.editing.recipe.layout import coded


@pytest.mark.parametrize("width", [1, 6])
def test_codes_follow_the_order_of_regions_whatever_their_labels(width):
    labels = np.zeros((2, 12, width), np.uint8)
    labels[:, :4], labels[:, 6:] = 9, 4
    regions = (Region("up", 9, "a fox", margin=0), Region("down", 4))
    clip = ArrayClip(np.zeros((*labels.shape, 3), np.uint8))
    found = coded(EditRequest(clip, labels, regions), lambda part: part)
    assert np.array_equal(found, np.select([labels == 9, labels == 4], [1, 2]))
