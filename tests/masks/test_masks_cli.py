import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest
from commands import command, last_error
from made_clips import flat
from PIL import Image
from tables import rows

from regrain.editing import ArrayClip
from regrain.editing.media.labels import (
    flatten,
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


def contents(folder):
    return {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}


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


@pytest.fixture
def refused(capsys, tmp_path):
    """Checks that a command is refused, and leaves all as it was."""

    def check(said, *given):
        before = contents(tmp_path)
        assert call(*given) == 2
        assert said in last_error(capsys)
        assert contents(tmp_path) == before

    return check


def are_near(found, expected):
    return (found ^ expected).sum() < 0.15 * expected.sum()


def check_discs(folder):
    for t, labels in enumerate(labels_in(folder)):
        assert are_near(labels == 1, disc(25 + t))
        assert are_near(labels == 2, disc(70 - t))


def watched(monkeypatch, name):
    """What a function of `following` is called with from now on: by position, and by
    name."""
    seen, inner = [], getattr(following, name)
    watch = lambda *given, **how: seen.append((given, how)) or inner(*given, **how)  # noqa: E731
    monkeypatch.setattr(following, name, watch)
    return seen


def test_one_mask_at_a_frame_is_tracked_like_clicks(clip, tmp_path, make, refused):
    Image.fromarray(disc(25 + 2)).save(tmp_path / "one.png")
    masks = ["--masks", tmp_path / "one.png", "--at"]
    check_discs(make("track", clip, *masks, 2, "--click", "2:3,67,32"))
    for options, said in (
        ([], "click: Nothing to track."),
        (["--at", 2, *CLICK], "at: Needs --masks."),
        ([*masks, 2, "--key", 1], "key: It is of masks for"),
        ([*masks, 6], "at: Frame 6 is outside the clip. Choose from 0 to 5."),
    ):
        refused(f"error: --{said}", "track", clip, *options, "-o", tmp_path / "b")


@pytest.mark.parametrize("drawn", [True, False])
def test_drawn_clips_ask_sam_and_real_ones_cuts(clip, make, capsys, monkeypatch, drawn):
    asked, followed = watched(monkeypatch, "segment"), watched(monkeypatch, "propagate")
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


CLICKS = "1:0,25 0:0,25,32 1:0,-5,32 1:0,25,32,2 1:6,25,32 1:0,96,32 1:0,25,32,0"
REFUSED = {
    "--click: ": [[], *(["--click", click] for click in CLICKS.split())],
    "--finder: ": [[*CLICK, "--method", "magic"]],
    "--nonsense: ": [[*CLICK, "--nonsense"]],
    "--key: Needs --masks.": [[*CLICK, "--key", 3]],
}


@pytest.mark.parametrize(("start", "options"), rows(REFUSED))
def test_errors_name_the_field_and_leave_nothing(
    clip, tmp_path, refused, start, options
):
    refused(f"error: {start}", "track", clip, *options, "-o", tmp_path / "out")


def test_a_bad_request_is_refused_before_torch():
    code = "import sys, masks.__main__ as m; sys.exit(m.main(sys.argv[1:]) != 2 or 'torch' in sys.modules)"
    given = ["track", "none.mp4", "--click", "1:0,2,2", "-o", "out"]
    subprocess.run([sys.executable, "-c", code, *given], check=True)


def test_the_clip_itself_is_not_taken_for_masks(clip, tmp_path, refused):
    frames = tmp_path / "frames"
    frames.mkdir()
    for index, frame in enumerate(flat((0, 90), 96, 64)):
        Image.fromarray(frame).save(frames / f"{index:05d}.png")
    for clicked in (frames, clip):  # as the clip, and as any other folder of pictures
        refused("--out", "track", clicked, *CLICK, "-o", frames)


def test_what_cannot_be_written_or_read_is_refused_before_any_work(
    clip, tmp_path, refused
):
    (tmp_path / "file.txt").write_text("words")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.doc").touch()
    long = tmp_path / ("n" * 300)
    out = tmp_path / "out"
    for arguments, said in (
        ((clip, "-o", tmp_path / "file.txt" / "masks"), "cannot be written"),
        ((clip, "-o", tmp_path / "mine"), "contains"),
        ((clip, "-o", long), "Choose a shorter name"),
        ((long, "-o", out), "does not exist"),
        ((clip, "-o", out, "--model", tmp_path), "folder without model.safetensors"),
        ((clip, "-o", out, "--model", long), "was not found"),
    ):
        refused(said, "track", *arguments, *CLICK)


def labelled(folder):
    """Four frames of two squares, one beside the other; written as PNG files."""
    labels = np.zeros((4, 64, 96), np.uint8)
    labels[:, 10:30, 10:30], labels[:, 10:30, 30:50] = 1, 2
    write_labels(labels, folder, {})
    return labels


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


NOT_MADE = {
    "--color": ["convert in --color 1=red"],
    "masks": [
        f"convert {name}" for name in ("nothing", "empty", "black", "broken.json")
    ],
}


@pytest.mark.parametrize(("field", "line"), rows(NOT_MADE))
def test_what_cannot_be_converted_is_named(field, line, tmp_path, refused):
    labelled(tmp_path / "in")
    (tmp_path / "empty").mkdir()
    write_labels(np.zeros((2, 8, 8), np.uint8), tmp_path / "black", {})
    (tmp_path / "broken.json").write_text("[]")
    command, source, *options = line.split()
    arguments = (command, tmp_path / source, "-o", tmp_path / "out", *options)
    refused(f"error: {field}: ", *arguments)


def test_a_video_needs_a_colour_for_each_label(tmp_path, refused):
    labels = labelled(tmp_path / "in")
    labels[labels == 2] = 9
    write_labels(labels, tmp_path / "nine", {})
    arguments = ("convert", tmp_path / "nine", "-o", tmp_path / "out.mkv")
    refused("Labels 1 and 9 are both", *arguments)
    assert call(*arguments, "--color", "9=#ffffff") == 0
    refused("already exists", *arguments, "--color", "9=#ffffff")


def test_a_correction_tracks_again_up_to_the_next_right_frame(
    clip, tmp_path, make, monkeypatch
):
    before = labels_in(make("track", clip, *CLICK, "--click", "2:0,70,32"))
    seen = watched(monkeypatch, "propagate")
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


def test_masks_may_be_corrected_where_they_are(clip, make, refused):
    out = make("track", clip, *CLICK)
    again = ("track", clip, "--masks", out, "--click", "2:4,66,32", "--key")
    refused("error: --key: Frame 6 is outside", *again, 6, "-o", out)
    labels = labels_in(make(*again, 1))
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


def test_masks_of_another_clip_are_not_replaced(clip, tmp_path, refused):
    for name, frames in (("out", 4), ("new", 6)):
        labels = np.ones((frames, 64, 96), np.uint8)
        write_labels(labels, tmp_path / name, {1: "#ff0000"})
    for arguments in (("track", clip, *CLICK), ("convert", tmp_path / "new")):
        said = "masks of another clip, 4 frames of 96x64"
        refused(said, *arguments, "-o", tmp_path / "out")
