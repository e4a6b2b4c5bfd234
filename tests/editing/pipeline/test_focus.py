"""Edits of boxes: the model sees a box as if it were the clip, and its edit is put back
where the box is."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from cases import BASES, CASES
from made_clips import noise
from made_models import loaded, write_control_net
from made_motion import write_adapter
from made_pictures import write_encoder, write_picture, write_picture_adapter
from running import composite

from regrain.editing import (
    ArrayClip,
    EditRequest,
    Finished,
    ModelError,
    Region,
    RequestError,
    edit,
    save_adapter,
    tune,
)
from regrain.editing.attention.averages import RegionAttention
from regrain.editing.media.lazy_frames import frames_of
from regrain.editing.params.registry import METHODS, check_params
from regrain.editing.pipeline import beforehand, outputs
from regrain.editing.pipeline.assembly import DrawnClip
from regrain.editing.pipeline.focus import (
    box_sizes,
    placed_edits,
)
from regrain.editing.pipeline.layers import layers_of
from regrain.editing.pipeline.metrics import measure
from regrain.editing.pipeline.placing import Compositor, place_maps
from regrain.editing.recipe.events import (
    Losses,
    Preview,
    Ready,
    Stage,
    WindowStarted,
)
from regrain.editing.request.boxes import read_boxes
from regrain.editing.request.region import MAX_REACH

pytestmark = pytest.mark.usefixtures("own_cache")
WIDTH, HEIGHT, FRAMES = 320, 240, 3
QUICK = {"steps": 2, "preview_every": 0, "cuts": "none"}
TUNING = QUICK | {"tune_steps": 2, "tune_preview_every": 0}
CAT = Region("cat", 1, "a fox", "a cat", margin=2)
AUTO = replace(CAT, margin=None)


def frames(count=FRAMES, seed=0):
    """Blobs that drift to the right."""
    wide = cv2.resize(
        noise(20, 40, 3, seed=seed), (480, 240), interpolation=cv2.INTER_CUBIC
    )
    return np.stack([wide[:, 40 + t : 40 + t + WIDTH] for t in range(count)])


def labels(count=FRAMES, step=1, label=1, left=80, top=100, side=24):
    """A square that goes `step` pixels a frame."""
    found = np.zeros((count, HEIGHT, WIDTH), np.uint8)
    for t, frame in enumerate(found):
        frame[top : top + side, left + step * t : left + step * t + side] = label
    return found


def request(count=FRAMES, step=1, **changes):
    given = {
        "clip": ArrayClip(frames(count), Fraction(8)),
        "labels": labels(count, step),
        "regions": (CAT,),
        "source_prompt": "a cat on the grass",
        "method": "sdedit",
        "params": QUICK,
        "seed": 7,
        "focus": "on",
    }
    return EditRequest(**given | changes)


def two(count=FRAMES, left=200, **changes):
    """Two regions, far apart."""
    both = labels(count) + labels(count, label=2, left=left, top=120, side=20)
    dog = Region("dog", 2, "a panda", "a dog", margin=1)
    words = {"source_prompt": "a cat and a dog on the grass"}
    return request(count, labels=both, regions=(CAT, dog), **words | changes)


def run(asked, model):
    """Result, report, and the events before."""
    *events, last = edit(asked, model)
    assert isinstance(last, Finished)
    return last.result, last.report, events


def path_of(report):
    (one,) = report["focus"]
    return read_boxes(one["path"], FRAMES, (WIDTH, HEIGHT))


def of_kind(events, kind):
    return [event for event in events if isinstance(event, kind)]


def stages(events):
    return [event.name for event in of_kind(events, Stage)]


def begins_editing(event):
    return isinstance(event, Stage) and event.name == "editing"


def base(method, **more):
    """Cheap parameters of a method."""
    return BASES[method] | CASES[method].more | {"steps": 2} | more


# --- What the model sees, and what is put back


def by_hand(asked, model, boxes, feather=2.0):
    """The frames of an edit of boxes, and without the fade; and the metrics of the edit
    of a clip that is cut out by hand."""
    size = model.fit(*boxes[0, 2:].tolist())
    source = asked.clip.read(0, len(asked.clip))
    areas, opacity = asked.areas[:], asked.opacity
    masks, painted = asked.edited_mask[:], asked.edited_inside[:]
    places = [
        (number, slice(y, y + h), slice(x, x + w))
        for number, (x, y, w, h) in enumerate(boxes.tolist())
    ]
    area = {"dsize": size, "interpolation": cv2.INTER_AREA}
    cut = np.stack([cv2.resize(source[at], **area) for at in places])
    alone = replace(
        asked,
        clip=ArrayClip(cut, asked.clip.fps),
        labels=np.stack([at_centres(areas[at], size) for at in places]),
        regions=tuple(replace(one, margin=0) for one in asked.regions),
        focus="off",
    )
    result, report, _ = run(alone, model)
    pasted = source.copy()
    made = source.copy()
    for picture, at in zip(result.uncomposited, places, strict=True):
        sides = made[at].shape[1::-1]
        pasted[at] = cv2.resize(picture, sides, interpolation=cv2.INTER_LANCZOS4)
        # The fade is that of the box.
        shown = None if opacity is None else opacity[:][at][None]
        given = [one[at][None] for one in (source, pasted, masks)]
        (made[at],) = composite(*given, feather, shown, painted[at][None], size)
    return made, pasted, report["metrics"]


def at_centres(labels, size):
    """The label under the centre of each pixel of a picture of another size."""
    sides = zip(size[::-1], labels.shape, strict=True)
    centres = [(np.arange(new) + 0.5) * old // new for new, old in sides]
    return labels[np.ix_(*(one.astype(int) for one in centres))]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"params": QUICK | {"feather": 0.5}},
        {"regions": (replace(CAT, margin=0),)},
        {"regions": (replace(CAT, margin=5, feather=4),)},
        {"step": 60},
        {"method": "tune_a_video", "params": TUNING},
    ],
    ids=str,
)
def test_a_box_is_edited_as_a_clip_of_its_own_and_put_back(small, changes):
    asked = request(**changes)
    result, report, events = run(asked, small)
    boxes = path_of(report)
    assert (boxes[:, 2:] < (WIDTH, HEIGHT)).all()
    assert (np.ptp(boxes[:, 0]) > 0) == ("step" in changes)
    feather = asked.params.get("feather", 2.0)
    made, pasted, _ = by_hand(asked, small, boxes, feather)
    assert np.array_equal(result.frames[:], made)
    assert np.array_equal(result.uncomposited[:], pasted)
    assert not np.array_equal(made, asked.clip.read(0, FRAMES))
    assert bool(of_kind(events, Losses)) == (asked.method == "tune_a_video")


def test_pictures_motion_and_control_see_the_box(small, tmp_path, own_models):
    write_adapter(tmp_path / "moves", small.unet)
    write_control_net(tmp_path / "net", small.unet, 0.3, (8, 8))
    folder = write_encoder(tmp_path / "sees")
    adapter = write_picture_adapter(folder / "a.safetensors", small.unet, "plain")
    toy = str(write_picture(tmp_path / "toy.png", 4))
    seeing = (replace(CAT, picture=toy, picture_scale=1.2),)
    controlled = base("infedit", control="canny=net@1")
    for changes in (
        {"motion": "moves@1"},
        {"method": "infedit", "params": controlled},
        {"picture_adapter": str(adapter), "regions": seeing},
    ):
        asked = request(**changes)
        result, report, _ = run(asked, small)
        boxes = path_of(report)
        made, _, _ = by_hand(asked, small, boxes)
        assert np.array_equal(result.frames[:], made), changes
        if "method" in changes:
            inside = inside_boxes(boxes)
            assert result.control[:][inside].any()
            assert not result.control[:][~inside].any()


def inside_boxes(boxes):
    """Which pixels of each frame are in its box."""
    inside = np.zeros((len(boxes), HEIGHT, WIDTH), bool)
    for frame, (x, y, w, h) in zip(inside, boxes.tolist(), strict=True):
        frame[y : y + h, x : x + w] = True
    return inside


def beyond_fade(asked):
    """Which pixels no edit may reach."""
    masks = asked.edited_mask[:].astype(np.uint8)
    return np.stack([cv2.dilate(mask, np.ones((7, 7))) == 0 for mask in masks])


@pytest.mark.full(but="videograin")
@pytest.mark.parametrize("method", METHODS)
def test_every_method_keeps_the_source_outside_bit_for_bit(fitting, method):
    """In all that a result has, of every prompt."""
    more = ("a dog on the grass",) if METHODS[method].several else ()
    params = base(method, preview_every=1)
    asked = request(method=method, params=params, more_prompts=more)
    result, report, events = run(asked, fitting)
    boxes = path_of(report)
    inside = inside_boxes(boxes)
    source = asked.clip.read(0, FRAMES)
    changed = (source != result.frames[:]).any(-1)
    assert changed.any()
    assert not changed[beyond_fade(asked) | ~inside].any()
    others = [other.frames for other in result.others]
    for shown in (result.uncomposited, result.reconstruction, *others):
        if shown is not None:
            assert np.array_equal(shown[:][~inside], source[~inside])
    for one in of_kind(events, Preview):
        for number, frame in zip(one.indices, one.frames, strict=True):
            outside = ~inside[number]
            assert np.array_equal(frame[outside], source[number][outside])
            assert not np.array_equal(frame, source[number])
    words = result.words
    maps = [*words.source.values(), *words.edit.values()] if words else []
    maps += [one.after for one in result.attention.values()]
    for one in maps:
        assert_nothing_outside(one, boxes)


def assert_nothing_outside(maps, boxes):
    """A map of the whole frame is 0 a cell outside its box."""
    rows, columns = maps.shape[1:]
    cell = np.ones((3 * HEIGHT // rows, 3 * WIDTH // columns), np.uint8)
    for one, inside in zip(maps, inside_boxes(boxes), strict=True):
        near = cv2.dilate(inside.astype(np.float32), cell)
        near = cv2.resize(near, (columns, rows), interpolation=cv2.INTER_AREA)
        assert (near == 0).any()
        assert not one[near == 0].any()
        assert one.any()


def test_where_the_box_is_the_frame_nothing_happens(small):
    """As it is without regions."""
    asked = request()
    alone = replace(asked, labels=None, regions=(), prompt="a fox on the grass")
    wholes = (f"{WIDTH}x{HEIGHT}+0+0", "on 4", "each 4", "auto 4")
    for one, focuses in ((asked, wholes), (alone, ("on",))):
        usual, _, _ = run(replace(one, focus="off"), small)
        for focus in focuses:
            result, report, _ = run(replace(one, focus=focus), small)
            assert np.array_equal(result.frames[:], usual.frames[:]), focus
            assert "focus" not in report


def test_only_the_frames_that_are_asked_for_are_read(small):
    read = []

    class Noted(ArrayClip):
        def read(self, start, stop):
            read.append((start, stop))
            return super().read(start, stop)

    clip = Noted(frames(4), 8)
    asked = request(4, clip=clip, focus="40x30+80+100", size=64)
    _, (one,) = placed_edits(small, asked, check_params("sdedit", QUICK))
    boxed = one.request.clip
    assert (min(boxed.size), len(boxed), boxed.fps) == (64, 4, 8)
    assert not read
    assert boxed.read(1, 3).shape == (2, *boxed.size[::-1], 3)
    assert read == [(1, 3)]
    assert boxed.read(2, 2).shape == (0, *boxed.size[::-1], 3)


# --- The matte


SEVERAL = {
    "method": "fatezero",
    "params": BASES["fatezero"],
    "more_prompts": ("a dog on the grass",),
}


@pytest.mark.full(but="off-changes0")
@pytest.mark.parametrize(
    ("focus", "changes"),
    [
        ("off", {}),
        ("off", SEVERAL),
        ("on", {}),
        ("on", SEVERAL),
        ("on", {"step": 60}),
        ("auto", {"regions": (AUTO,)}),
        ("each", {"left": 200}),
        ("each", {"left": 125}),  # each in the box of the other
        ("each", {"left": 106}),  # and so near that they fade over each other
    ],
)
def test_the_edit_over_the_source_by_the_matte_is_the_frames(small, focus, changes):
    """Within the rounding of matte, colours and frames, for each prompt."""
    make = two if "left" in changes else request
    asked = make(focus=focus, **changes)
    result, _, _ = run(asked, small)
    source = asked.clip.read(0, FRAMES)
    every = layers_of(result, asked.clip)
    assert len(every) == 1 + len(asked.more_prompts)
    for layers in every:
        assert {0, 255} < set(np.unique(layers.matte[:]))
        share = layers.matte[:][..., None] / 255
        shown = share * layers.drawn[:] + (1 - share) * source
        assert np.abs(shown - layers.frames[:]).max() <= 2


# --- Margins that are chosen automatically


def test_an_automatic_margin_is_a_share_of_the_box(small):
    """Also in the figures, and in the masks that are shown."""
    asked = request(regions=(AUTO,))
    result, report, _ = run(asked, small)
    boxes = path_of(report)
    margin = round(boxes[0, 2:].min() / 16)
    assert 0 < margin < round(HEIGHT / 16)
    own = replace(asked, regions=(replace(CAT, margin=margin, feather=margin),))
    assert np.array_equal(result.edited_mask[:], own.edited_mask[:])
    made, _, _ = by_hand(own, small, boxes)
    again, _, _ = run(replace(asked, focus=report["focus"][0]["path"]), small)
    for one in (result, again):
        assert np.array_equal(one.frames[:], made)
    name = "inside_psnr_by_region"
    measured = measure(replace(result, attention={}), own)
    assert report["metrics"][name] == measured[name]
    shown, expected = (
        np.stack([*dict(outputs._explaining(result, one))["masks.mp4"]])
        for one in (asked, own)
    )
    assert np.array_equal(shown, expected)


def test_an_edit_fades_over_a_margin_that_is_chosen_automatically(small):
    """What a model paints there is seldom the place that is there; whoever sets a
    margin, or a feather, wants it as it is."""
    for region, fades in (
        (AUTO, None),
        (replace(AUTO, feather=2), 2),
        (replace(CAT, margin=6), 0),
    ):
        asked = request(regions=(region,))
        placed, _ = placed_edits(small, asked, check_params("sdedit", QUICK))
        (own,) = placed.regions
        assert own.feather == (own.margin if fades is None else fades)
        assert own.margin > 0
    assert request(regions=(AUTO,), focus="off").opacity is None


def test_a_region_that_is_feathered_widely_still_fits(small):
    wide = replace(CAT, feather=MAX_REACH)
    asked = request(regions=(wide,), focus="30x30+75+95", size=128)
    _, (placed,) = placed_edits(small, asked, check_params("sdedit", QUICK))
    assert placed.request.regions[0].feather == MAX_REACH


# --- Maps


def test_maps_are_placed_where_their_box_is():
    """By a map that is as fine as the frame: every pixel of a box then is a cell."""
    values = np.arange(1.0, 13, dtype=np.float32).reshape(1, 3, 4)
    box = np.array([[20, 10, 8, 6]])
    expected = np.zeros((1, 12, 20), np.float32)
    expected[0, 5:8, 10:14] = values[0]
    np.testing.assert_allclose(place_maps(values, box, (40, 24)), expected, atol=1e-5)
    areas = place_maps(values > 5, box, (40, 24))
    assert areas.dtype == bool
    assert np.array_equal(areas, expected > 5)
    whole = np.array([[0, 0, 333, 187]])
    assert np.array_equal(place_maps(values, whole, (333, 187)), values)


@pytest.mark.parametrize(
    "box", [(0, 0, 160, 120), (31, 17, 64, 48), (100, 50, 47, 33), (8, 86, 40, 30)]
)
def test_maps_of_larger_boxes_have_their_middle_where_the_box_has_it(box):
    """The cells of the frame are those of the smallest box, 2 pixels wide."""
    boxes = np.array([(3, 5, 16, 12), box])
    _, placed = place_maps(np.ones((2, 6, 8), np.float32), boxes, (160, 120))
    places = np.indices(placed.shape) + 0.5
    top, left = 2 * (places * placed).sum((1, 2)) / placed.sum()
    expected = boxes[1, :2] + boxes[1, 2:] / 2
    np.testing.assert_allclose((left, top), expected, atol=0.1)


def test_attention_to_a_region_is_that_of_its_own_edit(small):
    """Other words are looked for in the first edit that has them; areas by step, which
    methods of this package find without masks alone, lie in its box."""
    known = check_params("sdedit", QUICK)
    placed, edits = placed_edits(small, two(focus="each"), known)
    areas = {1: np.ones((FRAMES, 8, 8), bool)}
    drawn = []
    for own, more in zip(edits, ((), ("sea",)), strict=True):
        maps = np.full((2, FRAMES, 4, 4), 0.1 * len(more) + 0.2)
        words = ("cat", "dog", "sky", *more)
        heat = {word: RegionAttention(*maps) for word in words}
        frames = (frames_of(own.request.clip),)
        drawn.append(DrawnClip(own, frames, attention=heat, step_areas=areas))
    result = Compositor(placed, drawn, small).result()
    shown = {"cat": 0, "dog": 1, "sky": 0, "sea": 1}
    assert set(result.attention) == set(shown)
    for word, number in shown.items():
        values = drawn[number].attention[word].after
        expected = place_maps(values, edits[number].boxes, (WIDTH, HEIGHT))
        assert np.array_equal(result.attention[word].after, expected), word
    expected = place_maps(areas[1], edits[0].boxes, (WIDTH, HEIGHT))
    assert np.array_equal(result.step_areas[1], expected)


# --- Windows, key frames, the cache


@pytest.mark.parametrize("left", [200, 125])
def test_each_region_is_edited_in_its_own_box_and_pasted_where_it_is(small, left):
    """Far apart, where one box would hold both; and each in the box of the other."""
    asked = two(focus="each", left=left)
    result, report, events = run(asked, small)
    assert [one["region"] for one in report["focus"]] == ["cat", "dog"]
    assert stages(events).count("editing") == 2
    assert np.array_equal(result.edited_mask[:], asked.edited_mask[:])
    source = asked.clip.read(0, FRAMES)
    made = source.copy()
    cat, dog = asked.regions
    alone = (cat, replace(dog, prompt="")), (replace(cat, prompt=""), dog)
    for regions, one in zip(alone, report["focus"], strict=True):
        single, _, _ = run(replace(asked, regions=regions, focus=one["path"]), small)
        changed = (single.frames[:] != source).any(-1)
        assert changed.any()
        made[changed] = single.frames[:][changed]
    assert np.array_equal(result.frames[:], made)


def test_of_each_what_is_ready_shows_the_regions_that_are_done(small):
    asked = two(8, focus="each", params=QUICK | {"window": 4})
    result, _, events = run(asked, small)
    first, second = (event.frames for event in of_kind(events, Ready))
    assert np.array_equal(second, result.frames[:4])
    cat, dog = asked.regions
    alone, _, _ = run(replace(asked, regions=(cat, replace(dog, prompt=""))), small)
    assert np.array_equal(first, alone.frames[:4])


def test_what_is_kept_is_kept_for_its_boxes(small):
    long = request(8, step=4, params=QUICK | {"window": 4})
    first, _, events = run(long, small)
    again, _, later = run(long, small)
    assert [begins_editing(event) for event in events].count(True) > 0
    assert not any(map(begins_editing, later))
    assert np.array_equal(first.frames[:], again.frames[:])
    for other in ("off", "on 1.5", "100x80+20+60"):
        events = edit(replace(long, focus=other), small)
        assert any(map(begins_editing, events)), other


@pytest.mark.full
def test_key_frames_are_those_of_the_whole_frame(small):
    """The region stands still in a clip that moves, which its box alone would show
    less."""
    still = frames(1).repeat(9, 0)
    for t, frame in enumerate(still):
        frame[:, 200:] = frames(9, seed=t)[t, :, 200:]
    quick = QUICK | {"keyframes": "auto 2-3"}
    asked = request(9, 0, clip=ArrayClip(still, 8), params=quick)
    usual, _, _ = run(replace(asked, focus="off"), small)
    result, report, _ = run(asked, small)
    assert len(usual.plan.keys) > 2
    assert result.plan.keys == usual.plan.keys
    assert report["params"]["keyframes"]["value"] == "auto 2-3"


def test_cuts_are_found_in_the_whole_frame_and_each_shot_has_its_box(small):
    shots = np.concatenate([frames(4, 0), 255 - frames(4, 5)])
    where = np.concatenate([labels(4), labels(4, left=200, top=40, side=60)])
    asked = request(8, clip=ArrayClip(shots, 8), labels=where, params={"steps": 2})
    result, report, _ = run(asked, small)
    assert result.plan.cuts == (4,)
    (one,) = report["focus"]
    first, second = one["path"].split(", ")
    assert second.startswith("4:")
    assert first.split("+")[0] != second.removeprefix("4:").split("+")[0]
    repeated = replace(asked, focus=one["path"], params=QUICK)
    said = r"^focus: The box changes its size before frame 4"
    with pytest.raises(RequestError, match=said):
        list(edit(repeated, small))


# --- Each region in its own box


def test_each_window_of_each_region_is_counted(small):
    asked = two(8, focus="each", params=QUICK | {"window": 4})
    started = of_kind(edit(asked, small), WindowStarted)
    assert [(e.number, e.total) for e in started] == [(n, 4) for n in range(1, 5)]
    work = [e.work for e in started]
    assert [e.left for e in started] == [sum(work[n:]) for n in range(4)]


# --- Tuned models


def test_a_model_is_tuned_on_the_boxes(small, tmp_path, monkeypatch):
    asked = request(step=20, method="tune_a_video", params=TUNING)
    made = {}
    for focus in ("on", "off"):
        *_, last = tune(replace(asked, focus=focus), small)
        made[focus] = str(tmp_path / f"{focus}.safetensors")
        save_adapter(last.adapter, Path(made[focus]))
    edited = request(step=20, adapter=made["on"])

    def warned(asked):
        warnings = run(asked, small)[1]["warnings"]
        return any("another clip" in text for text in warnings)

    assert not warned(edited)
    assert not warned(replace(edited, adapter=made["off"], focus="off"))
    assert warned(replace(edited, focus="120x120+180+100"))
    monkeypatch.setattr(beforehand, "loaded_backbone", lambda *_: small)
    beforehand.check_known(edited)
    whole = replace(edited, focus="off")
    for refuse in (warned, beforehand.check_known):
        with pytest.raises(ModelError, match="It was tuned at"):
            refuse(whole)
    each = two(method="tune_a_video", params=TUNING, focus="each")
    with pytest.raises(RequestError, match=r"^focus: A model is tuned on one clip"):
        list(tune(each, small))


# --- The report


def test_the_report_says_where_the_boxes_were_and_measures_them(small):
    asked = request()
    result, report, _ = run(asked, small)
    (one,) = report["focus"]
    boxes = path_of(report)
    width, height = one["size"]
    scale = width / boxes[0, 2]
    saved = FRAMES * (WIDTH * HEIGHT * scale**2 - width * height) / 1e6
    assert report["request"]["focus"] == "on"
    assert one["scale"] == round(scale, 3)
    assert one["megapixels_saved"] == round(saved, 1)
    whole, own = report["metrics"], one["metrics"]
    assert own == by_hand(asked, small, boxes)[2]
    assert set(own) == set(whole)
    assert own["inside_psnr"] != whole["inside_psnr"]
    assert whole["outside_psnr"] > own["outside_psnr"] - 1e-9
    measured = measure(replace(result, attention={}), asked)
    assert measured["inside_psnr"] == whole["inside_psnr"]


def test_measuring_a_box_can_be_skipped(small):
    for event in edit(request(), small):
        if isinstance(event, Stage) and event.skip:
            event.skip()
    assert event.report["metrics"] == {}
    assert event.report["focus"][0]["metrics"] == {}
    assert "measuring" in event.report["seconds"]
    assert event.report["focus"][0]["path"]


def test_what_is_enlarged_much_or_left_out_is_said(small):
    def said(**changes):
        result, report, _ = run(request(**changes), small)
        is_source = np.array_equal(result.frames[:], result.source[:])
        return is_source, " ".join(report["warnings"])

    usual = said()[1]
    assert "enlarged" not in usual
    assert "does not show" not in usual
    assert "is enlarged 4.0 times" in said(size=64, focus="16x16+84+104")[1]
    is_source, left_out = said(focus="16x16+0+0", method="videograin")
    assert is_source
    assert "does not show all of the region in 3 frames" in left_out


# --- Before a run


def test_the_working_size_is_known_before_the_model_is_loaded(small, small_folder):
    asked = request(model=str(small_folder), size=64)
    fit = beforehand.working_size_of(asked).fit
    for size in ((WIDTH, HEIGHT), (90, 200), (37, 31)):
        assert fit(*size) == small.fit(*size, 64)
    assert box_sizes(asked, fit) != box_sizes(replace(asked, focus="off"), fit)
    each = two(model=str(small_folder), size=64, focus="each")
    assert len(box_sizes(each, fit)) == 2
    there = replace(asked, model="owner/elsewhere")
    assert beforehand.working_size_of(there) is None


def test_a_tuning_takes_the_memory_of_the_box(small_folder):
    loaded(small_folder)
    known = check_params("tune_a_video", TUNING)
    asked = request(model=str(small_folder), method="tune_a_video")
    plans = [
        beforehand.plan_tuning(replace(asked, focus=focus), known)
        for focus in ("100x200+60+20", "off")
    ]
    assert plans[0].memory != plans[1].memory
