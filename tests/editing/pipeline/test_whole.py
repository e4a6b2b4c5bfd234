"""A stretch of a clip, edited and put back; a clip of a varying rate through the
command line."""

import filecmp
import sys
import types
from fractions import Fraction

import numpy as np
import pytest
from commands import command, last_error
from json_files import read_json
from made_clips import RATE, flat, heard, moving, off, seen, write_clip
from PIL import Image
from running import negative

from regrain.editing.__main__ import main
from regrain.editing.errors import RequestError
from regrain.editing.media.clip import ArrayClip, ColorTags
from regrain.editing.media.reading import open_clip
from regrain.editing.media.writing import timing_of, write_video
from regrain.editing.pipeline import outputs
from regrain.editing.pipeline.outputs import check_whole, write_whole
from regrain.editing.request.project import load_project

STAMPS = [0, 40, 80, 200, 240, 500, 540, 580, 700, 740]
SDEDIT = ("--method", "sdedit")  # edits without regions
LEVELS = range(20, 220, 20)
call = command(main)


@pytest.fixture
def source(tmp_path):
    """Ten frames at a varying rate, with a tone from the frame at 0.5 s on."""
    path = tmp_path / "source.mp4"
    return write_clip(
        path, flat(LEVELS), stamps=STAMPS, last=60, tone_at=0.5, bf="0", crf="4"
    )


def test_an_edit_has_the_times_and_the_sound_of_its_stretch_and_the_rest_is_copied(
    tmp_path, source, monkeypatch
):
    engine = types.SimpleNamespace(edit=negative)
    monkeypatch.setitem(sys.modules, "regrain.editing.pipeline.runner", engine)
    options = ["--start", 3, "--frames", 4, "--size", 256]
    options += ["--source-prompt", "a", "--prompt", "b"]
    out = tmp_path / "out"
    assert call("new", source, "-o", tmp_path / "p", *options) == 0
    made = load_project(tmp_path / "p")
    assert (made.size, made.regions, made.labels) == (256, (), None)
    assert call("run", tmp_path / "p", *SDEDIT, "-o", out, "--whole") == 0
    for name in ("edited.mp4", "comparison.mp4"):
        times, end = seen(out / name)
        assert times == [Fraction(stamp - 200, 1000) for stamp in STAMPS[3:7]]
        assert end == Fraction(580 - 200, 1000)
    _, sound = heard(out / "edited.mp4")
    onset = RATE * 30 // 100
    assert np.abs(sound[0, : onset - 960]).max() < 0.05
    assert np.abs(sound[0, onset + 960 :]).max() > 0.4
    report = read_json(out / "report.json")
    assert report["whole"] == {"file": "whole.mp4", "start": 3, "stop": 7, "frames": 10}
    clip = open_clip(source)
    frames = clip.read(0, 10)
    frames[3:7] = 255 - frames[3:7]
    more = timing_of(clip) | {"audio_from": clip.audio, "tags": clip.tags}
    write_video(tmp_path / "expected.mp4", frames, clip.fps, **more)
    assert filecmp.cmp(out / "whole.mp4", tmp_path / "expected.mp4", shallow=False)


@pytest.mark.parametrize(("start", "frames"), [(0, 4), (6, 4), (0, 10)])
@pytest.mark.parametrize("is_folder", [False, True])
def test_a_stretch_may_touch_the_ends_and_images_may_be_whole(
    tmp_path, source, start, frames, is_folder
):
    if is_folder:
        source = tmp_path / "images"
        source.mkdir()
        for index, frame in enumerate(flat(LEVELS)):
            Image.fromarray(frame).save(source / f"{index}.png")
    clip = open_clip(source, start, 1, frames)
    stop = start + frames
    told = write_whole(tmp_path / "w.mp4", clip, iter(0 * clip.read(0, frames)))
    assert told == {"file": "w.mp4", "start": start, "stop": stop, "frames": 10}
    levels = np.array(LEVELS)
    levels[start:stop] = 0
    found = open_clip(tmp_path / "w.mp4").read(0, 10)
    assert np.abs(found.mean((1, 2, 3)) - levels).max() < 3


def test_what_is_interlaced_is_made_whole_frames_around_an_edit_too(tmp_path, watched):
    path = write_clip(tmp_path / "a.mp4", moving(6), x264_params="tff=1")
    clip = open_clip(path, 1, 1, 2, deinterlace=True)
    opened = watched(outputs, "open_clip")
    write_whole(tmp_path / "w.mp4", clip, iter(clip.read(0, 2)))
    ((_, how),) = opened
    assert how["deinterlace"]


def test_what_cannot_be_whole_is_refused_before_the_engine_is_loaded(
    tmp_path, source, capsys, monkeypatch
):
    said = "'array' is not a file. Use a video file or a folder of images.$"
    with pytest.raises(RequestError, match=f"^--whole: {said}"):
        check_whole(ArrayClip(flat(LEVELS)))
    monkeypatch.setitem(sys.modules, "regrain.editing.pipeline.runner", None)
    new = ("new", source, "-o", tmp_path / "p", "--stride", 2, "--prompt", "b")
    assert call(*new) == 0
    assert call("run", tmp_path / "p", *SDEDIT, "-o", tmp_path / "out", "--whole") == 2
    said = (
        "With a stride of 2, the clip skips frames of its file. Set clip.stride to 1."
    )
    assert last_error(capsys) == f"error: --whole: {said}"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("pixels", ["yuv420p", "yuv444p", "yuv422p10le"])
@pytest.mark.parametrize(
    "tags", [(), (1, 2, 1, 1), (6, 1, 6, 6), (9, 1, 9, 16), (2, 0, 2, 2)]
)
def test_a_written_clip_shows_the_colours_of_its_source(tmp_path, pixels, tags):
    tags = ColorTags(*tags)
    bars = np.uint8([(200, 60, 30), (20, 180, 90), (240, 240, 250)])
    colors = np.tile(bars.repeat(32, 0), (3, 16, 1, 1))
    how = {"pixels": pixels, "crf": "1", "tags": tags}
    clip = open_clip(write_clip(tmp_path / "s.mkv", colors, **how))
    write_video(tmp_path / "w.mp4", clip.read(0, 3), clip.fps, tags=clip.tags)
    again = open_clip(tmp_path / "w.mp4")
    assert clip.tags == again.tags == tags
    inside = np.r_[8:24, 40:56, 72:88]  # of bars whose edges are soft
    shown = again.read(0, 3)[:, :, inside]
    source = clip.read(0, 3)[:, :, inside]
    assert off(shown, source).max() <= 3
    assert off(source, colors[:, :, inside]).max() <= 3
