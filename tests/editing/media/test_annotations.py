"""Masks in JSON of other tools: COCO with its odd cases, YouTube-VIS, LabelMe."""

import base64
import copy
import io
import json

import numpy as np
import pytest
from json_files import write_json
from PIL import Image

from regrain.editing.errors import MaskError
from regrain.editing.media.annotations import read_annotations
from regrain.editing.media.coco import runs
from regrain.editing.media.labels import read_labels, read_regions

SIZE = WIDTH, HEIGHT = (40, 30)
Y, X = np.mgrid[:HEIGHT, :WIDTH]
BOX = (X >= 4) & (X < 20) & (Y >= 6) & (Y < 16)
CORNERS = [[4, 6], [20, 6], [20, 16], [4, 16]]
POLYGON = sum(CORNERS, [])


def write(path, facts):
    write_json(path, facts)
    return path


def coco(segmentation, **image):
    return {
        "images": [
            {"id": 1, "file_name": "a.png", "width": WIDTH, "height": HEIGHT} | image
        ],
        "annotations": [
            {"id": 7, "image_id": 1, "category_id": 3, "segmentation": segmentation}
        ],
        "categories": [{"id": 3, "name": "dog"}],
    }


@pytest.fixture
def read(tmp_path):
    """Reads the masks of so many frames from a file of these facts."""

    def regions_of(facts, frames=1):
        return read_regions(write(tmp_path / "a.json", facts), frames, SIZE)

    return regions_of


@pytest.fixture
def refused(read):
    def check(facts, said, frames=1):
        with pytest.raises(MaskError, match=said):
            read(facts, frames)

    return check


def overlap(mask, want):
    return (mask & want).sum() / (mask | want).sum()


def test_whole_numbers_may_be_written_with_a_point(read):
    facts = coco([POLYGON], width=40.0, height=30.0)
    facts["annotations"][0]["category_id"] = 3.0
    facts["annotations"][0]["segmentation"] = {
        "size": [30.0, 40.0],
        "counts": [float(count) for count in runs(BOX)],
    }
    masks = read(facts)
    assert list(masks) == [3]
    assert (masks[3][0] == BOX).all()


def test_a_polygon_has_the_pixels_whose_centres_are_inside(read):
    star = [[20, 2], [26, 28], [4, 10], [36, 10], [13, 28]]
    facts = coco([POLYGON, [value for corner in star for value in corner]])
    mask = read(facts)[3][0]
    inside = np.zeros_like(BOX)
    for (x, y), (x_end, y_end) in zip(star, star[1:] + star[:1], strict=True):
        passed = (y <= Y + 0.5) != (y_end <= Y + 0.5)
        inside ^= passed & (
            x + (Y + 0.5 - y) * (x_end - x) / (y_end - y or 1) <= X + 0.5
        )
    assert (mask == inside | BOX).all()
    small = [8.6, 7.6, 8.9, 7.6, 8.9, 7.9]  # between centres
    mask = read(coco([small]))[3][0]
    assert mask.sum() in (1, 2, 3, 4)
    assert mask[7, 8]


def on_windows(text):
    return text.replace("\n", "\r\n").encode("utf-8-sig")


@pytest.mark.parametrize("encode", [on_windows, lambda text: text.encode("utf-16")])
def test_files_of_programs_on_windows_are_read(encode, tmp_path):
    path = tmp_path / "a.json"
    path.write_bytes(encode(json.dumps(coco([POLYGON]), indent=1)))
    assert list(read_regions(path, 1, SIZE)) == [3]


def test_masks_without_their_images_and_lacking_keys_are_named(refused):
    alone = coco([POLYGON])["annotations"]
    refused(alone, "a list of masks without their images")
    facts = coco([POLYGON])
    del facts["images"][0]["width"]
    refused(facts, "lacks 'width' where masks need it")


WRONG = {
    "a box alone": ([], "annotation 7' has no mask, perhaps a box alone"),
    "nothing": (None, "annotation 7' has no mask"),
    "an empty object": ({}, "annotation 7' has no mask"),
    "a line": ([[4, 6, 20, 6]], "annotation 7' has a polygon of 2 corners"),
    "an empty polygon": ([[]], "annotation 7' has a polygon of 0 corners"),
    "outside": ([[100, 6, 120, 6, 120, 16]], "annotation 7' is outside its frame"),
    "on its side": (
        {"size": [40, 30], "counts": [1200]},
        "annotation 7' is 30x40, but its frame is 40x30",
    ),
    "half a corner": ([[4, 6, 20, 6, 20, 16, 4]], "7' has a polygon of 7 numbers"),
    "a corner far away": ([[4, 6, 1e300, 6, 20, 16]], "7' has a corner at 1e.300"),
}


@pytest.mark.parametrize(("given", "said"), WRONG.values(), ids=WRONG)
def test_an_annotation_without_a_mask_is_named(given, said, refused):
    refused(coco(given), said)


def test_a_data_set_must_have_masks_and_frames_of_one_size(refused):
    facts = coco([POLYGON]) | {"annotations": []}
    refused(facts, "has images, but no masks in them")
    facts = coco([POLYGON])
    facts["images"].append(facts["images"][0] | {"id": 2, "width": 50})
    refused(facts, "has frames of 40x30 and of 50x30", 2)
    facts["images"][1] |= {"id": 1, "width": 40}
    refused(facts, "not a JSON file of masks", 2)


def on_frames(masks):
    """On which frames there is something, by label."""
    return {n: [int(one.any()) for one in mask] for n, mask in masks.items()}


def youtube():
    encoded = {"size": [HEIGHT, WIDTH], "counts": runs(BOX)}
    files = [f"v/{n:05d}.jpg" for n in range(3)]
    video = {"id": 5, "width": WIDTH, "height": HEIGHT, "length": 3}
    return {
        "info": {},
        "videos": [video | {"file_names": files}],
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
        "annotations": [
            {
                "id": 9,
                "video_id": 5,
                "category_id": 2,
                "segmentations": [None, encoded, None],
            },
            {
                "id": 4,
                "video_id": 5,
                "category_id": 1,
                "segmentations": [[POLYGON], None, encoded],
            },
        ],
    }


def test_youtube_vis_has_an_object_per_annotation(tmp_path):
    path = write(tmp_path / "a.json", youtube())
    masks = read_regions(path, 3, SIZE)
    assert on_frames(masks) == {1: [1, 0, 1], 2: [0, 1, 0]}
    assert (masks[2][1] == BOX).all()
    assert overlap(masks[1][0], BOX) > 0.8
    assert read_annotations(path).names == {1: "cat", 2: "dog"}


def test_the_only_video_of_youtube_vis_need_not_be_named(read, refused):
    facts = youtube()
    for annotation in facts["annotations"]:
        del annotation["video_id"]
    assert list(read(facts, 3)) == [1, 2]
    facts["annotations"][0]["video_id"] = 6
    refused(facts, "not a JSON file of masks", 3)


def test_youtube_vis_of_several_videos_and_of_another_clip_is_refused(refused):
    facts = youtube()
    facts["videos"].append(facts["videos"][0] | {"id": 6})
    refused(facts, "has 2 videos. Export the one of this clip", 3)
    refused(youtube(), "3 frames of 40x30, but the clip uses 2", 2)
    for change in ({"video_id": 6}, {"segmentations": [None]}):
        facts = youtube()
        facts["annotations"][0] |= change
        refused(facts, "not a JSON file of masks", 3)
    refused(youtube() | {"annotations": []}, "has no masks", 3)


def text_of(mask):
    sink = io.BytesIO()
    Image.fromarray(mask).save(sink, "PNG")
    return base64.b64encode(sink.getvalue()).decode()


def label_me(*shapes):
    return {
        "version": "5.4.1",
        "flags": {},
        "shapes": list(shapes),
        "imagePath": "0.jpg",
        "imageData": None,
        "imageHeight": HEIGHT,
        "imageWidth": WIDTH,
    }


def shape(label, kind, points, **more):
    return {"label": label, "shape_type": kind, "points": points, **more}


DRAWN = {
    "polygon": (CORNERS, {}, BOX),
    "rectangle": ([[20, 6], [4, 16]], {}, BOX),
    "circle": ([[20, 15], [28, 15]], {}, np.hypot(X - 19.5, Y - 14.5) < 8),
    "mask": ([[4, 6], [19, 15]], {"mask": text_of(np.ones((10, 16), bool))}, BOX),
}


@pytest.mark.parametrize("kind", DRAWN)
def test_shapes_of_labelme_are_drawn(kind, read):
    points, more, want = DRAWN[kind]
    facts = label_me(shape("dog", kind, points, **more))
    masks = read(facts)
    assert list(masks) == [1]
    assert overlap(masks[1][0], want) > (0.99 if kind == "mask" else 0.8)


SHARES = [[0.1, 0.2], [0.4, 0.2], [0.4, 1]]
COUNTS = {"polygon": 3, "rectangle": 2, "circle": 2}
IN_SHARES = [label_me(shape("a", kind, SHARES[:n])) for kind, n in COUNTS.items()]
BEYOND = [[-0.02, 0.2], [0.4, 0.2], [0.4, 1.01]]


@pytest.mark.parametrize("facts", [coco([SHARES]), coco([BEYOND]), *IN_SHARES])
def test_corners_in_shares_of_the_frame_are_named(facts, refused):
    refused(facts, "all corners at about 0 to 1, as shares")


def test_a_piece_as_small_as_shares_is_drawn(read):
    (mask,) = read(coco([CORNERS, [[0, 0], [1, 0], [1, 1], [0, 1]]])).values()
    assert mask[0][0, 0]


def test_a_folder_of_labelme_has_a_file_per_annotated_frame(tmp_path):
    other = [[30, 6], [38, 6], [38, 16]]
    for name in (2, 9, 10):
        Image.new("RGB", SIZE).save(tmp_path / f"{name}.jpg")
    for frame, label, groups in ((10, "dog", (1, 2)), (2, "cat", (None, None))):
        shapes = [
            shape(label, "polygon", points, group_id=group)
            for points, group in zip((CORNERS, other), groups, strict=True)
        ]
        write(tmp_path / f"{frame}.json", label_me(*shapes))
    masks = read_regions(tmp_path, 3, SIZE)
    assert on_frames(masks) == {1: [1, 0, 0], 2: [0, 0, 1], 3: [0, 0, 1]}
    assert masks[1][0][10, 10]  # both pieces of the cat
    assert masks[1][0][8, 35]
    assert read_annotations(tmp_path).names == {1: "cat", 2: "dog", 3: "dog"}
    assert read_labels(tmp_path, 3, SIZE).present == {1, 2, 3}


def test_numbers_as_names_are_labels_and_one_file_is_one_frame(tmp_path):
    facts = label_me(shape("7", "polygon", CORNERS), shape("2", "polygon", CORNERS))
    path = write(tmp_path / "a.json", facts)
    assert read_labels(path, 4, SIZE, at=3).present == {2}  # in front of the other
    assert list(read_regions(path, 1, SIZE)) == [2, 7]


@pytest.mark.parametrize("kind", ["point", "line", "linestrip"])
def test_shapes_without_an_area_are_named(kind, refused):
    facts = label_me(shape("dog", kind, [[4, 6], [20, 6]]))
    refused(facts, f"'dog' is drawn as a '{kind}', which has no")


def test_labelme_that_is_damaged_is_refused(tmp_path, refused):
    sound = label_me(shape("dog", *["mask", DRAWN["mask"][0]], **DRAWN["mask"][1]))
    path = tmp_path / "a.json"
    assert list(read_regions(write(path, sound), 1, SIZE)) == [1]
    for change in (
        {"mask": "no base64 !"},
        {"mask": text_of(np.ones((90, 90), bool))},
        {"points": [[-9, -9], [2, 2]]},
        {"points": [1, 2, 3]},
    ):
        facts = copy.deepcopy(sound)
        facts["shapes"][0] |= change
        refused(facts, "not a JSON file of masks")
    refused(label_me(), "has no masks. Draw some")
    write(tmp_path / "b.json", {"hello": 1})
    with pytest.raises(MaskError, match="'b.json' has no shapes"):
        read_regions(tmp_path, 2, SIZE)
