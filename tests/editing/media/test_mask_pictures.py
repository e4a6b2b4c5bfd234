"""Masks as other tools write them: one rule for files, folders, archives, videos."""

from fractions import Fraction
from pathlib import Path
from shutil import make_archive

import cv2
import numpy as np
import pytest
from json_files import read_json
from made_clips import noise, write_clip
from PIL import Image, ImageColor

from regrain.editing.errors import MaskError
from regrain.editing.media.clip import ArrayClip
from regrain.editing.media.coco import write_rle
from regrain.editing.media.labels import Labels, flatten, understood
from regrain.editing.media.mask_files import (
    open_regions,
    read_labels,
    write_labels,
    write_regions,
)
from regrain.editing.media.mask_pictures import (
    FORMS,
    PALETTE,
    default_color,
    palette,
)
from regrain.editing.media.writing import write_lossless, write_video
from regrain.masks.io.files import read_masks
from regrain.masks.io.video import write_mask_video
from regrain.ui.session.mask_files import read_tracks

SIDE = 96
SIZE = (SIDE, SIDE)
Y, X = np.mgrid[:SIDE, :SIDE]
DISC = np.hypot(X - 40, Y - 50) < 24
LEFT, RIGHT = X < 30, X > 60
TWO = np.where(LEFT, 1, np.where(RIGHT, 2, 0)).astype(np.uint8)
NOISE = noise(SIDE, SIDE, 3)
WHITE_DISC = np.where(DISC, np.uint8(255), np.uint8(0))
# Edges as painting programs draw them.
DRAWN = cv2.resize(
    cv2.resize(WHITE_DISC, None, fx=4, fy=4), SIZE, interpolation=cv2.INTER_AREA
)
SOFT = cv2.GaussianBlur(WHITE_DISC, (0, 0), 4)
RAMP = np.clip(2.6 * (X + Y), 0, 255).astype(np.uint8)
ONE, BOTH = {1: DISC}, {1: LEFT, 2: RIGHT}
ALL = range(1, len(PALETTE) + 1)


def grey(inside, high=255, low=0):
    return np.where(inside, high, low).astype(np.uint8)


def rgb(*things, ground="#000000"):
    picture = np.full((SIDE, SIDE, 3), ImageColor.getrgb(ground), np.uint8)
    for inside, color in things:
        picture[inside] = ImageColor.getrgb(color)
    return picture


STRIPES = X // 8 % 9
PIXELS = {
    "disc": DISC,
    "not disc": ~DISC,
    "white disc": WHITE_DISC,
    "left": LEFT,
    "right": RIGHT,
    "two": TWO,
    "left, between and right": np.where(LEFT, 0, TWO + 1),
    "edges": DRAWN,
    "edges of white": DRAWN >= 128,
    "stripes": palette({n: default_color(n) for n in ALL})[STRIPES],
    **{f"stripe {label}": label == STRIPES for label in ALL},
    "two and a void": TWO + grey(DISC & (TWO == 0)),
    "two of 16 bits": TWO.astype(np.uint16),
    "real disc": DISC.astype(np.float32),
    "levels of video": grey(DISC, 235, 16),
    "soft": SOFT,
    "ramp": RAMP,
    "noise": NOISE,
    "grey noise": NOISE[..., 0],
    "alpha": np.dstack([rgb(ground="#ffffff"), WHITE_DISC]),
}
TABLES = read_json(Path(__file__).with_name("mask_pictures.json"))
"""Pictures, as `picture` takes them: what they mean, or that they are none."""


def picture(pixels="", mode="", palette=(), transparency=(), colors=(), few=0):
    """A picture by its pixels, which may be indices of a palette, or by the colours of
    its parts."""
    if colors:
        things = [(PIXELS[part], color) for part, color in colors.items()]
        return Image.fromarray(rgb(*things))
    values = PIXELS[pixels]
    if palette:
        image = Image.fromarray(values.astype(np.uint8))
        known = [ImageColor.getrgb(color) for color in palette]
        image.putpalette([level for color in known for level in color])
        if transparency:
            image.info["transparency"] = bytes(transparency)
        return image
    image = Image.fromarray(values)
    if few:
        return image.quantize(few)
    return image.convert(mode) if mode else image


def meant(name):
    """A picture, and by region where it is."""
    given, means = TABLES["meant"][name]
    return picture(**given), {int(n): PIXELS[part] for n, part in means.items()}


def close(found, meant, least=1.0):
    assert sorted(found) == sorted(meant)
    for label, mask in meant.items():
        assert (np.asarray(found[label])[0] == mask).mean() >= least


@pytest.mark.parametrize("name", TABLES["meant"])
def test_a_file_a_folder_and_an_archive_mean_the_same(name, tmp_path):
    image, regions = meant(name)
    folder = tmp_path / "in"
    folder.mkdir()
    image.save(folder / "0.png")
    for path in (folder, folder / "0.png"):
        close(open_regions(path, 1, SIZE), regions)
        close(read_masks(path, {}), regions)
    make_archive(tmp_path / "masks", "zip", tmp_path, "in")
    tracks, _ = read_tracks([tmp_path / "masks.zip"], tmp_path, range(1), 1, SIZE, {})
    assert sorted(tracks) == sorted(regions)


def test_uploaded_masks_in_the_colour_of_a_region_are_its(tmp_path):
    picture = np.zeros((SIDE, SIDE, 3), np.uint8)
    picture[DISC] = 0x12, 0x34, 0x56
    Image.fromarray(picture).save(tmp_path / "0.png")
    given = [tmp_path / "0.png"], tmp_path / "in", range(1), 1, SIZE
    (tmp_path / "in").mkdir()
    tracks, _ = read_tracks(*given, {7: "#123456", 8: "#654321"})
    assert [*tracks] == [7]


def written(image, path, **how):
    """A picture, or a video of one frame."""
    if path.suffix == ".mp4":
        write_video(path, [np.asarray(image.convert("RGB"))], Fraction(8), **how)
    else:
        image.save(path, **how)
    return path


LOSSY = {
    "JPEG": (".jpg", {"quality": 30}),
    "WebP": (".webp", {"quality": 40}),
    "TIFF by JPEG": (".tif", {"compression": "jpeg"}),
    "video": (".mp4", {"crf": 35}),
}
LOSSLESS = {
    "BMP": (".bmp", {}),
    "TIFF": (".tif", {}),
    "WebP, lossless": (".webp", {"lossless": True}),
    "GIF": (".gif", {}),
}


KEPT = [
    (form, drawn) for form in LOSSY | LOSSLESS for drawn in ("white on black", "edges")
]
KEPT += [(form, "the page's colours") for form in LOSSLESS]


@pytest.mark.parametrize(("form", "drawn"), KEPT)
def test_pictures_and_videos_keep_what_is_read(form, drawn, tmp_path):
    ending, how = (LOSSY | LOSSLESS)[form]
    image, regions = meant(drawn)
    path = written(image, tmp_path / f"in{ending}", **how)
    close(read_masks(path, {}), regions, 0.98 if form in LOSSY else 1)


def save_all(folder, *images):
    for index, image in enumerate(images):
        image.save(folder / f"{index:05d}.png")


@pytest.mark.parametrize("crf", [20, 40])
def test_a_mask_that_moves_and_leaves_is_read_from_a_video(crf, tmp_path):
    """Slivers at the border and points, of which a codec leaves little."""
    things = np.stack(
        [
            (np.hypot(X - 80 - 2 * n, Y - 40) < 20)
            | (np.hypot(X - 20, Y - 20) < 6 - n / 2)
            | ((X < 2) & (8 * n > Y))
            for n in range(12)
        ]
    )
    frames = np.repeat(grey(things)[..., None], 3, -1)
    write_video(tmp_path / "a.mp4", frames, Fraction(8), crf=crf)
    found = read_labels(tmp_path / "a.mp4", 12, SIZE)[:]
    assert ((found == things).mean((1, 2)) > 0.99).all()


def test_levels_of_video_are_black_and_white(tmp_path):
    levels = np.repeat(grey(DISC, 235, 16)[..., None], 3, -1)
    write_video(tmp_path / "a.mp4", [levels], Fraction(8))
    close(read_masks(tmp_path / "a.mp4", {}), ONE, 0.99)


def test_known_colours_keep_their_labels(tmp_path):
    save_all(tmp_path, Image.fromarray(rgb((LEFT, "#3b82f6"), (RIGHT, "#808000"))))
    colors = {5: "#808000", 9: "#3B82F6"}
    labels = read_labels(tmp_path, 1, SIZE, [5, 9], colors=colors)[0]
    assert (labels == np.where(LEFT, 9, np.where(RIGHT, 5, 0))).all()
    # Those of two regions are of neither, black is of none.
    for colors in ({5: "#808000", 9: "#808000"}, {5: "#000000"}):
        with pytest.raises(MaskError, match=r"has #\w+, which no region has"):
            read_labels(tmp_path, 1, SIZE, colors={**colors, 1: "#ff0000"})


@pytest.mark.parametrize("whose", TABLES["white is"])
def test_white_is_one_region(whose, tmp_path):
    order, colors, label = TABLES["white is"][whose]
    colors = {int(region): color for region, color in colors.items()}
    save_all(tmp_path, Image.fromarray(WHITE_DISC), Image.fromarray(DRAWN))
    labels = read_labels(tmp_path, 2, SIZE, order, colors=colors)
    assert (labels[0] == label * DISC).all()
    assert (labels[1] == label * (DRAWN >= 128)).all()


def test_white_may_be_one_colour_of_several(tmp_path):
    white, both = rgb((LEFT, "#ffffff")), rgb((LEFT, "#ffffff"), (RIGHT, "#ffe11a"))
    save_all(tmp_path, Image.fromarray(white), Image.fromarray(both))
    labels = read_labels(tmp_path, 2, SIZE, colors={2: "#ffffff"})
    assert (labels[0] == 2 * LEFT).all()
    assert (labels[1] == 2 * LEFT + RIGHT).all()


@pytest.mark.parametrize("given", TABLES["empty"])
def test_empty_pictures_are_of_every_form(given, tmp_path):
    save_all(tmp_path, Image.fromarray(grey(DISC, 0)), picture(**given))
    labels = read_labels(tmp_path, 2, SIZE)
    assert [int(one.sum()) for one in labels] == [0, DISC.sum()]


@pytest.mark.parametrize("kind", TABLES["refused"])
def test_every_other_picture_is_refused_by_the_forms(kind, tmp_path):
    image = picture(**TABLES["refused"][kind])
    folder = tmp_path / "2" / "1"
    folder.mkdir(parents=True)
    file = folder / f"0.{'tif' if image.mode == 'F' else 'png'}"
    image.save(file)
    # alone, in a folder, and in the folder of a region
    for path in (file, folder, tmp_path / "2"):
        with pytest.raises(MaskError) as caught:
            open_regions(path, 1, SIZE)
        assert caught.value.message.endswith(FORMS)
        assert file.name in caught.value.message


@pytest.mark.parametrize("form", LOSSY)
@pytest.mark.parametrize("kind", TABLES["refused of codecs"])
def test_all_that_a_codec_may_have_changed_is_refused_but_white(kind, form, tmp_path):
    image = picture(**TABLES["refused of codecs"][kind])
    ending, how = LOSSY[form]
    path = written(image.convert("RGB"), tmp_path / f"in{ending}", **how)
    with pytest.raises(MaskError) as caught:
        open_regions(path, 1, SIZE)
    assert caught.value.message.endswith(FORMS)


@pytest.mark.parametrize("names", TABLES["mixed"])
def test_one_form_holds_for_all_frames(names, tmp_path):
    save_all(tmp_path, *(meant(name)[0] for name in names))
    said = "'00000.png' and '00001.png' are of two forms"
    with pytest.raises(MaskError, match=said):
        read_labels(tmp_path, 2, SIZE)


VIDEOS = {
    "a.mov": ("prores_ks", "yuva444p10le"),
    "b.mov": ("qtrle", "argb"),
    "c.webm": ("libvpx-vp9", "yuva420p"),
}


@pytest.mark.parametrize(("name", "written"), VIDEOS.items(), ids=VIDEOS)
def test_a_video_with_an_alpha_channel_is_no_mask(name, written, tmp_path):
    codec, pixels = written
    frames = np.stack([PIXELS["alpha"]] * 3)
    path = write_clip(tmp_path / name, frames, codec=codec, pixels=pixels)
    with pytest.raises(MaskError, match="has an alpha channel. Use indexed PNG"):
        open_regions(path, 3, SIZE)


def test_later_frames_of_a_long_video_are_refused_when_they_are_read(
    tmp_path, monkeypatch
):
    monkeypatch.setattr("regrain.editing.media.mask_files._LOOKED_AT", 2)
    known = rgb((LEFT, "#ffe11a"))
    frames = np.stack([known, rgb((LEFT, "#00ff00")), known])
    write_lossless(tmp_path / "a.mkv", ArrayClip(frames, Fraction(8)))
    with pytest.raises(MaskError, match="'a.mkv' has #00ff00, which no region has"):
        read_labels(tmp_path / "a.mkv", 3, SIZE)


@pytest.mark.parametrize(
    ("ending", "drawn"),
    [
        ("tif", "white on black"),
        ("gif", "white on black"),
        ("gif", "the same as an index"),
        ("png", "white on black"),
        ("webp", "the page's colours"),
    ],
)
def test_a_file_may_hold_a_picture_for_each_frame(ending, drawn, tmp_path):
    image, regions = meant(drawn)
    other = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    path = tmp_path / f"a.{ending}"
    how = {"lossless": True} if ending == "webp" else {}
    image.save(path, save_all=True, append_images=[other, image], **how)
    for label, mask in open_regions(path, 3, SIZE).items():
        assert (
            mask[:] == [regions[label], regions[label][:, ::-1], regions[label]]
        ).all()
    said = f"'a.{ending}' has 3 masks, but the clip uses 1"
    with pytest.raises(MaskError, match=said):
        read_labels(path, 1, SIZE)


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
    labels, _ = meant("labels")
    save_all(tmp_path, labels, labels)
    (tmp_path / name).mkdir()
    labels.save(tmp_path / name / "00000-checkpoint.png")
    for folder in (tmp_path, tmp_path / name):
        (folder / "._00000.png").write_bytes(b"\0\5\26\7")
    assert (read_labels(tmp_path, 2, SIZE) == TWO).all()
    assert sorted(read_masks(tmp_path, {})) == [1, 2]


OWN = {
    "masks": lambda masks, path: write_regions(masks, path),
    "labels": lambda masks, path: write_labels(flatten(masks), path, {}),
    "in.json": lambda masks, path: write_rle(masks, path),
    "in.mkv": lambda masks, path: write_mask_video(
        flatten(masks), path, Fraction(8), {1: "#ffe11a", 2: "#0b2a8c"}
    ),
}


@pytest.mark.parametrize("form", OWN)
def test_masks_of_another_size_are_refused(form, tmp_path):
    path = tmp_path / form
    if not path.suffix:
        path.mkdir()
    large = {label: mask.repeat(2, 0).repeat(2, 1) for label, mask in BOTH.items()}
    OWN[form]({label: mask[None] for label, mask in large.items()}, path)
    with pytest.raises(MaskError, match=r"192x192, but the clip (is|uses 1 of) 96x96"):
        open_regions(path, 1, SIZE)


def test_one_mask_is_of_the_frame_that_is_said(tmp_path):
    labels, _ = meant("labels")
    one = tmp_path / "one.png"
    labels.save(one)
    found = read_labels(one, 4, SIZE, at=2)[:]
    assert (found == [0 * TWO, 0 * TWO, TWO, 0 * TWO]).all()
    save_all(tmp_path, labels, labels, labels)
    for path, at, said in (
        (one, 4, "--at: Frame 4 is outside the clip"),
        (one, None, "or say the frame of this one with --at"),
        (tmp_path, 2, "has 4 masks, but --at is of one mask"),
    ):
        with pytest.raises(MaskError, match=said):
            read_labels(path, 4, SIZE, at=at)


def test_a_gif_beside_png_files_is_no_mask(tmp_path):
    Image.fromarray(WHITE_DISC).save(tmp_path / "0.GIF", format="GIF")
    close(open_regions(tmp_path, 1, SIZE), ONE)
    labels, _ = meant("labels")
    labels.save(tmp_path / "0.png")  # the GIF is a preview of it
    close(open_regions(tmp_path, 1, SIZE), BOTH)


def test_folders_of_labels_may_have_leading_zeros(tmp_path):
    for name, inside in (("001", LEFT), ("02", RIGHT)):
        (tmp_path / name).mkdir()
        save_all(tmp_path / name, Image.fromarray(grey(inside)))
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


@pytest.mark.parametrize("frames", ["3 and 2", "1 and 2", "3"])
def test_what_was_understood_is_said(frames):
    first, second = int(frames[0]), int(frames[-1])
    labels = np.zeros((4, 50, 50), np.uint8)
    labels[:first, :10, :35] = 1
    labels[4 - second :, 25, 0] = 2
    said = f"2 regions: 14 % and 0.04 % of the picture, on {frames} of 4 frames"
    masks = {label: labels == label for label in (1, 2)}
    assert understood(Labels(labels)) == understood(masks) == said
    none = "0 regions: 0 % of the picture, on 0 of 4 frames"
    assert understood(Labels(labels * 0)) == none


@pytest.mark.parametrize("soft", ["SOFT", "RAMP", "three levels"])
def test_white_with_soft_edges_is_said_to_be_soft_and_taken_once_it_is_not(
    soft, tmp_path
):
    levels = np.digitize(SOFT, (40, 200)).astype(np.uint8) * 127
    image = {"SOFT": SOFT, "RAMP": RAMP, "three levels": levels}[soft]
    save_all(tmp_path, Image.fromarray(image))
    said = "'00000.png' has greys or soft edges: make them black or white. Use "
    with pytest.raises(MaskError, match=said):
        open_regions(tmp_path, 1, SIZE)
    save_all(tmp_path, Image.fromarray(grey(image >= 128)))
    close(open_regions(tmp_path, 1, SIZE), {1: image >= 128})
