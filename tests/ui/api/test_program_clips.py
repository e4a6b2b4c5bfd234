"""What a program sends to have a mask found in it."""

import numpy as np
import pytest
from PIL import Image, features

from regrain.editing.media.images import FRAME_SUFFIXES
from regrain.ui.api.program_clips import open_frame


@pytest.mark.parametrize("ending", FRAME_SUFFIXES)
def test_a_picture_of_every_kind_that_can_be_a_frame_is_opened(tmp_path, ending):
    if ending == ".avif" and not features.check("avif"):
        pytest.skip("this Pillow reads no AVIF")
    mode = "L" if ending == ".pgm" else "RGB"
    picture = Image.fromarray(np.full((64, 96, 3), 90, np.uint8)).convert(mode)
    file = tmp_path / f"a{ending}"
    picture.save(file, {".jfif": "JPEG"}.get(ending))
    (tmp_path / "page").mkdir()
    session = open_frame(file, 0, tmp_path / "page", "")
    assert session.state.size == (96, 64)
    shown = session.opened.frames.read(0, 1)
    assert abs(shown.astype(int) - 90).max() <= 3
