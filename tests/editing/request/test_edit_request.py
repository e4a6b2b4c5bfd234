from dataclasses import FrozenInstanceError, replace
from pathlib import Path

import numpy as np
import pytest
from json_files import read_json
from made_clips import black
from tables import rows

from regrain.editing import EditRequest, MaskError, RequestError
from regrain.editing.media.labels import Labels
from regrain.editing.media.lazy_frames import LazyFrames
from regrain.editing.media.mask_pictures import PALETTE
from regrain.editing.request.compose import compose, describe
from regrain.editing.request.region import Region
from regrain.editing.request.runnable import check_runnable


def region(label, prompt="", source="", name="", **more):
    return Region(name or f"r{label}", label, prompt, source, **more)


PAIR = "a cat and a dog walk on the grass"
FOX = region(1, "a fox", "a cat")


COMPOSED = read_json(Path(__file__).with_name("composed.json"))
"""Descriptions, prompts and regions (label, prompt, source), what text they make, and
where in it each region is."""


@pytest.mark.parametrize("given", COMPOSED.values(), ids=COMPOSED)
def test_prompts_are_composed(given):
    regions = [region(*one) for one in given["regions"]]
    text, spans, *_ = compose(given["source"], given["prompt"], regions)
    assert text == given["text"]
    assert spans == {int(n): span and (*span,) for n, span in given["spans"].items()}


def test_a_clip_that_is_not_described_is_described_by_its_regions():
    regions = [FOX, region(2, "a robot"), region(3)]
    said = [describe(given, regions) for given in ("", "a cat runs")]
    assert said == ["a cat and a robot", "a cat runs"]


LABELS = np.zeros((2, 4, 6), np.uint8)
LABELS[0, :2], LABELS[1, 2:] = 1, 2


def make(**changes):
    clip, regions = (
        black(2, 4, 6),
        (region(1, "a panda"), region(2)),
    )
    return EditRequest(**{"clip": clip, "labels": LABELS, "regions": regions} | changes)


def test_request_is_frozen_and_holds_what_was_given():
    request = make()
    assert request.edited == request.regions[:1]
    with pytest.raises(FrozenInstanceError):
        request.seed = 1
    with pytest.raises(ValueError, match="read-only"):
        request.labels[0] = 0


UNFIT = [("shape", LABELS[:1]), ("shape", LABELS[:, :3]), ("need masks", None)]
UNFIT += [
    (said, np.where(LABELS == 2, np.uint8(n), LABELS))
    for said, n in (("label 9", 9), ("'r2'", 0))
]


@pytest.mark.parametrize(("message", "labels"), UNFIT)
def test_labels_that_do_not_fit_are_refused(message, labels):
    with pytest.raises(MaskError, match=message):
        make(labels=labels)


def test_regions_have_the_colours_of_the_palette_in_turn():
    assert len(set(PALETTE)) == len(PALETTE)
    for label in (1, 1 + len(PALETTE)):
        assert Region("a", label).color == PALETTE[0]


def test_a_name_is_no_blank():
    for name in (" ", "\n"):
        with pytest.raises(RequestError, match=r"^regions\.3\.name: Expected a name"):
            region(3, name=name)


def test_runnable_needs_something_to_do():
    check_runnable(make())
    with pytest.raises(RequestError, match="regions: No region has a prompt"):
        check_runnable(make(regions=(region(1), region(2))))


def by_words(**given):
    clip = black(2, 16, 16)
    common = {
        "source_prompt": "a cat sits",
        "prompt": "a fox sits",
        "method": "fatezero",
    }
    return EditRequest(clip, None, (), **(common | given))


def test_several_prompts_are_several_edits():
    request = by_words(more_prompts=("a red fox sits", "a panda sits"))
    check_runnable(request)
    assert request.targets == ("a fox sits", "a red fox sits", "a panda sits")
    more = {"more_prompts": ("two animals on the grass",)}
    masked = make(source_prompt=PAIR, method="fatezero", **more)
    expected = masked.composed.text, "two animals on the grass, a panda"
    assert masked.targets == expected


TWO = {"more_prompts": ("a dog",)}
BAD_WORDS = {
    "more_prompts": [
        {"more_prompts": (" ",)},
        {"more_prompts": ("a",) * 8},
        TWO | {"method": "videograin"},
    ],
    "source_prompt": [{"source_prompt": " "}],
    "prompt": [{"prompt": ""}],
}


@pytest.mark.parametrize(("field", "given"), rows(BAD_WORDS))
def test_edits_by_words_are_refused_by_name(field, given):
    with pytest.raises(RequestError) as caught:
        check_runnable(by_words(**given))
    assert caught.value.field == field


def test_a_margin_widens_what_is_edited_but_takes_nothing_from_others():
    narrow, wide = (
        make(regions=(region(1, "a panda", margin=reach), region(2, margin=reach)))
        for reach in (0, 1)
    )
    labels = narrow.labels[:]
    assert np.array_equal(narrow.areas, labels)
    grown = wide.areas[:]
    assert (grown[labels == 0] > 0).any()
    assert (grown[labels > 0] == labels[labels > 0]).all()
    assert np.array_equal(wide.edited_mask, grown == 1)


def test_a_region_that_says_nothing_of_its_margin_has_room():
    labels = np.zeros((1, 64, 96), np.uint8)
    labels[0, 20:40, 20:40], labels[0, 20:40, 60:80] = 1, 2
    regions = (region(1, "a fox"), region(2))
    request = make(clip=black(1, 64, 96), labels=labels, regions=regions)
    edges = Labels(request.areas[:]).extents[1]
    assert edges.tolist() == [[16, 16, 44, 44]]  # 64 / 16 on all sides
    assert np.array_equal(request.areas == 2, labels == 2)  # it is not edited


def test_a_prompt_for_the_whole_clip_edits_all_of_it_whatever_the_masks():
    whole = {"prompt": "a painting", "method": "fatezero"}
    assert make(regions=(region(1), region(2)), **whole).edited_mask.all()
    alone = make(labels=None, regions=(), **whole)
    assert not alone.areas.read(0, 2).any()
    assert alone.edited_mask.read(1, 2).all()


def test_labels_are_read_once_however_often_the_request_is_changed():
    read = []
    labels = LazyFrames(
        LABELS.shape, np.uint8, lambda *part: read.append(part) or LABELS[slice(*part)]
    )
    request = make(labels=labels)
    again = replace(request, seed=3)
    assert len(read) == 1
    assert again.labels is request.labels


PROMPTS = read_json(Path(__file__).with_name("prompts.json"))
"""Those that other programs would not read as words, with what is said of them; and
those that are words."""


@pytest.mark.parametrize(("text", "said"), PROMPTS["refused"].items())
def test_what_other_programs_read_in_prompts_is_named(text, said):
    clip = black(1, 16, 16)
    labels = np.ones((1, 16, 16), np.uint8)
    how = {"method": "sdedit", "model": "storybook"}
    whole = EditRequest(clip, None, (), prompt=text, **how)
    with pytest.raises(RequestError, match=f"^prompt: It {said}"):
        check_runnable(whole)
    inside = EditRequest(clip, labels, (region(1, text),), prompt="a pig", **how)
    with pytest.raises(RequestError, match=rf"^regions\.r1\.prompt: It {said}"):
        check_runnable(inside)


@pytest.mark.parametrize("text", PROMPTS["words"])
def test_brackets_smileys_and_capitals_alone_are_words(text):
    clip = black(1, 16, 16)
    check_runnable(EditRequest(clip, None, (), prompt=text, method="sdedit"))
