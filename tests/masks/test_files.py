import numpy as np
import pytest
from PIL import Image

from editing.errors import MaskError
from masks.files import read_labels, write_labels

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
    with pytest.raises(MaskError, match="3 masks were given .* uses 4 frames"):
        read_labels(tmp_path, 4, SIZE)


def test_wrong_size_names_file_and_both_sizes(tmp_path, labels):
    save(tmp_path, labels[0], labels[1][:4])
    with pytest.raises(MaskError, match=r"00001.png is 7x4; the clip is 7x5"):
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
    with pytest.raises(MaskError, match="labels 1 to 255"):
        read_labels(tmp_path, 1, SIZE)


def test_files_beside_folders_are_ambiguous(tmp_path, labels):
    save(tmp_path / "1", labels[0])
    save(tmp_path, labels[0])
    with pytest.raises(MaskError, match="beside"):
        read_labels(tmp_path, 1, SIZE)


def test_no_folder(tmp_path):
    with pytest.raises(MaskError, match="no folder"):
        read_labels(tmp_path / "none", 1, SIZE)
