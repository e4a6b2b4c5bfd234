import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest
from commands import command

from regrain.editing import ArrayClip
from regrain.editing.media.labels import flatten
from regrain.editing.media.mask_files import (
    read_labels,
    read_regions,
    write_labels,
    write_regions,
)
from regrain.editing.media.writing import write_lossless
from regrain.masks.__main__ import main
from regrain.masks.models import sam
from regrain.masks.track import following
from regrain.masks.track.propagate import Confidence

SIZE = (96, 64)
CLICK = ("--click", "1:0,25,32")  # on the red disc
call = command(main)


Y, X = np.mgrid[:64, :96]


def labels_in(folder, frames=6):
    return np.asarray(read_labels(folder, frames, SIZE))


def disc(x):
    return np.hypot(X - x, Y - 32) < 12


@pytest.fixture
def clip(tmp_path, monkeypatch):
    """A red and a blue disc that drift over noise; no SAM weights."""
    monkeypatch.setattr(sam, "BUILT_IN_SAM", tmp_path / "none")
    behind = np.random.default_rng(0).integers(90, 130, (64, 96, 3), np.uint8)
    frames = np.stack([behind] * 6)
    for t, frame in enumerate(frames):
        frame[disc(25 + t)], frame[disc(70 - t)] = (210, 40, 40), (40, 60, 220)
    write_lossless(tmp_path / "clip.mkv", ArrayClip(frames, Fraction(8)))
    return tmp_path / "clip.mkv"


@pytest.fixture
def make(tmp_path):
    """Writes what a command makes to a path of this name."""

    def written(*given, out="out"):
        assert call(*given, "-o", tmp_path / out) == 0
        return tmp_path / out

    return written


def are_near(found, expected):
    return (found ^ expected).sum() < 0.15 * expected.sum()


@pytest.mark.parametrize("drawn", [True, False])
def test_drawn_clips_ask_sam_and_real_ones_cuts(
    clip, make, capsys, monkeypatch, watched, drawn
):
    asked, followed = watched(following, "segment"), watched(following, "propagate")
    if drawn:
        # as if the clip said that it was
        monkeypatch.setattr("regrain.masks.__main__.DRAWN", "")
    make("track", clip, "--click", "1:2,27,32", "--frames", 3)
    ((_, how),) = asked
    assert (how["method"], how["frame"], len(how["clip"])) == ("cuts", 2, 3)
    assert ("SAM weights are missing" in capsys.readouterr().err) == drawn
    assert [how["tracker"] for _, how in followed] == ["cuts"]


def test_used_frames(clip, make):
    used = ["--start", 1, "--stride", 2, "--frames", 2]
    options = [*used, "--method", "cuts", "--click", "9:1,28,32"]
    for _ in range(2):  # the second time over masks that are there
        assert set(np.unique(labels_in(make("track", clip, *options), 2))) == {0, 9}


def test_a_bad_request_is_refused_before_torch():
    code = "import sys, masks.__main__ as m; sys.exit(m.main(sys.argv[1:]) != 2 or 'torch' in sys.modules)"
    given = ["track", "none.mp4", "--click", "1:0,2,2", "-o", "out"]
    subprocess.run([sys.executable, "-c", code, *given], check=True)


def test_overlapping_masks_stay_whole_but_in_a_video(tmp_path, make, capsys):
    masks = dict(enumerate(np.zeros((2, 2, 64, 96), bool), 1))
    masks[1][:, 10:30, 10:30] = masks[2][:, 20:40, 20:40] = True
    write_regions(masks, tmp_path / "in")
    source = tmp_path / "in"
    for out in ("a.json", "out", "b.mkv", "flat"):
        source = make("convert", source, out=out)
        assert "masks read: 2 regions: " in capsys.readouterr().out
    np.testing.assert_equal(read_regions(tmp_path / "out", 2, SIZE), masks)
    assert (labels_in(tmp_path / "flat", 2) == flatten(masks)).all()
    make("convert", tmp_path / "in")  # over masks written before


def test_a_video_has_a_colour_for_each_label(tmp_path, make):
    labels = np.ones((4, 64, 96), np.uint8)
    labels[:, :30] = 9
    write_labels(labels, tmp_path / "in", {})
    given = ("--color", "9=#ffffff")
    path = make("convert", tmp_path / "in", *given, out="out.mkv")
    assert make("convert", path, *given) == tmp_path / "out"
    assert (labels_in(tmp_path / "out", 4) == labels).all()


def test_a_correction_tracks_again_up_to_the_next_right_frame(
    clip, tmp_path, make, watched
):
    before = labels_in(make("track", clip, *CLICK, "--click", "2:0,70,32"))
    seen = watched(following, "propagate")
    wrong = before.copy()
    wrong[3:5][wrong[3:5] == 1] = 0  # lost on two frames
    write_labels(wrong, tmp_path / "wrong", {})
    options = ["--masks", tmp_path / "wrong", "--click", "1:3,28,32"]
    after = labels_in(make("track", clip, *options, "--key", 2, "--key", 5))
    (((_, keys), how),) = seen
    assert (how["start"], how["stop"]) == (2, 6)
    known = {frame: sorted(masks) for frame, masks in keys.items()}
    assert known == {2: [1, 2], 3: [1], 5: [1, 2]}
    for frame in range(6):
        if frame in (3, 4):
            assert are_near(after[frame] == 1, before[frame] == 1)
            assert ((after[frame] == 2) == (wrong[frame] == 2)).mean() > 0.99
        else:
            assert (after[frame] == wrong[frame]).all()


def test_masks_may_be_corrected_where_they_are(clip, make):
    out = make("track", clip, *CLICK)
    again = ("--masks", out, "--click", "2:4,66,32", "--key", 1)
    labels = labels_in(make("track", clip, *again))
    for frame, label in ((4, 2), (0, 1)):
        assert (labels[frame] == label).sum() > 300


def test_where_a_region_is_lost_is_said(clip, make, capsys, monkeypatch):
    def propagate(clip, keys, **how):
        for frame in range(len(clip)):
            labels = keys[0][1] & (frame not in (2, 3))
            yield frame, np.uint8(labels), Confidence({1: 0.4 if frame == 5 else 0.9})

    monkeypatch.setattr(following, "propagate", propagate)
    make("track", clip, *CLICK)
    said = "label 1: lost in frames 2-3, doubtful in frame 5. Click it there too."
    assert f"warning: {said}\n" in capsys.readouterr().err
