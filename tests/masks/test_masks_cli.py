import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest
from commands import command, last_error
from PIL import Image
from tables import rows

from regrain.editing import ArrayClip
from regrain.editing.media.labels import (
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


def disc(x):
    return np.hypot(X - x, Y - 32) < 12


def labels_in(folder, frames=6):
    return np.asarray(read_labels(folder, frames, SIZE))


def contents(folder):
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.fixture
def clip(tmp_path, monkeypatch):
    """A red and a blue disc that drift over noise; no SAM weights."""
    monkeypatch.setattr(sam, "BUILT_IN_SAM", tmp_path / "none")
    rng = np.random.default_rng(0)
    frames = np.tile(rng.integers(90, 130, (64, 96, 3), dtype=np.uint8), (6, 1, 1, 1))
    for t in range(6):
        frames[t][disc(25 + t)], frames[t][disc(70 - t)] = (210, 40, 40), (40, 60, 220)
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
def refused(capsys):
    def check(said, *given):
        assert call(*given) == 2
        assert said in last_error(capsys)

    return check


def are_near(found, expected):
    return (found ^ expected).sum() < 0.15 * expected.sum()


def check_discs(folder):
    for t, labels in enumerate(labels_in(folder)):
        assert are_near(labels == 1, disc(25 + t))
        assert are_near(labels == 2, disc(70 - t))


def test_two_clicks_become_masks_of_every_frame(clip, make, capsys):
    options = ["--click", "1:0,25,32", "--click", "2:3,67,32", "--click", "2:3,40,5,0"]
    check_discs(make("track", clip, *options))
    assert "SAM" not in capsys.readouterr().err


def watched(monkeypatch, name):
    """What a function of `following` is called with from now on: by position, and by
    name."""
    seen, inner = [], getattr(following, name)
    watch = lambda *given, **how: seen.append((given, how)) or inner(*given, **how)  # noqa: E731
    monkeypatch.setattr(following, name, watch)
    return seen


def test_one_mask_at_a_frame_is_tracked_like_clicks(clip, tmp_path, make, refused):
    mask = np.where(disc(25 + 2), np.uint8(255), np.uint8(0))
    Image.fromarray(mask).save(tmp_path / "one.png")
    masks = ["--masks", tmp_path / "one.png", "--at"]
    check_discs(make("track", clip, *masks, 2, "--click", "2:3,67,32"))
    for options, said in (
        ([], "error: --click: Nothing to track."),
        (["--at", 2, *CLICK], "error: --at: Needs --masks."),
        ([*masks, 2, "--key", 1], "error: --key: It is of masks for"),
        (
            [*masks, 6],
            "error: --at: Frame 6 is outside the clip. Choose from 0 to 5.",
        ),
    ):
        refused(said, "track", clip, *options, "-o", tmp_path / "b")
        assert not (tmp_path / "b").exists()


@pytest.mark.parametrize("drawn", [True, False])
def test_drawn_clips_ask_sam_and_real_ones_cuts(clip, make, capsys, monkeypatch, drawn):
    asked, followed = watched(monkeypatch, "segment"), watched(monkeypatch, "propagate")
    if drawn:
        # as if the clip said that it was
        monkeypatch.setattr("regrain.masks.__main__.DRAWN", "")
    make("track", clip, "--click", "1:2,27,32", "--frames", 3)
    assert [(how["method"], how["frame"], len(how["clip"])) for _, how in asked] == [
        ("cuts", 2, 3)
    ]
    assert ("SAM weights are missing" in capsys.readouterr().err) == drawn
    assert [how["tracker"] for _, how in followed] == ["cuts"]


def test_used_frames(clip, make):
    options = [
        "--start",
        "1",
        "--stride",
        "2",
        "--frames",
        "2",
        "--method",
        "cuts",
        "--click",
        "9:1,28,32",
    ]
    for _ in range(2):  # the second time over masks that are there
        assert set(np.unique(labels_in(make("track", clip, *options), 2))) == {0, 9}


CLICKS = (
    "1:0,25",
    "0:0,25,32",
    "1:0,-5,32",
    "1:0,25,32,2",
    "1:6,25,32",
    "1:0,96,32",
    "1:0,25,32,0",
)
REFUSED = {
    "--click: ": [[], *(["--click", click] for click in CLICKS)],
    "--finder: ": [[*CLICK, "--method", "magic"]],
    "--nonsense: ": [[*CLICK, "--nonsense"]],
    "--key: Needs --masks.": [[*CLICK, "--key", 3]],
}


@pytest.mark.parametrize(("start", "options"), rows(REFUSED))
def test_errors_name_the_field_and_leave_nothing(
    clip, tmp_path, capsys, start, options
):
    assert call("track", clip, *options, "-o", tmp_path / "out") == 2
    assert last_error(capsys).startswith(f"error: {start}")
    assert not (tmp_path / "out").exists()


def test_a_bad_request_is_refused_before_torch():
    code = "import sys, masks.__main__ as m; sys.exit(m.main(sys.argv[1:]) != 2 or 'torch' in sys.modules)"
    given = ["track", "none.mp4", "--click", "1:0,2,2", "-o", "out"]
    subprocess.run([sys.executable, "-c", code, *given], check=True)


def test_the_clip_itself_is_not_taken_for_masks(clip, tmp_path, refused):
    frames = tmp_path / "frames"
    frames.mkdir()
    for index in range(2):
        Image.fromarray(np.full((64, 96, 3), 90 * index, np.uint8)).save(
            frames / f"{index:05d}.png"
        )
    before = contents(frames)
    for clicked in (frames, clip):  # as the clip, and as any other folder of pictures
        refused("--out", "track", clicked, *CLICK, "-o", frames)
    assert contents(frames) == before


def test_what_cannot_be_written_or_read_is_refused_before_any_work(
    clip, tmp_path, refused
):
    (tmp_path / "file.txt").write_text("words")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.doc").touch()
    long = tmp_path / ("n" * 300)
    for arguments, said in (
        ((clip, "-o", tmp_path / "file.txt" / "masks"), "cannot be written"),
        ((clip, "-o", tmp_path / "mine"), "contains"),
        ((clip, "-o", long), "Choose a shorter name"),
        ((long, "-o", tmp_path / "out"), "does not exist"),
        (
            (clip, "-o", tmp_path / "out", "--model", tmp_path),
            "folder without model.safetensors",
        ),
        ((clip, "-o", tmp_path / "out", "--model", long), "was not found"),
    ):
        refused(said, "track", *arguments, *CLICK)
    assert not (tmp_path / "out").exists()
    assert [file.name for file in (tmp_path / "mine").iterdir()] == ["thesis.doc"]


def labelled(folder):
    """Four frames of two squares, one beside the other, and a speck; written as PNG
    files."""
    labels = np.zeros((4, 64, 96), np.uint8)
    labels[:, 10:30, 10:30], labels[:, 10:30, 30:50], labels[:, 50, 80] = 1, 2, 2
    labels[:, 18:20, 18:20] = 0
    write_labels(labels, folder, {})
    return labels


def test_overlapping_masks_stay_whole_but_in_a_video(tmp_path, make, capsys):
    masks = {n: np.zeros((2, 64, 96), bool) for n in (1, 2)}
    masks[1][:, 10:30, 10:30], masks[2][:, 20:40, 20:40] = True, True
    write_regions(masks, tmp_path / "in")
    source = tmp_path / "in"
    for out in ("a.json", "out", "b.mkv", "flat"):
        source = make("convert", source, out=out)
        assert "masks read: 2 regions: " in capsys.readouterr().out
    found = read_regions(tmp_path / "out", 2, SIZE)
    assert all((found[n] == masks[n]).all() for n in masks)
    flat = labels_in(tmp_path / "flat", 2)
    assert (flat == np.where(masks[1], 1, np.where(masks[2], 2, 0))).all()
    make("convert", tmp_path / "in")  # over masks written before


def test_a_black_and_white_video_is_read_by_its_colour(tmp_path, make):
    frames = np.zeros((3, 64, 96, 3), np.uint8)
    frames[:, 20:40, 20:40] = 255
    write_lossless(tmp_path / "clip.mkv", ArrayClip(frames, Fraction(8)))
    out = make("convert", tmp_path / "clip.mkv", "--color", "7=#ffffff")
    assert (labels_in(out, 3) == 7 * (frames[..., 0] > 0)).all()


NOT_MADE = {
    "--color": ["convert in --color 1=red"],
    "masks": [
        "convert nothing",
        "convert empty",
        "convert black",
        "convert broken.json",
    ],
}


@pytest.mark.parametrize(("field", "line"), rows(NOT_MADE))
def test_what_cannot_be_converted_or_cleaned_is_named(field, line, tmp_path, capsys):
    labelled(tmp_path / "in")
    (tmp_path / "empty").mkdir()
    write_labels(np.zeros((2, 8, 8), np.uint8), tmp_path / "black", {})
    (tmp_path / "broken.json").write_text("[]")
    command, source, *options = line.split()
    assert call(command, tmp_path / source, "-o", tmp_path / "out", *options) == 2
    assert last_error(capsys).startswith(f"error: {field}: ")
    assert not (tmp_path / "out").exists()


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
    assert {frame: sorted(masks) for frame, masks in keys.items()} == {
        2: [1, 2],
        3: [1],
        5: [1, 2],
    }
    assert (after[[0, 1, 2, 5]] == wrong[[0, 1, 2, 5]]).all()
    assert ((after == 2) == (wrong == 2))[[3, 4]].mean() > 0.99
    for frame in (3, 4):
        assert are_near(after[frame] == 1, before[frame] == 1)


def test_masks_may_be_corrected_where_they_are(clip, make, refused):
    out = make("track", clip, *CLICK)
    again = ("track", clip, "--masks", out, "--click", "2:4,66,32", "--key")
    refused("error: --key: Frame 6 is outside", *again, 6, "-o", out)
    labels = labels_in(make(*again, 1))
    assert (labels[4] == 2).sum() > 300
    assert (labels[0] == 1).sum() > 300


def test_where_a_region_is_lost_is_said(clip, make, capsys, monkeypatch):
    def propagate(clip, keys, **how):
        for frame in range(len(clip)):
            labels = np.zeros((64, 96), np.uint8)
            labels[keys[0][1] if frame not in (2, 3) else keys[0][1] & False] = 1
            yield frame, labels, Confidence({1: 0.4 if frame == 5 else 0.9})

    monkeypatch.setattr(following, "propagate", propagate)
    make("track", clip, *CLICK)
    said = [line for line in capsys.readouterr().err.splitlines() if "label 1" in line]
    assert said == [
        "warning: label 1: lost in frames 2-3, doubtful in frame 5. Click it there too."
    ]


def test_masks_of_another_clip_are_not_replaced(clip, tmp_path, refused):
    write_labels(np.ones((4, 64, 96), np.uint8), tmp_path / "out", {1: "#ff0000"})
    before = contents(tmp_path / "out")
    write_labels(np.ones((6, 64, 96), np.uint8), tmp_path / "new", {1: "#ff0000"})
    new = tmp_path / "new"
    for arguments in (
        ("track", clip, *CLICK),
        ("convert", new),
    ):
        said = "masks of another clip, 4 frames of 96x64"
        refused(said, *arguments, "-o", tmp_path / "out")
    assert contents(tmp_path / "out") == before
