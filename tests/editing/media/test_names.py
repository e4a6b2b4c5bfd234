"""The order of pictures by the numbers in their names, of clips and of masks alike."""

import pytest
from made_clips import levels_of
from PIL import Image

from regrain.editing import open_clip
from regrain.editing.media.labels import read_regions

ORDERS = {
    "signs": "plate.-0003 plate.-0001 plate.0000 plate.0002",
    "nothing but signs": "-2 -1 0 10",
    "no sign after a letter": "shot-1 shot-2 shot-10",
    "no sign after a digit": "1-2 1-3 1-10",
    "no sign without others": "a_-1 a_-2 a_-10",
    "no sign beside other names": "a_-1 a_-2 b_0",
    "signs after another sign": "t=-10 t=-2 t=0 t=3",
    "both signs": "a_-2 a_-1 a_+0 a_+1",
    "pluses alone": "a_+1 a_+2 a_+10",
    "the minus of mathematics": "p.\u22120003 p.\u22120001 p.0000",
    "two minuses": "a--10 a--2 a-0 a-2",
    "two numbers": "sh9_-3 sh9_2 sh10_-1 sh10_0",
    "two signs": "x_-2_-1 x_-2_1 x_1_-3 x_1_0",
    "decimals": "0.0 0.04 0.12 0.2 1.0 10.5",
    "signed decimals": "t_-0.5 t_-0.04 t_0.0 t_0.5",
    "counts after a point": "t1.0 t1.9 t1.10 t1.11",
    "padded after a point": "s01.0009 s01.0010 s02.0001",
    "full width": "１ ２ １０",
    "no numbers": "²1 ²2 ²10",
    "stamps": "1700000000123456788 1700000000123456789 1700000000123456790",
}


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
