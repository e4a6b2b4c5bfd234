"""Masks as COCO data sets: those written here, and those of other tools."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from json_files import read_json

from regrain.editing.errors import MaskError
from regrain.editing.media.coco import runs, write_rle
from regrain.editing.media.mask_files import names_of, read_regions
from regrain.editing.media.mask_pictures import FORMS

RNG = np.random.default_rng(3)
FRAMES, SIZE = 4, (9, 6)


@pytest.fixture(params=["utf-8"])
def masks_of(tmp_path, request):
    """Reads masks from a file of these facts, or of this text."""

    def read(facts):
        text = facts if isinstance(facts, str) else json.dumps(facts)
        (tmp_path / "masks.json").write_text(text, encoding=request.param)
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
    mask = np.zeros((6, 9), bool)
    mask[1:4, at : at + 3] = True
    counts = {"size": [6, 9], "counts": runs(mask)}
    return {
        "id": 7,
        "image_id": image,
        "category_id": category,
        "segmentation": counts,
        **more,
    }


def test_what_is_written_is_coco_and_comes_back_identical(tmp_path):
    masks = {3: RNG.random((FRAMES, 6, 9)) < 0.5, 1: np.zeros((FRAMES, 6, 9), bool)}
    masks[3][2] = False
    path = tmp_path / "masks.json"
    write_rle(masks, path, {3: "left dog"})
    facts = read_json(path)
    names = [image["file_name"] for image in facts["images"]]
    assert names == [f"{n:05d}.png" for n in range(FRAMES)]
    assert names_of(path) == {3: "left dog", 1: "1"}
    first = facts["annotations"][0]
    y, x = np.nonzero(masks[3][0])
    assert (first["area"], first["segmentation"]["size"]) == (len(x), [6, 9])
    assert first["bbox"] == [x.min(), y.min(), np.ptp(x) + 1, np.ptp(y) + 1]
    assert len({one["id"] for one in facts["annotations"]}) == 4
    np.testing.assert_equal(read_regions(path, FRAMES, SIZE), masks)


# as programs on Windows write
ENCODINGS = ["utf-8", "utf-8-sig", "utf-16"]


@pytest.mark.parametrize("masks_of", ENCODINGS, indirect=True)
def test_images_are_frames_in_the_order_of_their_names(tmp_path, masks_of):
    found = masks_of(data_set([square(10), square(2, at=5), square(2, 9)]))
    areas = {n: one.sum((1, 2)).tolist() for n, one in found.items()}
    assert areas == {3: [0, 9, 0, 9], 9: [0, 9, 0, 0]}
    assert found[3][1][2].tolist() == [False] * 5 + [True] * 3 + [False]
    assert names_of(tmp_path / "masks.json") == {3: "dog", 9: ""}


def test_a_data_set_of_another_clip_is_refused_before_anything_is_drawn(refused):
    facts = data_set([square(1)])
    facts["images"].pop()
    refused(facts, "3 frames of 9x6, but the clip uses 4 of 9x6. Use masks")
    facts = data_set([square(1, segmentation={"counts": [3]})])
    for image in facts["images"]:
        image |= {"width": 10**6, "height": 10**6}
    refused(facts, "4 frames of 1000000x1000000, but the clip uses 4 of 9x6. Use masks")


TABLES = read_json(Path(__file__).with_name("coco.json"))
"""What is odd about an annotation, by what is said; and what is no data set: another
file, or other values of one, or of its annotation."""
ODD, OTHERS = TABLES["annotations"], TABLES["no data sets"]
OTHERS["nested too deep"] = {"whole": "[" * 100_000}


@pytest.mark.parametrize("said", ODD)
def test_what_is_odd_in_an_annotation_is_named(said, refused):
    refused(data_set([square(1) | ODD[said]]), said)


def test_two_masks_of_a_category_on_an_image_are_refused(refused):
    said = "'annotation 7' is the second of category 3 on its image. Give each object"
    refused(data_set([square(1, at=0), square(1, at=5)]), said)


def test_images_of_two_sizes_and_without_masks_are_refused(refused):
    facts = data_set([square(1)])
    facts["images"][2]["width"] = 8
    refused(facts, "an image' is 8x6, but the first image is 9x6")
    refused(data_set([]), "has no masks. Draw some")


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_no_data_set_is_refused_by_the_forms(name, refused):
    said = f"'masks.json' is not a COCO data set. {re.escape(FORMS)}"
    other = dict(OTHERS[name])
    one = square(1) | other.pop("annotation", {})
    refused(other.get("whole", data_set([one]) | other), said)
