import os
from pathlib import Path

import numpy as np
import pytest
from json_files import read_json
from made_clips import noise
from PIL import Image

from regrain.editing.errors import MaskError
from regrain.editing.media.coco import from_runs, runs, write_rle
from regrain.editing.media.labels import Labels, flatten, grow_labels, split
from regrain.editing.media.mask_files import (
    read_labels,
    read_regions,
    write_labels,
    write_regions,
)

SIZE = (7, 5)


@pytest.fixture
def labels():
    return noise(3, 5, 7)


def save(folder, *masks):
    folder.mkdir(parents=True, exist_ok=True)
    for index, mask in enumerate(masks):
        Image.fromarray(mask).save(folder / f"{index:05d}.png")


@pytest.mark.parametrize(
    ("write", "name"), [(write_regions, "masks"), (write_rle, "masks.json")]
)
@pytest.mark.parametrize("order", [[], [2, 1], [2]])
def test_the_earlier_in_the_list_covers_the_later(tmp_path, write, name, order):
    both = np.zeros((2, 1, 5, 7), bool)
    both[0, ..., :4] = both[1, ..., 3:] = True
    (tmp_path / "masks").mkdir()
    write({1: both[0], 2: both[1]}, tmp_path / name)
    (row,) = read_labels(tmp_path / name, 1, SIZE, order)[:, 0].tolist()
    assert row == [1, 1, 1, 2 if order else 1, 2, 2, 2]


# Of masks of 7 x 5 pixels, how many columns the first, the second and the third have.
HIDDEN = {
    (7, 3): {2: "'b' is hidden by 'a': 0% of it is left. List it first."},
    (5, 7, 7): {
        2: "'b' is hidden by 'a': 29% of it is left. List it first.",
        3: "'c' is hidden by 'a': 0% of it is left. List it first.",
    },
    (3, 7): {},
    (0, 7): {},
}


@pytest.mark.parametrize("columns", HIDDEN)
def test_what_others_hide_is_said_by_names(tmp_path, columns):
    for label, count in enumerate(columns, 1):
        mask = np.zeros((2, 5, 7), np.uint8)
        mask[:1, :, :count] = 255
        save(tmp_path / str(label), *mask)
    labels = read_labels(tmp_path, 2, SIZE, [1])
    said = {label: f"Region {one}" for label, one in HIDDEN[columns].items()}
    assert labels.hidden(dict(enumerate("abc", 1))) == said


# Three masks of their size, one of another, and one whose file is cut off.
SOME = noise(3, 5, 7, seed=2)
OTHERS = [*SOME, SOME[1][:4], np.tile(SOME[0], (40, 40))]
NO_MASKS = read_json(Path(__file__).with_name("no_masks.json"))
"""By what is said, how many frames a clip has, and the files of a folder: numbers of
those masks, or a text."""


@pytest.mark.parametrize("said", NO_MASKS)
def test_folders_that_are_no_masks_of_the_clip_are_refused(tmp_path, said):
    frames, files = NO_MASKS[said]
    for name, content in files.items():
        file = tmp_path / "masks" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, str):
            file.write_text(content)
        else:
            Image.fromarray(OTHERS[content]).save(file)
        if content == 4:
            os.truncate(file, file.stat().st_size // 2)
    for read in (read_labels, read_regions):
        with pytest.raises(MaskError, match=said):
            read(tmp_path / "masks", frames, SIZE)


def test_indexed_pictures_show_colours(tmp_path, labels):
    write_labels(labels, tmp_path / "png", {int(labels[0, 0, 0]): "#ff8000"})
    with Image.open(tmp_path / "png" / "00000.png") as image:
        assert image.mode == "P"
        assert image.convert("RGB").getpixel((0, 0)) == (255, 128, 0)


def test_masks_written_before_do_not_come_back(tmp_path, labels):
    for given in (labels, labels[:2]):
        write_labels(given, tmp_path / "labels", {})
    assert (read_labels(tmp_path / "labels", 2, SIZE) == labels[:2]).all()
    regions = tmp_path / "regions"
    regions.mkdir()
    (regions / "mine.txt").write_text("kept")
    for levels in ({1: 9, 2: 99}, {1: 9}):
        write_regions({n: labels > least for n, least in levels.items()}, regions)
    assert list(read_regions(regions, 3, SIZE)) == [1]
    assert (regions / "mine.txt").exists()


def compressed(counts):
    """COCO's string, as its own tools write it: maskApi.c, rleToString."""
    out = ""
    for i, count in enumerate(counts):
        x = count - (counts[i - 2] if i > 2 else 0)
        more = True
        while more:
            c = x & 31
            x >>= 5
            more = x != -1 if c & 16 else x != 0
            out += chr((c | 32 if more else c) + 48)
    return out


@pytest.mark.parametrize("seed", range(9))
def test_runs_are_those_of_coco_compressed_or_not(seed):
    rng = np.random.default_rng(seed)
    mask = rng.random(rng.integers(1, 9, 2)) < rng.random()
    if seed == 8:
        mask = np.zeros((40, 3000), bool)
        mask[:, 7:2000] = True
    for counts in (runs(mask), compressed(runs(mask))):
        assert (from_runs(counts, mask.shape[::-1]) == mask).all()


def test_runs_begin_outside_and_go_down_the_columns():
    mask = np.array([[0, 0, 1], [0, 1, 1]], bool)
    assert (runs(mask), runs(~mask), runs(mask & False)) == ([3, 3], [0, 3, 3], [6])


WRONG = read_json(Path(__file__).with_name("no_runs.json"))


def test_runs_that_are_none_and_no_masks_at_all_are_refused(tmp_path):
    for counts in WRONG:
        with pytest.raises(MaskError, match="do not add up to 7x5"):
            from_runs(counts, SIZE)
    for act in (lambda: flatten({}), lambda: write_rle({}, tmp_path / "masks.json")):
        with pytest.raises(MaskError, match="No mask is given"):
            act()


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("masks", lambda labels, path: write_labels(labels, path, {})),
        ("masks", lambda labels, path: write_regions(split(labels), path)),
        ("masks.json", lambda labels, path: write_rle(split(labels), path)),
    ],
)
def test_labels_are_read_by_window(tmp_path, labels, name, write, watched):
    labels = labels % 3
    write(labels, tmp_path / name)
    found = read_labels(tmp_path / name, 3, SIZE)
    assert isinstance(found, Labels)
    assert (found.shape, found.dtype, found.present) == (labels.shape, np.uint8, {1, 2})
    opened = watched(Image, "open")
    for start, stop in ((0, 0), (1, 2), (1, 3)):
        assert np.array_equal(found.read(start, stop), labels[start:stop])
    # only what is asked for
    assert "00000.png" not in [file.name for (file,), _ in opened]


class Drawn(list):
    """Labels that are drawn when they are read."""

    size = SIZE

    def read(self, start, stop):
        return np.stack(self[start:stop])


def test_labels_come_from_anything_that_is_read_by_window(labels):
    drawn = Labels(Drawn(labels))
    assert np.array_equal(drawn, labels)
    assert drawn.present == set(np.unique(labels)) - {0}
    for wrong, said in (
        (labels.astype(np.int64), "int64"),
        (labels[..., None], r"\(3, 5, 7, 1\)"),
    ):
        with pytest.raises(MaskError, match=said):
            Labels(wrong)
    # Those of an array are no copy, and read-only.
    window = Labels(labels).read(1, 3)
    assert np.shares_memory(window, labels)
    with pytest.raises(ValueError, match="read-only"):
        window[0] = 0


def test_labels_grow_into_free_pixels_only_each_to_its_own_reach():
    labels = np.zeros((2, 24, 40), np.uint8)
    labels[0, 8:14, 4:10], labels[0, 8:14, 14:20], labels[1, 3, 3] = 1, 2, 2
    reach = {1: 3, 2: 7}
    grown = grow_labels(labels, reach)
    for frame, found in zip(labels, grown, strict=True):
        first, second = (distance_to(frame == n) for n in reach)
        # The distance transform is off by at most 2 %: pixels in doubt are not asked.
        doubt = np.isclose(first, second, rtol=0.05, atol=0.3)
        doubt |= np.isclose(first, 3, rtol=0.05) | np.isclose(second, 7, rtol=0.05)
        expected = np.where((first <= 3) & (first < second), 1, 2 * (second <= 7))
        free = frame == 0
        assert (found[free & ~doubt] == expected[free & ~doubt]).all()
        assert (found[~free] == frame[~free]).all()
    assert grow_labels(labels, {1: 0, 2: 0}) is labels


def distance_to(inside):
    """Of each pixel to the nearest one inside, one by one."""
    y, x = np.indices(inside.shape)
    distance = np.full(inside.shape, np.inf)
    for at_y, at_x in np.argwhere(inside):
        distance = np.minimum(distance, np.hypot(y - at_y, x - at_x))
    return distance


@pytest.mark.parametrize("size", [(7, 6), (5, 4), (14, 10)])
def test_masks_of_another_size_are_to_be_resized_or_of_another_shape_cropped(
    tmp_path, size
):
    width, height = size
    save(tmp_path, np.full((height, width), 255, np.uint8))
    said = "the clip is 7x5. Resize it; if its shape is another, crop or pad it"
    with pytest.raises(MaskError, match=said):
        read_labels(tmp_path, 1, (7, 5))
    save(tmp_path, np.full((5, 7), 255, np.uint8))
    assert read_labels(tmp_path, 1, (7, 5)).all()


@pytest.mark.parametrize("count", [9, 7])
def test_too_many_or_too_few_masks_are_refused_and_one_per_frame_taken(tmp_path, count):
    save(tmp_path, *np.full((count, 5, 7), 255, np.uint8))
    said = f"has {count} masks, .* 8 frames. Use one per used frame"
    with pytest.raises(MaskError, match=said):
        read_labels(tmp_path, 8, (7, 5))
    save(tmp_path, *np.full((8, 5, 7), 255, np.uint8))
    for extra in sorted(tmp_path.iterdir())[8:]:
        extra.unlink()
    assert read_labels(tmp_path, 8, (7, 5)).all()
