"""What a program sends to have a mask found in it."""

from types import SimpleNamespace

import numpy as np
import pytest
from made_clips import moving, write_clip
from PIL import Image

from regrain.ui.api import programs
from regrain.ui.api.endpoints import Caller
from regrain.ui.api.program_clips import open_frame
from regrain.ui.api.program_schema import (
    ClickedRegion,
    FrameClick,
    SegmentImage,
    TrackVideo,
)
from regrain.ui.server.media import Media
from regrain.ui.server.run_queue import RunQueue


@pytest.mark.parametrize("ending", [".png", ".jpg", ".gif"])
def test_a_picture_and_what_may_be_a_video_are_opened(tmp_path, ending):
    file = tmp_path / f"a{ending}"
    Image.new("RGB", (96, 64), "teal").save(file)
    (tmp_path / "page").mkdir()
    assert open_frame(file, 0, tmp_path / "page", "").state.size == (96, 64)


@pytest.mark.parametrize("act", ["segment", "track"])
def test_programs_wait_for_each_others_masks_and_follow_what_was_clicked(
    tmp_path, monkeypatch, act
):
    """Whoever waits looks whether its program has left; here the one before ends
    then."""
    followed = []

    def find(image, *_, **__):
        assert before.ending
        return np.ones(image.shape[:2], bool)

    def follow(session, labels):
        followed.extend(labels)
        yield from ()

    jobs = SimpleNamespace(media=Media(tmp_path / "media"))
    follower = SimpleNamespace(follow=follow)
    program = programs.Programs(jobs, RunQueue(), follower, find)
    before = program.masking.enter_first()
    assert before.wait(0)
    monkeypatch.setattr(
        programs, "_check", lambda _: before.ending or before.leave(finished=True)
    )
    clip = write_clip(tmp_path / "clip.mp4", moving(3))
    click = FrameClick(x=40, y=30)
    if act == "segment":
        asked = SegmentImage.model_construct(image=clip, frame=0, clicks=[click])
        program.segment(asked, Caller("", ""))
    else:
        regions = [ClickedRegion(clicks=[click]), ClickedRegion()]
        asked = TrackVideo.model_construct(video=clip, regions=regions)
        program.track(asked, Caller("", ""))
        assert followed == [1]
