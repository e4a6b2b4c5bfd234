"""Masks as videos, and a clip with its masks as the pair of videos that other editors
take."""

from fractions import Fraction

import numpy as np
import pytest
from commands import command, last_error

from regrain.editing.errors import MaskError
from regrain.editing.media.labels import split, write_labels
from regrain.editing.media.lazy_frames import LazyFrames
from regrain.editing.media.mask_pictures import picture_in_video, understand
from regrain.editing.media.reading import open_clip
from regrain.editing.media.writing import write_video
from regrain.masks.__main__ import main
from regrain.masks.io.files import read_masks, write_pair
from regrain.masks.io.video import read_mask_video, write_mask_video

FRAMES, HEIGHT, WIDTH = 4, 32, 48
call = command(main)
COLORS = {1: "#ff0000", 2: "#2080ff"}


@pytest.fixture
def labels():
    labels = np.zeros((FRAMES, HEIGHT, WIDTH), np.uint8)
    labels[:, 18:28, 30:42] = 2
    for frame in range(FRAMES):
        labels[frame, 4:14, 4 + frame : 16 + frame] = 1
    return labels


def find_colors(clip, known):
    pictures = [picture_in_video(frame, clip.name) for frame in clip.read(0, len(clip))]
    return understand(pictures, known).colors


@pytest.fixture
def clip(tmp_path):
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    frame = np.stack([4 * x, 7 * y, 200 - 3 * x], -1).astype(np.uint8)
    write_video(tmp_path / "clip.mp4", [frame] * FRAMES, Fraction(8))
    return tmp_path / "clip.mp4"


def test_the_area_is_grey_in_one_and_white_in_the_other(clip, labels, tmp_path):
    write_pair(open_clip(clip), {2: labels == 2}, tmp_path)
    paths = (tmp_path / "src_video.mp4", tmp_path / "src_mask.mp4", clip)
    source, mask, before = (
        open_clip(path).read(0, FRAMES).astype(int) for path in paths
    )
    inside = (labels == 2)[:, 20:26, 32:40]
    assert inside.all()
    assert np.abs(source[:, 20:26, 32:40] - 127).mean() <= 2
    assert np.abs(source[:, :12] - before[:, :12]).mean() < 3
    assert mask[:, 20:26, 32:40].min() > 245
    assert mask[:, :14].max() < 10


def test_the_mask_video_of_a_pair_is_read_as_it_was(clip, labels, tmp_path):
    write_pair(open_clip(clip), split(labels), tmp_path)
    back = read_masks(tmp_path / "src_mask.mp4", {})
    assert list(back) == [1]
    assert (np.asarray(back[1]) == (labels > 0)).all()


def test_colours_of_a_mask_video_are_found(labels, tmp_path):
    known = {1: "#3b82f6", 2: "#f97316", 3: "#22c55e"}
    write_mask_video(labels, tmp_path / "a.mp4", Fraction(8), known)
    assert set(find_colors(open_clip(tmp_path / "a.mp4"), known)) == {1, 2}
    strange = {1: "#ffe11a", 2: "#0b2a8c"}
    write_mask_video(labels, tmp_path / "c.mp4", Fraction(8), strange)
    found = find_colors(open_clip(tmp_path / "c.mp4"), known)
    assert sorted(found) == [4, 5]
    back = read_masks(tmp_path / "c.mp4", {})
    assert all(
        abs(int(mask[0].sum()) - n) <= 12
        for mask, n in zip(back.values(), (120, 120), strict=False)
    )
    assert len(back) == 2
    write_mask_video(labels * 0, tmp_path / "b.mp4", Fraction(8), known)
    assert find_colors(open_clip(tmp_path / "b.mp4"), known) == {}


def test_two_colours_like_the_same_known_colour_are_two_labels(labels, tmp_path):
    known = {1: "#3b82f6"}
    write_mask_video(
        labels, tmp_path / "a.mkv", Fraction(8), {1: "#1d82f6", 2: "#5982f6"}
    )
    found = find_colors(open_clip(tmp_path / "a.mkv"), known)
    assert sorted(found) == [1, 2]
    assert set(found.values()) == {"#1d82f6", "#5982f6"}


def test_the_command_writes_the_pair_of_the_used_frames(clip, labels, tmp_path, capsys):
    write_labels(labels[::2], tmp_path / "masks", {})
    given = [
        clip,
        tmp_path / "masks",
        "-o",
        tmp_path / "out",
        "--stride",
        2,
        "--label",
        1,
    ]
    assert call("pair", *given) == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "src_mask.mp4",
        "src_video.mp4",
    ]
    mask = open_clip(tmp_path / "out" / "src_mask.mp4").read(0, 2)[..., 0] > 127
    assert (mask == (labels[::2] == 1)).all()
    assert call("pair", *given) == 2  # over what is there
    assert last_error(capsys).startswith("error: --out: ")


def test_one_mask_of_a_pair_is_of_the_frame_that_is_said(
    clip, labels, tmp_path, capsys
):
    write_labels(labels[:1], tmp_path / "one", {})
    given = [clip, tmp_path / "one", "-o", tmp_path / "out", "--label", 1]
    assert call("pair", *given) == 2
    said = "--at: 'one' is one mask, but the clip uses 4 frames. Say which frame"
    assert said in last_error(capsys)
    assert call("pair", *given, "--at", 4) == 2
    assert "--at: Frame 4 is outside the clip." in last_error(capsys)
    assert call("pair", *given, "--at", 2) == 0
    mask = open_clip(tmp_path / "out" / "src_mask.mp4").read(0, 4)[..., 0] > 127
    assert not mask[[0, 1, 3]].any()
    assert (mask[2] == (labels[0] == 1)).all()


def test_what_does_not_match_is_refused_in_one_line(clip, labels, tmp_path, capsys):
    write_labels(labels[::2], tmp_path / "masks", {})
    short = "'masks' has 2 frames of 48x32, but the clip uses 4 of 48x32. Use masks of this clip."
    absent = "Label 9 is not in the masks. Choose from 1, 2."
    for options, said in (([], short), (["--stride", 2, "--label", 9], absent)):
        assert (
            call("pair", clip, tmp_path / "masks", "-o", tmp_path / "out", *options)
            == 2
        )
        assert last_error(capsys).endswith(said)
        assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("name", "same"), [("masks.mkv", 1), ("masks.mp4", 0.98)])
def test_mkv_loses_nothing_and_mp4_only_edges(tmp_path, labels, name, same):
    write_mask_video(labels, tmp_path / name, Fraction(8), COLORS)
    assert (
        read_mask_video(tmp_path / name, 4, (48, 32), COLORS) == labels
    ).mean() >= same
    with pytest.raises(
        MaskError, match="4 frames of 48x32, but the clip uses 4 of 48x30"
    ):
        read_mask_video(tmp_path / name, 4, (48, 30), COLORS)


def test_labels_are_read_a_frame_at_a_time(tmp_path, labels):
    read = []

    def window(start, stop):
        read.append(stop - start)
        return labels[start:stop]

    lazy = LazyFrames(labels.shape, np.uint8, window)
    for name in ("masks.mkv", "masks.mp4"):
        write_mask_video(lazy, tmp_path / name, Fraction(8), COLORS)
        write_mask_video(labels, tmp_path / f"whole_{name}", Fraction(8), COLORS)
        assert (tmp_path / name).read_bytes() == (
            tmp_path / f"whole_{name}"
        ).read_bytes()
    assert set(read) == {1}
