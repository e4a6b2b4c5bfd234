import numpy as np
import pytest
from made_clips import noise
from PIL import Image

from regrain.editing.errors import MaskError
from regrain.editing.media.coco import from_runs, runs, write_rle
from regrain.editing.media.labels import (
    Labels,
    extent_of,
    flatten,
    grow_labels,
    read_labels,
    read_regions,
    split,
    write_labels,
    write_regions,
)
from regrain.editing.media.mask_pictures import FORMS

SIZE = (7, 5)


@pytest.fixture
def labels():
    return noise(3, 5, 7)


def save(folder, *masks, mode=None):
    folder.mkdir(parents=True, exist_ok=True)
    for index, mask in enumerate(masks):
        image = Image.fromarray(mask)
        (image.convert(mode) if mode else image).save(folder / f"{index:05d}.png")


@pytest.mark.parametrize(
    ("write", "name"), [(write_regions, "masks"), (write_rle, "masks.json")]
)
def test_the_earlier_in_the_list_covers_the_later(tmp_path, write, name):
    left, right = np.zeros((2, 1, 5, 7), bool)
    left[..., :4], right[..., 3:] = True, True
    (tmp_path / "masks").mkdir()
    write({1: left, 2: right}, tmp_path / name)
    assert read_labels(tmp_path / name, 1, SIZE)[0, 0].tolist() == [1, 1, 1, 1, 2, 2, 2]
    for order in ([2, 1], [2]):
        assert read_labels(tmp_path / name, 1, SIZE, order)[0, 0].tolist() == [
            1,
            1,
            1,
            2,
            2,
            2,
            2,
        ]


def holding(content):
    return lambda folder: (folder / "00000.png").write_bytes(content)


def cut(folder):
    save(folder, np.tile(SOME[0], (40, 40)))
    file = folder / "00000.png"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


LABELS = ("cat", "0", "256", "-1", "²")  # none of them is one
SOME = noise(3, 5, 7, seed=2)


@pytest.mark.parametrize(
    ("make", "frames", "size", "message"),
    [
        (
            lambda folder: save(folder, *SOME),
            4,
            SIZE,
            "has 3 masks, but the clip uses 4 frames",
        ),
        (
            lambda folder: save(folder, SOME[0]),
            4,
            SIZE,
            "has 1 mask, but the clip uses 4 frames",
        ),
        (
            lambda at: save(at, SOME[0], SOME[1][:4]),
            2,
            SIZE,
            "'00001.png' is 7x4, but the clip is 7x5",
        ),
        *(
            (holding(data), 1, SIZE, "00000.png")
            for data in (b"", b"no image", b"\x89PNG\r\n\x1a\n")
        ),
        (cut, 1, (280, 200), "00000.png"),
        (lambda folder: folder.rmdir(), 1, SIZE, "not a folder"),
        (
            lambda folder: (save(folder / "1", SOME[0]), save(folder, SOME[0])),
            1,
            SIZE,
            "next to",
        ),
        *(
            (lambda at, n=n: save(at / n, SOME[0]), 1, SIZE, "label from 1 to 255")
            for n in LABELS
        ),
    ],
)
def test_folders_that_are_no_masks_of_the_clip_are_refused(
    tmp_path, make, frames, size, message
):
    (tmp_path / "masks").mkdir()
    make(tmp_path / "masks")
    for read in (read_labels, read_regions):
        with pytest.raises(MaskError, match=message):
            read(tmp_path / "masks", frames, size)


@pytest.fixture
def overlapping():
    rng = np.random.default_rng(1)
    return {7: rng.random((3, 5, 7)) < 0.5, 2: rng.random((3, 5, 7)) < 0.5}


def test_indexed_pictures_show_colours(tmp_path, labels):
    write_labels(labels, tmp_path / "png", {int(labels[0, 0, 0]): "#ff8000"})
    with Image.open(tmp_path / "png" / "00000.png") as image:
        assert image.mode == "P"
        assert image.convert("RGB").getpixel((0, 0)) == (255, 128, 0)
    assert (read_labels(tmp_path / "png", 3, SIZE) == labels).all()


@pytest.mark.parametrize(
    ("write", "name"), [(write_rle, "masks.json"), (write_regions, "folders")]
)
def test_masks_that_overlap_stay_whole(tmp_path, overlapping, write, name):
    write(overlapping, tmp_path / name)
    back = read_regions(tmp_path / name, 3, SIZE)
    assert set(back) == set(overlapping)
    assert all((back[label] == mask).all() for label, mask in overlapping.items())
    found = read_labels(tmp_path / name, 3, SIZE, order=[7, 2])
    assert (found == flatten(overlapping)).all()


def test_an_export_of_cvat_is_refused_by_the_forms(tmp_path):
    for name in ("ImageSets", "JPEGImages", "SegmentationClass"):
        save(tmp_path / name, SOME[0])
    (tmp_path / "labelmap.txt").write_text("cat:250,50,83::")
    for read in (lambda: read_labels(tmp_path, 1, SIZE), lambda: extent_of(tmp_path)):
        with pytest.raises(MaskError, match="'ImageSets' is not a label") as caught:
            read()
        assert caught.value.message.endswith(FORMS)


def test_a_path_that_is_too_long_is_refused(tmp_path):
    with pytest.raises(MaskError, match="is not a folder"):
        read_labels(tmp_path / ("9" * 300), 1, SIZE)


def test_masks_written_before_do_not_come_back(tmp_path, labels):
    write_labels(labels, tmp_path / "labels", {})
    write_labels(labels[:2], tmp_path / "labels", {})
    assert (read_labels(tmp_path / "labels", 2, SIZE) == labels[:2]).all()
    (tmp_path / "regions").mkdir()
    (tmp_path / "regions" / "mine.txt").write_text("kept")
    write_regions({1: labels > 9, 2: labels > 99}, tmp_path / "regions")
    write_regions({1: labels > 9}, tmp_path / "regions")
    assert list(read_regions(tmp_path / "regions", 3, SIZE)) == [1]
    assert (tmp_path / "regions" / "mine.txt").exists()


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


def test_runs_are_those_of_coco_compressed_or_not():
    mask = np.array([[0, 0, 1], [0, 1, 1]], bool)
    assert (runs(mask), runs(~mask), runs(mask & False)) == ([3, 3], [0, 3, 3], [6])
    wide = np.zeros((40, 3000), bool)
    wide[:, 7:2000] = True
    rngs = map(np.random.default_rng, range(8))
    for mask in [
        wide,
        *(rng.random(rng.integers(1, 9, 2)) < rng.random() for rng in rngs),
    ]:
        for counts in (runs(mask), compressed(runs(mask))):
            assert (from_runs(counts, mask.shape[::-1]) == mask).all()


WRONG = [
    [34],
    [-1, 36],
    [1.0, 34.0],
    ["35"],
    [True, 34],
    [],
    "d06~~",
    "",
    [2**62] * 4 + [35],
    [1e999, 35],
]


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
def test_labels_are_read_by_window(tmp_path, labels, name, write, monkeypatch):
    labels, path = labels % 3, tmp_path / name
    write(labels, path)
    found = read_labels(path, 3, SIZE)
    assert isinstance(found, Labels)
    assert (found.shape, found.dtype, found.present) == (labels.shape, np.uint8, {1, 2})
    assert [len(found.read(*window)) for window in ((0, 0), (1, 2), (1, 3))] == [
        0,
        1,
        2,
    ]
    assert np.array_equal(found.read(1, 3), labels[1:])
    if name != "masks.json":  # only what is asked for is opened
        opened, really = [], Image.open
        monkeypatch.setattr(
            Image, "open", lambda file: opened.append(file.name) or really(file)
        )
        found.read(1, 2)
        assert set(opened) == {"00001.png"}


def test_labels_come_from_anything_that_is_read_by_window(labels):
    class Drawn:
        size = SIZE

        def __len__(self):
            return len(labels)

        def read(self, start, stop):
            return labels[start:stop]

    assert np.array_equal(Labels(Drawn()), labels)
    assert Labels(Drawn()).present == set(np.unique(labels)) - {0}
    with pytest.raises(MaskError, match="int64"):
        Labels(labels.astype(np.int64))
    with pytest.raises(MaskError, match=r"\(3, 5, 7, 1\)"):
        Labels(labels[..., None])
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
    y, x = np.mgrid[:24, :40]
    for t in (0, 1):
        nearest = {n: np.full((24, 40), np.inf) for n in reach}
        for n in reach:
            for py, px in zip(*np.nonzero(labels[t] == n), strict=True):
                nearest[n] = np.minimum(nearest[n], np.hypot(y - py, x - px))
        near = {n: np.where(d <= reach[n], d, np.inf) for n, d in nearest.items()}
        # The distance transform is off by at most 2 %: pixels in doubt are not asked.
        doubt = np.isclose(near[1], near[2], rtol=0.05, atol=0.3)
        for n, d in nearest.items():
            doubt |= np.isclose(d, reach[n], rtol=0.05)
        want = np.where(near[1] < near[2], 1, np.where(np.isfinite(near[2]), 2, 0))
        assert (grown[t] == np.where(labels[t] > 0, labels[t], want))[
            ~doubt | (labels[t] > 0)
        ].all()
    assert (grown[labels > 0] == labels[labels > 0]).all()
    assert grow_labels(labels, {1: 0, 2: 0}) is labels
