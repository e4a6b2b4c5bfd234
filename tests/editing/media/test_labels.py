import numpy as np
import pytest
from PIL import Image

from regrain.editing.errors import MaskError
from regrain.editing.media.coco import read_rle, write_rle
from regrain.editing.media.labels import (
    Labels,
    flatten,
    read_labels,
    read_regions,
    split,
    write_labels,
    write_regions,
)
from regrain.editing.media.rle import from_runs, runs

SIZE = (7, 5)


@pytest.fixture
def labels():
    return np.random.default_rng(0).integers(0, 256, (3, 5, 7), dtype=np.uint8)


def save(folder, *masks, mode=None):
    folder.mkdir(parents=True, exist_ok=True)
    for index, mask in enumerate(masks):
        image = Image.fromarray(mask)
        (image.convert(mode) if mode else image).save(folder / f"{index:05d}.png")


def test_what_is_written_is_read_back_and_shows_colours(tmp_path, labels):
    write_labels(labels, tmp_path / "masks", {int(labels[0, 0, 0]): "#ff8000"})
    assert (read_labels(tmp_path / "masks", 3, SIZE) == labels).all()
    with Image.open(tmp_path / "masks" / "00000.png") as image:
        assert image.mode == "P"
        assert image.convert("RGB").getpixel((0, 0)) == (255, 128, 0)


def test_grey_files_are_labels_too(tmp_path, labels):
    save(tmp_path, *labels)
    assert (read_labels(tmp_path, 3, SIZE) == labels).all()


def test_the_earlier_in_the_list_covers_the_later(tmp_path):
    left, right = np.zeros((2, 5, 7), np.uint8)
    left[:, :4], right[:, 3:] = 255, 1
    save(tmp_path / "1", left)
    save(tmp_path / "2", right)
    assert read_labels(tmp_path, 1, SIZE)[0, 0].tolist() == [1, 1, 1, 1, 2, 2, 2]
    assert read_labels(tmp_path, 1, SIZE, order=[2, 1])[0, 0].tolist() == [1, 1, 1, 2, 2, 2, 2]
    assert read_labels(tmp_path, 1, SIZE, order=[2])[0, 0].tolist() == [1, 1, 1, 2, 2, 2, 2]


def test_wrong_count(tmp_path, labels):
    save(tmp_path, *labels)
    with pytest.raises(MaskError, match="has 3 masks, but the clip uses 4 frames"):
        read_labels(tmp_path, 4, SIZE)


def test_wrong_size_names_file_and_both_sizes(tmp_path, labels):
    save(tmp_path, labels[0], labels[1][:4])
    with pytest.raises(MaskError, match=r"'00001.png' is 7x4, but the clip is 7x5"):
        read_labels(tmp_path, 2, SIZE)


def test_colour_images_are_no_masks(tmp_path, labels):
    save(tmp_path, labels[0], mode="RGB")
    with pytest.raises(MaskError, match="RGB"):
        read_labels(tmp_path, 1, SIZE)


@pytest.mark.parametrize("content", [b"", b"no image", b"\x89PNG\r\n\x1a\n"])
def test_broken_file(tmp_path, content):
    (tmp_path / "00000.png").write_bytes(content)
    with pytest.raises(MaskError, match="00000.png"):
        read_labels(tmp_path, 1, SIZE)


def test_cut_file(tmp_path, labels):
    save(tmp_path, np.tile(labels[0], (40, 40)))
    file = tmp_path / "00000.png"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(MaskError, match="00000.png"):
        read_labels(tmp_path, 1, (280, 200))


@pytest.mark.parametrize("name", ["cat", "0", "256", "-1", "²"])
def test_folders_are_named_by_label(tmp_path, name):
    save(tmp_path / name, np.zeros((5, 7), np.uint8))
    with pytest.raises(MaskError, match="label from 1 to 255"):
        read_labels(tmp_path, 1, SIZE)


def test_files_beside_folders_are_ambiguous(tmp_path, labels):
    save(tmp_path / "1", labels[0])
    save(tmp_path, labels[0])
    with pytest.raises(MaskError, match="next to"):
        read_labels(tmp_path, 1, SIZE)


def test_no_folder(tmp_path):
    with pytest.raises(MaskError, match="not a folder"):
        read_labels(tmp_path / "none", 1, SIZE)


@pytest.fixture
def overlapping():
    rng = np.random.default_rng(1)
    return {7: rng.random((3, 5, 7)) < 0.5, 2: rng.random((3, 5, 7)) < 0.5}


def test_labels_are_the_same_after_any_way_out_and_in(tmp_path, labels):
    write_labels(labels, tmp_path / "png", {})
    write_rle(split(labels), tmp_path / "masks.json")
    write_regions(split(labels), tmp_path / "folders")
    for path in ("png", "masks.json", "folders"):
        assert (flatten(read_regions(tmp_path / path, 3, SIZE)) == labels).all()


def test_whole_masks_survive_as_folders_and_as_json(tmp_path, overlapping):
    write_regions(overlapping, tmp_path / "folders")
    write_rle(overlapping, tmp_path / "masks.json")
    for path in ("folders", "masks.json"):
        back = read_regions(tmp_path / path, 3, SIZE)
        assert set(back) == set(overlapping)
        assert all((back[label] == mask).all() for label, mask in overlapping.items())


def test_flattened_as_read_labels_does(tmp_path, overlapping):
    write_regions(overlapping, tmp_path)
    assert (read_labels(tmp_path, 3, SIZE, order=[7, 2]) == flatten(overlapping)).all()


def test_runs_are_those_of_coco():
    mask = np.array([[0, 0, 1], [0, 1, 1]], bool)
    assert runs(mask) == [3, 3]
    assert runs(~mask) == [0, 3, 3]
    assert runs(mask & False) == [6]


@pytest.mark.parametrize("seed", range(5))
def test_runs_there_and_back(seed):
    rng = np.random.default_rng(seed)
    mask = rng.random(rng.integers(1, 9, 2)) < rng.random()
    assert (from_runs(runs(mask), mask.shape[::-1]) == mask).all()


@pytest.mark.parametrize("counts", [[34], [-1, 36], [1.0, 34.0], ["35"], [True, 34], []])
def test_wrong_runs(counts):
    with pytest.raises(MaskError, match="7x5"):
        from_runs(counts, SIZE)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"masks": 3}', "[" * 100_000])
def test_json_that_is_no_masks(tmp_path, text):
    (tmp_path / "masks.json").write_text(text)
    with pytest.raises(MaskError, match="masks.json"):
        read_rle(tmp_path / "masks.json", 3, SIZE)


def test_json_of_another_clip(tmp_path, overlapping):
    write_rle(overlapping, tmp_path / "masks.json")
    with pytest.raises(MaskError, match="3 frames of 7x5, but the clip uses 4"):
        read_rle(tmp_path / "masks.json", 4, SIZE)


def test_files_are_in_the_order_of_their_numbers(tmp_path):
    for number in range(12):
        Image.fromarray(np.full((5, 7), number, np.uint8)).save(
            tmp_path / f"{number}.{'PNG' if number % 2 else 'png'}"
        )
    assert read_labels(tmp_path, 12, SIZE)[:, 0, 0].tolist() == list(range(12))


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


def test_json_is_read_as_labels_too(tmp_path):
    left, right = np.zeros((2, 1, 5, 7), bool)
    left[..., :4], right[..., 3:] = True, True
    write_rle({1: left, 2: right}, tmp_path / "masks.json")
    assert read_labels(tmp_path / "masks.json", 1, SIZE)[0, 0].tolist() == [1, 1, 1, 1, 2, 2, 2]
    assert read_labels(tmp_path / "masks.json", 1, SIZE, [2])[0, 0].tolist() == [1, 1, 1, 2, 2, 2, 2]


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


def test_compressed_coco_masks_are_read(labels):
    for mask in labels > 128:
        assert (from_runs(compressed(runs(mask)), SIZE) == mask).all()
    wide = np.zeros((40, 3000), bool)
    wide[:, 7:2000] = True
    assert (from_runs(compressed(runs(wide)), (3000, 40)) == wide).all()


@pytest.mark.parametrize("counts", ["d06~~", "", [2**62] * 4 + [35], [1e999, 35]])
def test_runs_that_are_none_are_refused(counts):
    with pytest.raises(MaskError, match="do not add up to 7x5"):
        from_runs(counts, SIZE)


def test_no_mask_is_refused(tmp_path):
    for act in (lambda: flatten({}), lambda: write_rle({}, tmp_path / "masks.json")):
        with pytest.raises(MaskError, match="No mask is given"):
            act()


@pytest.mark.parametrize("way", ["files", "folders", "json"])
def test_labels_are_read_by_window(tmp_path, labels, way, monkeypatch):
    labels = labels % 3
    path = tmp_path / ("masks.json" if way == "json" else "masks")
    {
        "files": lambda: write_labels(labels, path, {}),
        "folders": lambda: write_regions(split(labels), path),
        "json": lambda: write_rle(split(labels), path),
    }[way]()
    found = read_labels(path, 3, SIZE)
    assert isinstance(found, Labels)
    assert (found.shape, found.dtype, found.present) == (labels.shape, np.uint8, {1, 2})
    assert [len(found.read(*window)) for window in ((0, 0), (1, 2), (1, 3))] == [0, 1, 2]
    assert np.array_equal(found.read(1, 3), labels[1:])
    if way != "json":  # only what is asked for is opened
        opened, really = [], Image.open
        monkeypatch.setattr(Image, "open", lambda file: opened.append(file.name) or really(file))
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


def test_labels_of_an_array_are_no_copy_and_read_only(labels):
    window = Labels(labels).read(1, 3)
    assert np.shares_memory(window, labels)
    with pytest.raises(ValueError, match="read-only"):
        window[0] = 0
