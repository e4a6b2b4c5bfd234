"""Masks as other tools write them: one rule for files, folders, archives, videos."""

import zipfile
from fractions import Fraction

import cv2
import numpy as np
import pytest
from made_clips import noise, write_clip
from PIL import Image

from regrain.editing.errors import MaskError
from regrain.editing.media import reading
from regrain.editing.media.labels import open_regions, read_labels
from regrain.editing.media.mask_pictures import picture_in_video, understand
from regrain.editing.media.writing import write_video
from regrain.masks.io.files import read_masks
from regrain.ui.session.mask_files import read_tracks

SIDE = 96
SIZE = (SIDE, SIDE)
Y, X = np.mgrid[:SIDE, :SIDE]
DISC = np.hypot(X - 40, Y - 50) < 24
LEFT, RIGHT = X < 30, X > 60
TWO = np.where(LEFT, 1, np.where(RIGHT, 2, 0)).astype(np.uint8)
NOISE = noise(SIDE, SIDE, 3)
SOFT = cv2.GaussianBlur(255 * DISC.astype(np.uint8), (0, 0), 4)
# Hardly half of it is black or white.
GENTLE = np.clip(2.6 * (X + Y), 0, 255).astype(np.uint8)


def grey(inside, high=255, low=0):
    return np.where(inside, high, low).astype(np.uint8)


def rgb(inside, color, behind=(0, 0, 0)):
    return np.where(inside[..., None], np.uint8(color), np.uint8(behind))


def with_alpha(colors, alpha):
    return Image.fromarray(np.dstack([colors, alpha]))


def indexed(values, *colors, transparency=None):
    image = Image.fromarray(values.astype(np.uint8))
    image.putpalette([level for color in colors for level in color])
    if transparency is not None:
        image.info["transparency"] = transparency
    return image


WHITE, BLACK = np.full((SIDE, SIDE, 3), 255, np.uint8), np.zeros((SIDE, SIDE, 3), "u1")
ONE, BOTH = {1: DISC}, {1: LEFT, 2: RIGHT}
YELLOW, BLUE = (255, 225, 26), (11, 42, 140)
IN_COLORS = rgb(LEFT, YELLOW) + rgb(RIGHT, BLUE)
FEW_GREYS = Image.fromarray(SOFT).quantize(32)
# A smooth picture in many colours, like a sky.
SKY = np.stack([90 + X, 120 + Y, 250 - X], -1).astype(np.uint8)
# What is in the picture, and the regions that it means.
MEANT = {
    "labels, indexed": (indexed(TWO, (0, 0, 0), (255, 0, 0), (0, 255, 0)), BOTH),
    "labels, indexed in black": (indexed(TWO, *[(0, 0, 0)] * 3), BOTH),
    "labels, indexed in two greys": (
        indexed(TWO, (0, 0, 0), (99, 99, 99), (255, 255, 255)),
        BOTH,
    ),
    "labels, grey": (Image.fromarray(TWO), BOTH),
    "labels, grey as colours": (Image.fromarray(TWO).convert("RGB"), BOTH),
    "labels, 16 bits": (Image.fromarray(TWO.astype(np.uint16)), BOTH),
    "labels, 8 bits in 16": (Image.fromarray(TWO.astype(np.uint16) * 257), BOTH),
    "labels, real numbers": (Image.fromarray(TWO.astype(np.float32)), BOTH),
    "one label": (Image.fromarray(grey(DISC, 7)), {7: DISC}),
    "white on black": (Image.fromarray(grey(DISC)), ONE),
    "one bit": (Image.fromarray(DISC), ONE),
    "white stored before black": (indexed(~DISC, (255,) * 3, (0,) * 3), ONE),
    "soft": (Image.fromarray(SOFT), {1: SOFT >= 128}),
    "soft, 16 bits": (
        Image.fromarray(SOFT.astype(np.uint16) * 256 + 9),
        {1: SOFT >= 128},
    ),
    "soft, indexed": (
        FEW_GREYS,
        {1: np.asarray(FEW_GREYS.convert("L")) >= 128},
    ),
    "soft as colours": (Image.fromarray(SOFT).convert("RGB"), {1: SOFT >= 128}),
    "soft in few steps": (
        Image.fromarray(np.minimum(SOFT // 64 * 85, 255).astype(np.uint8)),
        {1: SOFT >= 128},
    ),
    "a gentle ramp": (Image.fromarray(GENTLE), {1: GENTLE >= 128}),
    "alpha of white": (with_alpha(WHITE, grey(DISC)), ONE),
    "alpha of black": (with_alpha(BLACK, grey(DISC)), ONE),
    "alpha of grey": (
        Image.fromarray(np.dstack([grey(DISC, 0), grey(DISC)]), "LA"),
        ONE,
    ),
    "faint alpha": (with_alpha(WHITE, grey(DISC, 90)), ONE),
    "alpha of an index": (
        indexed(DISC, (255,) * 3, (255,) * 3, transparency=bytes([0, 255])),
        ONE,
    ),
    "alpha of a photograph": (with_alpha(NOISE, grey(DISC)), ONE),
    "alpha that says nothing": (
        with_alpha(rgb(DISC, (255,) * 3), grey(DISC, 255, 255)),
        ONE,
    ),
    "colours": (Image.fromarray(IN_COLORS), BOTH),
    "colours before nothing": (with_alpha(IN_COLORS, grey(LEFT | RIGHT)), BOTH),
    "one colour": (Image.fromarray(rgb(DISC, (200, 30, 90))), ONE),
    "colours as an index": (
        Image.fromarray(IN_COLORS).quantize(3).convert("RGB").quantize(3),
        BOTH,
    ),
}
AFTER_CODECS = ("white on black", "soft", "a gentle ramp", "colours", "one colour")


def close(found, meant, least=1.0):
    assert sorted(found) == sorted(meant)
    for label, mask in meant.items():
        assert (np.asarray(found[label])[0] == mask).mean() >= least


@pytest.mark.parametrize(("image", "meant"), MEANT.values(), ids=MEANT)
def test_a_file_a_folder_and_an_archive_mean_the_same(image, meant, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    kind = "tif" if image.mode == "F" else "png"
    image.save(folder / f"0.{kind}")
    with zipfile.ZipFile(tmp_path / "masks.zip", "w") as archive:
        archive.write(folder / f"0.{kind}", f"masks/0.{kind}")
    for path in (folder, folder / f"0.{kind}"):
        close(open_regions(path, 1, SIZE), meant)
        close(read_masks(path, {}), meant)
    tracks, _ = read_tracks([tmp_path / "masks.zip"], tmp_path, range(1), 1, SIZE, {})
    assert sorted(tracks) == sorted(meant)


@pytest.mark.parametrize("name", AFTER_CODECS)
@pytest.mark.parametrize("ending", ["jpg", "webp", "bmp", "tiff", "mp4"])
def test_noise_of_a_codec_makes_no_regions(name, ending, tmp_path):
    image, meant = MEANT[name]
    path = tmp_path / f"0.{ending}"
    if ending == "mp4":
        frame = np.asarray(image.convert("RGB"))
        write_video(path, [frame], Fraction(8), crf=20)
    else:
        image.save(path, **({"quality": 60} if ending in ("jpg", "webp") else {}))
    close(read_masks(path, {}), meant, 0.98)


def test_known_colours_keep_their_labels(tmp_path):
    Image.fromarray(IN_COLORS).save(tmp_path / "0.png")
    colors = {5: "#0b2a8c", 9: "#ffe11a"}
    labels = read_labels(tmp_path / "0.png", 1, SIZE, [5, 9], colors=colors)[0]
    assert (labels == np.where(LEFT, 9, np.where(RIGHT, 5, 0))).all()
    Image.fromarray(grey(DISC)).save(tmp_path / "1.png")
    white = read_labels(tmp_path / "1.png", 1, SIZE, [5], colors={5: "#ffffff"})
    assert (white[0] == 5 * DISC).all()
    # A project written when white was label 255 is still read.
    assert (read_labels(tmp_path / "1.png", 1, SIZE, [255])[0] == grey(DISC)).all()
    assert (read_labels(tmp_path / "1.png", 1, SIZE, [255, 1])[0] == DISC).all()


def test_one_meaning_holds_for_all_frames(tmp_path):
    save_all(tmp_path, *map(Image.fromarray, (grey(DISC, 0), grey(DISC), SOFT)))
    labels = read_labels(tmp_path, 3, SIZE)
    assert labels.present == {1}
    assert [int((one > 0).sum()) for one in labels] == [
        0,
        DISC.sum(),
        (SOFT >= 128).sum(),
    ]
    colored = (BLACK, rgb(LEFT, YELLOW), rgb(RIGHT, BLUE))
    save_all(tmp_path, *map(Image.fromarray, colored))
    labels = read_labels(tmp_path, 3, SIZE)
    assert [sorted(np.unique(one)) for one in labels] == [[0], [0, 1], [0, 2]]


def save_all(folder, *images):
    for index, image in enumerate(images):
        image.save(folder / f"{index:05d}.png")


MANY = (20 * (X // 8) % 251).astype(np.uint8)
ASKED = {
    "twelve even greys": ([Image.fromarray(MANY)], "more than 8 greys"),
    "greys that are all dark": (
        [Image.fromarray((GENTLE // 3).astype(np.uint8))],
        "more than 8 greys",
    ),
    "noise": ([Image.fromarray(NOISE[..., 0])], "more than 8 greys"),
    "a photograph": ([Image.fromarray(NOISE)], "too many colours for masks"),
    "a smooth photograph": ([Image.fromarray(SKY)], "too many colours for masks"),
    "colours and numbers": (
        [Image.fromarray(IN_COLORS), Image.fromarray(TWO)],
        "has colours, but '00001.png' has numbers",
    ),
    "a label of 16 bits": (
        [Image.fromarray(TWO.astype(np.uint16) * 1001)],
        "has label 2002",
    ),
}


@pytest.mark.parametrize(("images", "said"), ASKED.values(), ids=ASKED)
def test_what_cannot_be_told_is_asked(images, said, tmp_path):
    save_all(tmp_path, *images)
    with pytest.raises(MaskError, match=said):
        read_labels(tmp_path, len(images), SIZE)


def test_several_pictures_in_a_file_count_and_odd_numbers_are_named(tmp_path):
    first, second = Image.fromarray(grey(DISC)), Image.fromarray(grey(LEFT))
    first.save(tmp_path / "a.tif", save_all=True, append_images=[second])
    with pytest.raises(MaskError, match="'a.tif' has 2 masks, but the clip uses 1"):
        read_labels(tmp_path / "a.tif", 1, SIZE)
    Image.fromarray(1.5 * DISC.astype(np.float32)).save(tmp_path / "b.tif")
    with pytest.raises(MaskError, match="numbers from 0 to 1.5"):
        read_labels(tmp_path / "b.tif", 1, SIZE)


def test_even_greys_of_a_video_are_masks_of_their_own():
    frame = rgb(LEFT, (90, 90, 90)) + rgb(RIGHT, (255, 255, 255))
    meaning = understand([picture_in_video(frame, "masks.mp4")], {})
    assert (meaning.form, len(meaning.colors)) == ("colors", 2)


def test_a_mask_that_lies_on_its_side_is_turned(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # shown turned clockwise
    wide = Image.fromarray(grey(np.mgrid[:40, :SIDE][1] < 20))
    wide.save(tmp_path / "0.jpg", exif=exif, quality=95)
    labels = read_labels(tmp_path / "0.jpg", 1, (40, SIDE))[0]
    assert labels[:16].all()
    assert not labels[24:].any()


@pytest.mark.parametrize("name", [".ipynb_checkpoints", "__MACOSX", "@eaDir", ".x"])
def test_hidden_files_are_no_masks(name, tmp_path):
    save_all(tmp_path, Image.fromarray(TWO), Image.fromarray(TWO))
    (tmp_path / name).mkdir()
    for folder in (tmp_path, tmp_path / name):
        (folder / "._00000.png").write_bytes(b"\0\5\26\7")
    Image.fromarray(TWO).save(tmp_path / name / "00000-checkpoint.png")
    assert (read_labels(tmp_path, 2, SIZE) == TWO).all()
    assert sorted(read_masks(tmp_path, {})) == [1, 2]


@pytest.mark.parametrize("form", ["one folder per label", "plain", "json", "mkv"])
def test_masks_of_the_files_own_size_are_scaled(form, tmp_path):
    from regrain.editing.media.coco import write_rle
    from regrain.editing.media.labels import write_labels, write_regions
    from regrain.masks.io.video import write_mask_video

    large = np.repeat(np.repeat(TWO, 2, 0), 2, 1)[None]
    masks = {label: large == label for label in (1, 2)}
    path = tmp_path / ("in.json" if form == "json" else "in.mkv")
    if form == "json":
        write_rle(masks, path)
    elif form == "mkv":
        write_mask_video(large, path, Fraction(8), {1: "#ffe11a", 2: "#0b2a8c"})
    else:
        path = tmp_path / "in"
        path.mkdir()
        write = {"plain": lambda: write_labels(large, path, {})}
        write.get(form, lambda: write_regions(masks, path))()
    close(open_regions(path, 1, SIZE, original=(2 * SIDE, 2 * SIDE)), BOTH)
    with pytest.raises(MaskError, match=r"192x192, but the clip (is|uses 1 of) 96x96"):
        open_regions(path, 1, SIZE)


def test_one_mask_is_of_the_frame_that_is_said(tmp_path):
    Image.fromarray(TWO).save(tmp_path / "one.png")
    labels = read_labels(tmp_path / "one.png", 4, SIZE, at=2)
    assert [int(one.any()) for one in labels] == [0, 0, 1, 0]
    assert (labels[2] == TWO).all()
    with pytest.raises(MaskError, match="--at: Frame 4 is outside the clip"):
        read_labels(tmp_path / "one.png", 4, SIZE, at=4)
    with pytest.raises(MaskError, match="or say the frame of this one with --at"):
        read_labels(tmp_path / "one.png", 4, SIZE)
    save_all(tmp_path, *[Image.fromarray(TWO)] * 3)
    with pytest.raises(MaskError, match="has 4 masks, but --at is of one mask"):
        read_labels(tmp_path, 4, SIZE, at=2)


def test_a_still_gif_is_a_picture(tmp_path):
    picture = indexed(TWO, (0, 0, 0), (0, 255, 0), (255, 0, 0))
    picture.save(tmp_path / "0.GIF", format="GIF")
    for path in (tmp_path, tmp_path / "0.GIF"):
        close(open_regions(path, 1, SIZE), BOTH)
    Image.fromarray(DISC).save(tmp_path / "0.png")  # the GIF is a preview of it
    close(open_regions(tmp_path, 1, SIZE), ONE)


def test_folders_of_labels_may_have_leading_zeros(tmp_path):
    for name, inside in (("001", LEFT), ("02", RIGHT)):
        (tmp_path / name).mkdir()
        Image.fromarray(grey(inside)).save(tmp_path / name / "0.png")
    close(open_regions(tmp_path, 1, SIZE), BOTH)
    (tmp_path / "2").mkdir()
    with pytest.raises(MaskError, match="has two folders of label 2. Remove one"):
        open_regions(tmp_path, 1, SIZE)


@pytest.mark.parametrize("name", ["masks.npy", "masks.xml", "masks.exr"])
def test_files_that_hold_no_masks_are_named(name, tmp_path):
    (tmp_path / name).write_bytes(b"\x93NUMPY")
    with pytest.raises(MaskError, match="is neither a picture, JSON, nor a readable"):
        read_labels(tmp_path / name, 1, SIZE)
    with pytest.raises(MaskError, match=r"has no pictures of masks. Use files .*\.png"):
        read_labels(tmp_path, 1, SIZE)


VIDEOS = {
    "a.mov": ("prores_ks", "yuva444p10le"),
    "b.mov": ("qtrle", "argb"),
    "c.webm": ("libvpx-vp9", "yuva420p"),
    "d.webm": ("libvpx", "yuva420p"),
}


@pytest.mark.parametrize(("name", "written"), VIDEOS.items(), ids=VIDEOS)
@pytest.mark.parametrize("shown", ["white", "noise", "colours"])
def test_the_alpha_of_a_video_means_what_it_means_in_a_picture(
    name, written, shown, tmp_path
):
    codec, pixels = written
    colors = {"white": WHITE, "noise": NOISE, "colours": IN_COLORS}[shown]
    inside = np.full_like(DISC, True) if shown == "colours" else DISC
    frames = np.stack([np.dstack([colors, grey(inside)])] * 3)
    how = {"auto_alt_ref": "0"} if codec == "libvpx" else {"crf": "4"}
    path = write_clip(tmp_path / name, frames, codec=codec, pixels=pixels, **how)
    found = open_regions(path, 3, SIZE)
    close(found, BOTH if shown == "colours" else ONE, 0.97)


def before(column):
    return np.mgrid[:SIDE, :SIDE][1] < column


def test_a_clip_with_alpha_can_be_entered_anywhere(tmp_path):
    frames = np.stack([np.dstack([NOISE, grey(before(4 * n))]) for n in range(8)])
    how = {"codec": "libvpx-vp9", "pixels": "yuva420p", "g": "4"}
    clip = reading.open_clip(write_clip(tmp_path / "a.webm", frames, **how))
    for number in (6, 1, 7, 3):
        alpha = clip.read_with_alpha(number, number + 1)[0, ..., 3]
        assert ((alpha > 127) == before(4 * number)).mean() > 0.97
    assert clip.read(0, 8).shape == (8, SIDE, SIDE, 3)


def test_noise_of_a_codec_in_white_says_nothing_beside_alpha():
    levels = np.random.default_rng(1).integers(252, 256, (SIDE, SIDE, 1), np.uint8)
    frame = np.repeat(levels, 3, axis=-1)
    meaning = understand([picture_in_video(frame, "a.mov", grey(DISC))], {})
    assert meaning.form == "alpha"
