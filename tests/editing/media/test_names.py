"""The order of pictures by the numbers in their names, of clips and of masks alike."""

from pathlib import Path

import pytest
from json_files import read_json
from made_clips import levels_of
from PIL import Image

from regrain.editing import open_clip
from regrain.editing.media.labels import read_regions

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
    (found,) = read_regions(save(tmp_path / "masks", names, last), count, SIZE).values()
    assert (255 * found.any((1, 2))).tolist() == last
