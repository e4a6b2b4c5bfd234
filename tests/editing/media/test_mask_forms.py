"""Every form of masks, with every region of the palette: out and in again, exactly."""

from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from regrain.editing.media.coco import write_rle
from regrain.editing.media.labels import (
    flatten,
    open_regions,
    read_labels,
    split,
    write_labels,
    write_regions,
)
from regrain.editing.media.mask_pictures import PALETTE, default_color
from regrain.masks.io.video import write_mask_video

FRAMES, HEIGHT, WIDTH = 3, 40, 60
SIZE = (WIDTH, HEIGHT)
ALL = range(1, len(PALETTE) + 1)
COLORS = {label: default_color(label) for label in ALL}


def one(label):
    """A thing that moves, and of which a few pixels are left at the end."""
    labels = np.zeros((FRAMES, HEIGHT, WIDTH), np.uint8)
    labels[0, 4:30, 6:40] = labels[1, 8:34, 10:44] = labels[2, 20:22, 50:52] = label
    return labels


def together():
    """All of them, of which one has no more than a few pixels."""
    labels = np.zeros((FRAMES, HEIGHT, WIDTH), np.uint8)
    for label in ALL:
        labels[:, 2:38, 6 * label : 6 * label + 4] = label
    labels[:, 3:, 6 * ALL[-1] :] = 0
    return labels


def write_pictures(labels, folder):
    folder.mkdir()
    for number, frame in enumerate(labels):
        picture = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        for label, color in COLORS.items():
            picture[frame == label] = list(bytes.fromhex(color[1:]))
        Image.fromarray(picture).save(folder / f"{number:05d}.png")


FORMS = {
    "indexed": ("in", lambda labels, path: write_labels(labels, path, COLORS)),
    "indexed, no colours": ("in", lambda labels, path: write_labels(labels, path, {})),
    "white on black": ("in", lambda labels, path: write_regions(split(labels), path)),
    "run lengths": ("in.json", lambda labels, path: write_rle(split(labels), path)),
    "coloured": ("in", write_pictures),
    "coloured video": (
        "in.mkv",
        lambda labels, path: write_mask_video(labels, path, Fraction(8), COLORS),
    ),
}


@pytest.mark.full(but="indexed-unknown")
@pytest.mark.parametrize("known", [{}, COLORS], ids=["unknown", "known"])
@pytest.mark.parametrize("form", FORMS)
def test_each_region_comes_back_as_it_was(form, known, tmp_path):
    name, write = FORMS[form]
    for number, labels in enumerate((together(), *map(one, ALL))):
        path = tmp_path / str(number) / name
        path.parent.mkdir()
        write(labels, path)
        found = read_labels(path, FRAMES, SIZE, colors=known)
        assert np.array_equal(found, labels), number
        whole = open_regions(path, FRAMES, SIZE, colors=known)
        read = {n: np.asarray(mask) for n, mask in whole.items() if mask[:].any()}
        assert set(read) == set(np.unique(labels)) - {0}
        assert (flatten(read) == labels).all()
