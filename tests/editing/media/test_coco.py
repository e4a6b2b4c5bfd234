"""Masks as COCO data sets: those written here, and those of other tools."""

import json

import numpy as np
import pytest
from json_files import read_json

from regrain.editing.errors import MaskError
from regrain.editing.media.coco import write_rle
from regrain.editing.media.labels import names_of, read_regions

RNG = np.random.default_rng(3)
FRAMES, SIZE = 4, (9, 6)


@pytest.fixture
def masks_of(tmp_path):
    """Reads masks from a file of these facts, or of this text."""

    def read(facts):
        text = facts if isinstance(facts, str) else json.dumps(facts)
        (tmp_path / "masks.json").write_text(text)
        return read_regions(tmp_path / "masks.json", FRAMES, SIZE)

    return read


@pytest.fixture
def refused(masks_of):
    def check(facts, said):
        with pytest.raises(MaskError, match=said):
            masks_of(facts)

    return check


def data_set(annotations, **more):
    """Four images in an order that is not theirs."""
    order = (10, 2, 1, 9)
    images = [
        {"id": n, "file_name": f"f{n}.jpg", "width": 9, "height": 6} for n in order
    ]
    return {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": 3, "name": "dog"}],
        **more,
    }


def square(image, category=3, at=2, **more):
    corners = [at, 1, at + 3, 1, at + 3, 4, at, 4]
    return {
        "id": 1,
        "image_id": image,
        "category_id": category,
        "segmentation": [corners],
        **more,
    }


def test_what_is_written_is_coco_and_comes_back_identical(tmp_path):
    masks = {3: RNG.random((FRAMES, 6, 9)) < 0.5, 1: np.zeros((FRAMES, 6, 9), bool)}
    masks[3][2] = False
    write_rle(masks, tmp_path / "masks.json", {3: "left dog"})
    facts = read_json(tmp_path / "masks.json")
    assert [image["file_name"] for image in facts["images"]] == [
        f"{n:05d}.png" for n in range(FRAMES)
    ]
    assert names_of(tmp_path / "masks.json") == {3: "left dog", 1: "1"}
    first = facts["annotations"][0]
    y, x = np.nonzero(masks[3][0])
    assert (first["area"], first["segmentation"]["size"]) == (masks[3][0].sum(), [6, 9])
    assert first["bbox"] == [x.min(), y.min(), np.ptp(x) + 1, np.ptp(y) + 1]
    assert (
        len({one["id"] for one in facts["annotations"]})
        == len(facts["annotations"])
        == 4
    )
    back = read_regions(tmp_path / "masks.json", FRAMES, SIZE)
    np.testing.assert_equal(back, masks)


def test_objects_with_a_number_become_labels_of_their_own(tmp_path, masks_of):
    facts = data_set(
        [square(1, track_id=7), square(1, at=5, track_id=8), square(2, track_id=7)]
    )
    found = masks_of(facts)
    shown = {
        label: [int(mask.any()) for mask in masks] for label, masks in found.items()
    }
    assert shown == {1: [1, 1, 0, 0], 2: [1, 0, 0, 0]}
    assert names_of(tmp_path / "masks.json") == {1: "dog", 2: "dog"}
    pieces = masks_of(data_set([square(1, at=0), square(1, at=5)]))[3][0]
    # without numbers, pieces of one object
    assert (pieces[2, 1], pieces[2, 6]) == (True, True)


def test_a_data_set_of_another_clip_is_refused_before_anything_is_drawn(refused):
    facts = data_set([square(1)])
    facts["images"].pop()
    refused(facts, "3 frames of 9x6, but the clip uses 4 of 9x6. Use masks")
    facts = data_set([square(1)])
    facts["images"][0] |= {"width": 10**6, "height": 10**6}
    refused(facts, "4 frames of 1000000x1000000, but the clip uses 4 of 9x6. Use masks")


COUNTED = {"id": 1, "image_id": 1, "category_id": 3, "segmentation": {"counts": 5}}
BROKEN = [
    {"annotations": wrong} for wrong in ([{"image_id": 1}], [square(99)], [COUNTED], 3)
]


@pytest.mark.parametrize("image", [99, "2", None])
def test_an_annotation_of_no_image_is_named(image, refused):
    annotation = square(2) | {"id": 7, "image_id": image}
    refused(data_set([annotation]), rf"'annotation 7' is of image .*{image}")


NAN = float("nan")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"segmentation": [[0, 0, NAN, 0, 5, 5]]}, "annotation 7' has a corner at nan"),
        ({"segmentation": [[0, 0, 1e9, 0, 5, 5]]}, "7' has a corner at 1e.09"),
        ({"segmentation": {"counts": [NAN, 96]}}, "has nan where masks need a whole"),
        ({"category_id": NAN}, "has nan where masks need a whole number"),
        ({"category_id": float("inf")}, "has inf where masks need a whole number"),
    ],
)
def test_what_is_no_number_is_named(wrong, said, refused):
    annotation = square(1) | {"id": 7} | wrong
    refused(data_set([annotation]), said)


def test_a_file_of_sa_1b_is_named(refused):
    facts = {"image": {"width": 4, "height": 4}, "annotations": [square(1)]}
    refused(facts, "is of one image, as SA-1B")


def test_a_number_that_is_not_needed_may_be_none(masks_of):
    """As tables have it where nothing was."""
    annotation = square(2) | {"area": NAN, "track_id": NAN}
    assert list(masks_of(data_set([annotation]))) == [annotation["category_id"]]


def test_what_is_no_data_set_is_refused(refused):
    said = "(is not a JSON file of masks|lacks 'category_id'|is of image 99)"
    facts = [data_set([square(1)]) | wrong for wrong in [*BROKEN, {"images": []}]]
    for content in ("", [], {}, {"masks": 3}, "[" * 100_000, *facts):
        refused(content, said)
