"""What a program sends to have a mask found in it."""

import pytest
from PIL import Image

from regrain.ui.api.program_clips import open_frame


@pytest.mark.parametrize("ending", [".png", ".jpg", ".gif"])
def test_a_picture_and_what_may_be_a_video_are_opened(tmp_path, ending):
    file = tmp_path / f"a{ending}"
    Image.new("RGB", (96, 64), "teal").save(file)
    (tmp_path / "page").mkdir()
    assert open_frame(file, 0, tmp_path / "page", "").state.size == (96, 64)
