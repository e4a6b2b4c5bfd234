"""The order of pictures by the numbers in their names, of clips and of masks alike, and
numbers that are not one after the other."""

from fractions import Fraction
from pathlib import Path
from shutil import make_archive

import numpy as np
import pytest
from json_files import read_json
from made_clips import levels_of
from PIL import Image

from regrain.editing import open_clip
from regrain.editing.errors import MaskError
from regrain.editing.media.mask_files import open_regions, read_labels
from regrain.masks.io.video import write_mask_video
from regrain.ui.session.mask_files import read_tracks

ORDERS = read_json(Path(__file__).with_name("names.json"))
"""Names of files in their order."""
SIZE = (20, 16)


def save(folder, names, levels):
    folder.mkdir()
    for name, level in zip(names, levels, strict=True):
        Image.new("L", SIZE, level).save(folder / f"{name}.png")
    return folder


@pytest.mark.parametrize("order", ORDERS)
def test_numbers_in_names_count_by_value(tmp_path, order):
    names = ORDERS[order].split()
    count = len(names)
    clip = open_clip(save(tmp_path / "clip", names, range(0, 20 * count, 20)))
    assert levels_of(clip.read(0, count)) == [*range(count)]
    last = [*[0] * (count - 1), 255]
    masks = save(tmp_path / "masks", names, last)
    # frames and masks of one name belong together, whatever their numbers
    found = read_labels(masks, count, SIZE, beside=clip.names)
    assert (255 * (found[:] > 0).any((1, 2))).tolist() == last


# Names of masks beside frames 101 102 103, and whether they are taken.
STARTS = {
    "103 104 105": False,
    "m_100 m_101 m_102": False,
    "m_101 m_102 m_103": True,
    "0 1 2": True,
    "00001 00002 00003": True,
    "cat dog pig": True,
}


@pytest.mark.parametrize("names", STARTS)
def test_masks_that_begin_at_another_number_than_the_frames_are_refused(
    tmp_path, names
):
    frames = ("101.png", "102.png", "103.png")
    folder = save(tmp_path / "masks", names.split(), [255] * 3)
    read_labels(folder, 3, SIZE)  # of a video
    if STARTS[names]:
        assert read_labels(folder, 3, SIZE, beside=frames).all()
        return
    first = min(folder.iterdir()).name
    said = f"The first mask is '{first}', the first frame '101.png'. Number masks"
    with pytest.raises(MaskError, match=said):
        read_labels(folder, 3, SIZE, beside=frames)
    for file, name in zip(sorted(folder.iterdir()), frames, strict=True):
        file.rename(folder / f"{name}.new")
    for file in folder.iterdir():
        file.rename(file.with_suffix(""))
    assert read_labels(folder, 3, SIZE, beside=frames).all()


MISNUMBERED = {
    "1001 1002 1003 1005 1006 1007 1008 1009": "'1003.png' and '1005.png' do not follow",
    "f_0 f_2 f_4 f_8 f_10": "'f_4.png' and 'f_8.png' do not follow each other",
    "t=-3 t=-1 t=0 t=1": "'t=-3.png' and 't=-1.png' do not follow each other",
    "0.04 0.08 0.16": "'0.08.png' and '0.16.png' do not follow each other",
    "000 001 1 2": "'001.png' and '1.png' do not follow each other",
    "0 1 2 cover": "'cover.png' is not numbered as the others are",
    "old_2 f_1 f_2": "'old_2.png' is not numbered as the others are",
}
"""Names of files, and what is said of them."""
NUMBERED = [
    "7 8 9 10",
    "2 4 6 8",
    "t033 t067 t100 t133",
    "0 8 15 24",
    "left_1 left_2 right_1 right_5",
    "a1b1 a1b2 a2b1",
    "cat dog pig",
    "1 9",
]
"""Names of files of which nothing is said."""


@pytest.mark.parametrize("names", MISNUMBERED)
def test_masks_that_are_not_numbered_one_after_the_other_are_refused(tmp_path, names):
    listed = names.split()
    folder = save(tmp_path / "masks", listed, [255] * len(listed))
    with pytest.raises(MaskError) as refused:
        read_labels(folder, len(listed), SIZE)
    assert refused.value.message.startswith(MISNUMBERED[names])
    assert "from 00000.png on without" in refused.value.message
    for number, file in enumerate(sorted(folder.iterdir())):
        file.rename(folder / f"{number:05d}.png")
    assert read_labels(folder, len(listed), SIZE).all()


@pytest.mark.parametrize("names", MISNUMBERED)
def test_of_frames_that_are_not_numbered_one_after_the_other_it_is_said(
    tmp_path, names
):
    listed = names.split()
    clip = open_clip(save(tmp_path / "clip", listed, [0] * len(listed)))
    assert [said.startswith(MISNUMBERED[names]) for said in clip.warnings] == [True]
    masks = save(tmp_path / "masks", listed, [255] * len(listed))
    assert read_labels(masks, len(clip), SIZE, beside=clip.names).all()


@pytest.mark.parametrize("names", NUMBERED)
def test_other_names_are_taken_in_their_order(tmp_path, names):
    listed = names.split()
    folder = save(tmp_path / "masks", listed, [255] * len(listed))
    assert read_labels(folder, len(listed), SIZE).all()
    assert open_clip(folder).warnings == []


def test_a_gap_is_seen_between_frames_that_a_stride_leaves_out(tmp_path):
    folder = save(tmp_path / "clip", [1, 2, 3, 4, 6, 7], [0] * 6)
    assert len(open_clip(folder, 0, 2).warnings) == 1
    assert open_clip(folder, 4).warnings == []


def test_masks_by_label_may_be_named_as_the_frames(tmp_path):
    names = ["1.png", "2.png", "4.png"]
    (tmp_path / "masks").mkdir()
    save(tmp_path / "masks" / "1", [1, 2, 4], [255] * 3)
    assert [*open_regions(tmp_path / "masks", 3, SIZE, beside=names)] == [1]
    with pytest.raises(MaskError, match="do not follow each other"):
        open_regions(tmp_path / "masks", 3, SIZE)


def test_numbers_may_begin_anywhere(tmp_path):
    clip = open_clip(save(tmp_path / "clip", [*range(1001, 1005)], [0] * 4))
    for first in (0, 1, 1001, 2001):
        names = [*range(first, first + 4)]
        folder = save(tmp_path / str(first), names, [255] * 4)
        assert read_labels(folder, 4, SIZE, beside=clip.names).all()


def test_a_video_of_masks_has_no_names(tmp_path):
    clip = open_clip(save(tmp_path / "clip", range(4), [0] * 4))
    labels = np.zeros((4, *SIZE[::-1]), np.uint8)
    labels[:, 4:9] = 1
    write_mask_video(labels, tmp_path / "m.mkv", Fraction(8), {1: "#ffffff"})
    found = read_labels(tmp_path / "m.mkv", 4, SIZE, beside=clip.names)
    assert (found == labels).all()


def test_a_gap_is_seen_in_folders_by_label_and_archives(tmp_path):
    names = [1, 2, 4]
    (tmp_path / "whole").mkdir()
    save(tmp_path / "whole" / "1", names, [255] * 3)
    archive = make_archive(str(tmp_path / "packed"), "zip", tmp_path / "whole" / "1")
    with pytest.raises(MaskError, match="'2.png' and '4.png' do not follow"):
        open_regions(tmp_path / "whole", 3, SIZE)
    # The page takes those of the frames in use, if there is one for each of the file.
    with pytest.raises(MaskError, match="'2.png' and '4.png' do not follow"):
        read_tracks([archive], tmp_path / "page", range(2), 3, SIZE, {})
