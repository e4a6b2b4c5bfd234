"""What people bring as masks: each form with two levels, on a colour, in a palette."""

from fractions import Fraction

import cv2
import numpy as np
import pytest
from made_clips import noise
from PIL import Image

from regrain.editing.errors import MaskError
from regrain.editing.media.labels import Labels, open_regions, read_labels, understood
from regrain.editing.media.writing import write_video

FRAMES, HEIGHT, WIDTH = 3, 60, 80
SIZE = (WIDTH, HEIGHT)
Y, X = np.mgrid[:HEIGHT, :WIDTH]
THING = np.stack([np.hypot(X - 24 - 8 * n, Y - 30) < 14 for n in range(FRAMES)])
CORNER = np.stack([(X > 60) & (Y < 14)] * FRAMES)


def written(ending, change=Image.fromarray, together=False, **how):
    """A picture for each frame, or all in one file."""

    def write(frames, folder):
        first, *others = images = [change(frame) for frame in frames]
        if together:
            how.update(save_all=True, append_images=others)
        for number, image in enumerate([first] if together else images):
            image.save(folder / f"{number}.{ending}", **how)
        return folder

    return write


def video(frames, folder):
    if frames.ndim < 4:
        frames = np.repeat(frames[..., None], 3, -1)
    write_video(folder / "a.mp4", frames, Fraction(8))
    return folder / "a.mp4"


def numbers(kind, factor):
    return lambda frame: Image.fromarray((frame * factor).astype(kind))


FORMS = {
    "PNG": written("png"),
    "JPEG": written("jpg", quality=75),
    "TIFF by JPEG": written("tif", compression="jpeg"),
    "WebP": written("webp", quality=70),
    "an index": written("png", lambda frame: Image.fromarray(frame).quantize(64)),
    "pages": written("tif", together=True),
    "GIF": written("gif", together=True),
    "APNG": written("png", together=True),
    "WebP that moves": written("webp", together=True, lossless=True),
    "video": video,
}
GREY_FORMS = FORMS | {
    "colours": written("png", lambda frame: Image.fromarray(frame).convert("RGB")),
    "16 bits": written("png", numbers("u2", 257.0)),
    "shares": written("tif", numbers("f4", 1 / 255)),
    "real numbers": written("tif", numbers("f4", 1)),
}
LEVELS = {
    "black and white": (0, 255),
    "levels of video": (16, 235),
    "on dark grey": (60, 200),
    "both bright": (140, 250),
}


def likeness(one, other):
    return (one & other).sum() / (one | other).sum()


# Forms that keep what they are given are alike whatever the levels are.
LOSSY = ("JPEG", "TIFF by JPEG", "WebP", "video")
CASES = [(form, levels) for form in ("PNG", *LOSSY) for levels in LEVELS]
CASES += [(form, "on dark grey") for form in GREY_FORMS if form not in ("PNG", *LOSSY)]


@pytest.mark.parametrize(("form", "levels"), CASES)
def test_two_levels_are_one_mask(form, levels, tmp_path):
    low, high = LEVELS[levels]
    hard = np.where(THING, high, low).astype(np.uint8)
    soft = np.stack([cv2.GaussianBlur(frame, (0, 0), 1.2) for frame in hard])
    for name, frames in (("hard", hard), ("soft", soft)):
        (folder := tmp_path / name).mkdir()
        path = GREY_FORMS[form](frames, folder)
        found = open_regions(path, FRAMES, SIZE)
        assert list(found) == [1]
        assert likeness(np.asarray(found[1]), THING) > 0.93


NUMBERS = {
    "a small number": (7, 0, "u1", (), 7),
    "one that a region has": (20, 0, "u1", [20, 3], 20),
    "one mask and one region": (200, 0, "u1", [3], 3),
    "10 bits in 16": (940, 64, "u2", (), 1),
}


@pytest.mark.parametrize("case", NUMBERS)
def test_a_number_is_a_label_where_it_can_be_one(case, tmp_path):
    high, low, kind, order, label = NUMBERS[case]
    path = FORMS["PNG"](np.where(THING, high, low).astype(kind), tmp_path)
    found = read_labels(path, FRAMES, SIZE, order)
    assert (np.asarray(found) == label * THING).all()


@pytest.mark.parametrize(
    ("form", "values"), [("JPEG", THING + 0), ("PNG", 40 + 40 * THING + 90 * CORNER)]
)
def test_greys_that_may_be_two_things_are_asked(form, values, tmp_path):
    path = FORMS[form](values.astype(np.uint8), tmp_path)
    with pytest.raises(MaskError, match="labels, or one soft mask"):
        read_labels(path, FRAMES, SIZE)


def painted(ground, *things):
    frames = np.empty((FRAMES, HEIGHT, WIDTH, 3), np.uint8)
    frames[:] = ground
    for mask, color in things:
        frames[mask] = color
    return frames


RED, GREEN, BLUE, YELLOW = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0)
DARK_RED, OLIVE = (128, 0, 0), (128, 128, 0)
PHOTO = cv2.GaussianBlur(noise(HEIGHT, WIDTH, 3), (0, 0), 2)
PHOTOS = np.stack([PHOTO] * FRAMES)
GREYS = np.repeat(PHOTOS[..., :1], 3, -1)
CUT_OUT = {
    "one colour on green": painted(GREEN, (THING, BLUE)),
    "a photograph on green": painted(GREEN, (THING, PHOTOS[THING])),
    "a small one": painted((120, 255, 155), (CORNER, PHOTOS[CORNER])),
    "on white": painted((255, 255, 255), (THING, RED), (CORNER, BLUE)),
    "in grey on white": painted((255, 255, 255), (THING, GREYS[THING])),
}


@pytest.mark.parametrize("cut", CUT_OUT)
@pytest.mark.parametrize("form", ["PNG", "an index", "JPEG", "APNG", "video"])
def test_things_cut_out_on_a_colour_are_no_masks(form, cut, tmp_path):
    path = FORMS[form](CUT_OUT[cut], tmp_path)
    said = "along its border: the ground of things cut out, or a region"
    with pytest.raises(MaskError, match=said):
        read_labels(path, FRAMES, SIZE)


NUMBERED = {
    "published, with a gap": (OLIVE, DARK_RED, 3, 1),
    "others": (GREEN, RED, 2, 1),
    "others, mixed": (BLUE, YELLOW, 2, 1),
}


@pytest.mark.parametrize("colors", NUMBERED)
@pytest.mark.parametrize("form", FORMS)
def test_colours_have_numbers_whatever_their_areas(form, colors, tmp_path):
    large, small, *expected = NUMBERED[colors]
    frames = painted((0, 0, 0), (THING, large), (CORNER, small))
    labels = np.asarray(read_labels(FORMS[form](frames, tmp_path), FRAMES, SIZE))
    assert sorted(np.unique(labels)) == sorted([0, *expected])
    for label, mask in zip(expected, (THING, CORNER), strict=True):
        assert likeness(labels == label, mask) > 0.95


@pytest.mark.parametrize(
    ("color", "label"), [(DARK_RED, 1), (OLIVE, 1), ((64, 0, 0), 8), (BLUE, 4)]
)
def test_an_unknown_colour_is_that_of_the_region_that_is_left(color, label, tmp_path):
    known = {9: "#00ff00", label: "#ffe11a"}
    if color == OLIVE:
        del known[9]
    frames = painted((0, 0, 0), (THING, color), (CORNER & (color == BLUE), GREEN))
    path = FORMS["PNG"](frames, tmp_path)
    labels = np.asarray(read_labels(path, FRAMES, SIZE, [*known], colors=known))
    assert ((labels == label) == THING).all()


def test_colours_that_no_codec_changed_are_not_those_nearby(tmp_path):
    things = ((THING, (120, 120, 120)), (CORNER, (180, 120, 120)))
    path = FORMS["PNG"](painted((0, 0, 0), *things), tmp_path)
    assert (np.asarray(read_labels(path, FRAMES, SIZE)) == THING + 2 * CORNER).all()


RIGHT = np.stack([(X > 30) & (Y > 20)] * FRAMES)
LEFT, BELOW = RIGHT[..., ::-1], RIGHT & (Y > 40)


def packed(*masks, levels=(0, 255)):
    return np.stack([np.where(one, *levels[::-1]) for one in masks], -1).astype("u1")


PACKED = {
    "two": packed(LEFT, RIGHT, CORNER),
    "three": packed(LEFT, RIGHT, BELOW),
    "levels of video": packed(LEFT, CORNER, RIGHT, levels=(16, 235)),
    "edges": np.stack([cv2.GaussianBlur(one, (0, 0), 1) for one in packed(CORNER, LEFT, RIGHT)]),
}  # fmt: skip


@pytest.mark.parametrize("kind", PACKED)
@pytest.mark.parametrize("form", ["PNG", "JPEG", "video"])
def test_masks_packed_in_channels_that_overlap_are_no_regions(form, kind, tmp_path):
    path = FORMS[form](PACKED[kind], tmp_path)
    with pytest.raises(MaskError, match="masks packed in red, green and blue"):
        read_labels(path, FRAMES, SIZE)


APART = {
    "side by side": ([(X < 40, RED), (X >= 40, GREEN)], {}, 2),
    "both elsewhere": ([(LEFT & ~RIGHT, RED), (RIGHT, GREEN), (Y < 9, YELLOW)], {}, 3),
    "colours of regions": (
        [(LEFT, RED), (RIGHT, GREEN), (LEFT & RIGHT, YELLOW)],
        {1: "#ff0000", 2: "#00ff00", 3: "#ffff00"},
        3,
    ),
}


@pytest.mark.parametrize("kind", APART)
def test_pure_colours_are_regions_where_no_channels_overlap(kind, tmp_path):
    things, known, count = APART[kind]
    whole = ((np.broadcast_to(mask, THING.shape), color) for mask, color in things)
    frames = painted((0, 0, 0), *whole)
    frames[:, :, :2] = frames[:, -2:] = 0
    path = FORMS["PNG"](frames, tmp_path)
    labels = read_labels(path, FRAMES, SIZE, colors=known)
    assert labels.present == {*range(1, count + 1)}


def test_pages_with_an_index_keep_their_numbers(tmp_path):
    image = Image.fromarray(THING[0] * np.uint8(2))
    image.putpalette([0] * 768)
    image.save(tmp_path / "a.tif", save_all=True, append_images=[image])
    assert (read_labels(tmp_path / "a.tif", 2, SIZE)[1] == 2 * THING[0]).all()


def test_what_was_understood_is_said():
    labels = np.zeros((4, 10, 10), np.uint8)
    labels[:3, :2, :7] = 1
    labels[1:3, 5, :2] = 2
    said = "2 regions: 14 % and 2 % of the picture, on 3 of 4 frames"
    assert understood(Labels(labels)) == said
    masks = {label: labels == label for label in (1, 2, 3)}
    assert understood(masks).startswith("3 regions: 14 %, 2 % and 0 % of the picture")
    tiny = np.arange(2500).reshape(1, 50, 50) == 3
    said = "1 region: 0.04 % of the picture, on 1 of 1 frames"
    assert understood({9: tiny}) == said


def test_all_pictures_of_an_animation_mean_their_colours(tmp_path):
    images = [Image.fromarray(mask.astype(np.uint8)) for mask in THING]
    for image in images:
        image.putpalette([0, 0, 0, *BLUE])
    path = tmp_path / "a.gif"
    images[0].save(path, save_all=True, append_images=images[1:])
    assert (np.asarray(read_labels(path, FRAMES, SIZE)) == THING).all()
