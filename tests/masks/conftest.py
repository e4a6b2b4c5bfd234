"""What the tests of masks share."""

import numpy as np
import pytest


@pytest.fixture(scope="module")
def discs():
    """A red and a blue disc before noise; their masks."""
    y, x = np.mgrid[:120, :200]
    red, blue = np.hypot(x - 60, y - 60) < 30, np.hypot(x - 140, y - 60) < 30
    image = np.random.default_rng(0).integers(90, 130, (120, 200, 3), dtype=np.uint8)
    image[red], image[blue] = (200, 40, 30), (30, 60, 210)
    return image, red, blue
