"""Edits of boxes: the model sees a box as if it were the clip, and its edit is put back
where the box is."""

import json
from dataclasses import replace
from fractions import Fraction

import cv2
import numpy as np
import pytest
from cases import BASES, CASES
from commands import command
from made_models import write_control_net
from made_motion import write_adapter
from made_pictures import write_encoder, write_picture, write_picture_adapter
from running import finish

from regrain.editing import (
    ArrayClip,
    EditRequest,
    Finished,
    ModelError,
    Region,
    RequestError,
    Tuned,
    edit,
    load_project,
    save_adapter,
    save_project,
    tune,
)
from regrain.editing.__main__ import main
from regrain.editing.diffusion.blending import composite
from regrain.editing.params.registry import METHODS, check_params
from regrain.editing.pipeline import outputs
from regrain.editing.pipeline.estimate import (
    check_known,
    counted,
    estimate_tuning,
    fit_of,
    work,
)
from regrain.editing.pipeline.focus import (
    BoxedClip,
    box_sizes,
    boxed_edits,
    rescale,
)
from regrain.editing.pipeline.metrics import measure
from regrain.editing.pipeline.placing import edit_boxes, place_maps, put_back
from regrain.editing.pipeline.runner import edit_shot
from regrain.editing.recipe.events import (
    Losses,
    Preview,
    Progress,
    Ready,
    Stage,
    WindowStarted,
)
from regrain.editing.request.boxes import read_boxes
from regrain.editing.request.region import MAX_MARGIN

pytestmark = pytest.mark.usefixtures("own_cache")
WIDTH, HEIGHT, FRAMES = 320, 240, 3
QUICK = {"steps": 2, "preview_every": 0, "cuts": "none"}
CAT = Region("cat", 1, "a fox", "a cat", margin=2)


def frames(count=FRAMES, seed=0):
    """Blobs that drift to the right."""
    noise = np.random.default_rng(seed).integers(0, 256, (20, 40, 3), dtype=np.uint8)
    wide = cv2.resize(noise, (480, 240), interpolation=cv2.INTER_CUBIC)
    return np.stack([wide[:HEIGHT, 40 + t : 40 + t + WIDTH] for t in range(count)])


def labels(count=FRAMES, step=1, label=1, left=80, top=100, side=24):
    found = np.zeros((count, HEIGHT, WIDTH), np.uint8)
    for t in range(count):
        found[t, top : top + side, left + step * t : left + step * t + side] = label
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
    *events, last = edit(asked, model)
    assert isinstance(last, Finished)
    return last.result, last.report, events


def path_of(report):
    (one,) = report["focus"]
    return read_boxes(one["path"], FRAMES, (WIDTH, HEIGHT))


def given(method, **more):
    """Parameters of a method."""
    return BASES[method] | CASES[method].more | more


# --- What the model sees, and what is put back


def by_hand(asked, model, boxes, feather):
    """The frames of an edit of boxes, by an edit of a clip that is cut out by hand."""
    size = model.fit(*boxes[0, 2:].tolist())
    source, areas = np.asarray(asked.clip.read(0, len(asked.clip))), asked.areas[:]
    seen, masks = [], []
    for frame, area, (x, y, w, h) in zip(source, areas, boxes.tolist(), strict=True):
        part, own = frame[y : y + h, x : x + w], area[y : y + h, x : x + w]
        seen.append(cv2.resize(part, size, interpolation=cv2.INTER_AREA))
        masks.append(cv2.resize(own, size, interpolation=cv2.INTER_NEAREST))
    regions = tuple(replace(one, margin=0) for one in asked.regions)
    clip = ArrayClip(np.stack(seen), asked.clip.fps)
    alone = replace(asked, clip=clip, labels=np.stack(masks), regions=regions)
    result, _, _ = run(replace(alone, focus="off"), model)
    made, opacity = source.copy(), asked.opacity
    for number, (x, y, w, h) in enumerate(boxes.tolist()):
        place = number, slice(y, y + h), slice(x, x + w)
        picture = result.uncomposited[number]
        large = cv2.resize(picture, (w, h), interpolation=cv2.INTER_LANCZOS4)
        inside = asked.edited_mask[:][place][None]
        shown = None if opacity is None else opacity[:][place][None]
        made[place] = composite(
            source[place][None], large[None], inside, feather, shown
        )[0]
    return made, seen, result


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"params": QUICK | {"feather": 0.5}},
        {"regions": (replace(CAT, margin=0),)},
        {"regions": (replace(CAT, margin=5, feather=4),)},
        {"size": 64},
        {"seed": 8},
    ],
)
def test_a_box_is_edited_as_a_clip_of_its_own_and_put_back(small, changes):
    asked = request(**changes)
    result, report, _ = run(asked, small)
    boxes = path_of(report)
    assert (boxes[:, 2:] < (WIDTH, HEIGHT)).all()
    if asked.size:
        size = small.fit(*boxes[0, 2:].tolist(), asked.size)
        assert report["focus"][0]["size"] == list(size)
        return
    feather = asked.params.get("feather", 2.0)
    made, _, alone = by_hand(asked, small, boxes, feather)
    assert np.array_equal(result.frames[:], made)
    assert not np.array_equal(made, asked.clip.read(0, FRAMES))
    x, y, w, h = boxes[0].tolist()
    pasted = asked.clip.read(0, 1)[0].copy()
    pasted[y : y + h, x : x + w] = cv2.resize(
        alone.uncomposited[0], (w, h), interpolation=cv2.INTER_LANCZOS4
    )
    assert np.array_equal(result.uncomposited[0], pasted)


def test_an_automatic_margin_is_a_share_of_the_box(small):
    asked = request(regions=(replace(CAT, margin=None),))
    result, report, _ = run(asked, small)
    boxes = path_of(report)
    margin = round(boxes[0, 2:].min() / 16)
    assert 0 < margin < round(HEIGHT / 16)
    own = replace(asked, regions=(replace(CAT, margin=margin, feather=margin),))
    assert np.array_equal(result.edited_mask[:], own.edited_mask[:])
    assert not np.array_equal(result.edited_mask[:], asked.edited_mask[:])
    made, _, _ = by_hand(own, small, boxes, 2.0)
    assert np.array_equal(result.frames[:], made)
    repeated, _, _ = run(replace(asked, focus=report["focus"][0]["path"]), small)
    assert np.array_equal(repeated.frames[:], made)


def test_automatic_margins_are_measured_and_shown_as_they_were(small):
    """The figures, and the masks that are shown, are those of the box's margin."""
    asked = request(regions=(replace(CAT, margin=None),), method="sdedit")
    result, report, _ = run(asked, small)
    margin = round(path_of(report)[0, 2:].min() / 16)
    own = replace(asked, regions=(replace(CAT, margin=margin, feather=margin),))
    measured = measure(replace(result, attention={}), own)["inside_psnr_by_region"]
    assert report["metrics"]["inside_psnr_by_region"] == measured
    (shown,) = [
        np.stack(list(made))
        for name, made in outputs._explaining(result, asked)
        if name == "masks.mp4"
    ]
    (expected,) = [
        np.stack(list(made))
        for name, made in outputs._explaining(result, own)
        if name == "masks.mp4"
    ]
    assert np.array_equal(shown, expected)


def test_an_edit_fades_over_a_margin_that_is_chosen_automatically(small):
    """What a model paints there is seldom the place that is there; whoever sets a
    margin, or a feather, wants it as it is."""
    for region, fades in (
        (replace(CAT, margin=None), None),
        (replace(CAT, margin=None, feather=2), 2),
        (replace(CAT, margin=6), 0),
    ):
        asked = request(regions=(region,))
        boxed = boxed_edits(small, asked, check_params("sdedit", QUICK))
        (own,) = boxed.request.regions
        assert own.feather == (own.margin if fades is None else fades)
        assert own.margin > 0
    # The whole frame is edited as ever.
    whole = request(regions=(replace(CAT, margin=None),), focus="off")
    assert whole.opacity is None
    result, _, _ = run(whole, small)
    explicit, _, _ = run(replace(whole, regions=(replace(CAT, margin=15),)), small)
    assert np.array_equal(result.frames[:], explicit.frames[:])


def test_a_box_that_follows_is_edited_as_a_clip_of_its_own(small):
    asked = request(step=60)
    result, report, _ = run(asked, small)
    boxes = path_of(report)
    assert len(np.unique(boxes[:, 0])) == FRAMES
    made, _, _ = by_hand(asked, small, boxes, 2.0)
    assert np.array_equal(result.frames[:], made)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_keeps_the_source_outside_bit_for_bit(fitting, method):
    base = given(method, preview_every=1)
    asked = request(method=method, params=base)
    result, report, events = run(asked, fitting)
    boxes = path_of(report)
    source, made = asked.clip.read(0, FRAMES), result.frames[:]
    changed = (source != made).any(-1)
    assert changed.any()
    kernel = cv2.getStructuringElement(cv2.MORPH_RECT, (7, 7))
    for number, (x, y, w, h) in enumerate(boxes.tolist()):
        near = cv2.dilate(asked.edited_mask[number].astype(np.uint8), kernel) > 0
        assert not changed[number][~near].any()
        within = np.zeros_like(near)
        within[y : y + h, x : x + w] = True
        assert not changed[number][~within].any()
        alone = (result.uncomposited[number] != source[number]).any(-1)
        assert not alone[~within].any()
        assert alone[within].mean() > 0.5
    previews = [event for event in events if isinstance(event, Preview)]
    assert all(one.frames.shape[1:] == (HEIGHT, WIDTH, 3) for one in previews)
    for one in previews:
        for number, frame in zip(one.indices, one.frames, strict=True):
            x, y, w, h = boxes[number].tolist()
            outside = np.ones((HEIGHT, WIDTH), bool)
            outside[y : y + h, x : x + w] = False
            assert np.array_equal(frame[outside], source[number][outside])
            assert not np.array_equal(frame, source[number])
    for maps in result.attention.values():
        assert len(maps.before) == FRAMES
        assert_nothing_outside(maps.after, boxes)


def assert_nothing_outside(maps, boxes):
    """A map of the whole frame is 0 a cell outside its box."""
    for one, (x, y, w, h) in zip(maps, boxes.tolist(), strict=True):
        rows, columns = one.shape
        left, right = x * columns / WIDTH - 1, (x + w) * columns / WIDTH + 1
        top, bottom = y * rows / HEIGHT - 1, (y + h) * rows / HEIGHT + 1
        at_x, at_y = np.meshgrid(np.arange(columns) + 0.5, np.arange(rows) + 0.5)
        outside = (at_x < left) | (at_x > right) | (at_y < top) | (at_y > bottom)
        assert outside.any()
        assert not one[outside].any()
        assert one.any()


@pytest.mark.parametrize(
    "focus", [f"{WIDTH}x{HEIGHT}+0+0", "on 4", "each 4", "auto 4", "off"]
)
def test_where_the_box_is_the_frame_nothing_happens(small, focus):
    asked = request(params=QUICK | {"preview_every": 1})
    usual, report, before = run(replace(asked, focus="off"), small)
    result, said, events = run(replace(asked, focus=focus), small)
    assert np.array_equal(result.frames[:], usual.frames[:])
    assert "focus" not in said
    said["request"]["focus"] = "off"
    for one in (said, report):
        one |= {"seconds": {}, "seconds_in_steps": {}, "date": "", "peak_memory": 0}
    assert said == report
    assert [type(event) for event in events] == [type(event) for event in before]


def test_a_run_without_regions_is_not_boxed(small):
    asked = request(labels=None, regions=(), prompt="a fox on the grass")
    result, report, _ = run(asked, small)
    usual, _, _ = run(replace(asked, focus="off"), small)
    assert "focus" not in report
    assert np.array_equal(result.frames[:], usual.frames[:])


def test_auto_is_stricter_than_on(small):
    wide = labels(side=12)
    wide[:, 60:150, 60:150] = 1
    for focus, boxed in (("on", True), ("auto", False)):
        _, report, _ = run(request(labels=wide, focus=focus), small)
        assert ("focus" in report) == boxed
    assert "focus" in run(request(focus="auto 0"), small)[1]


# --- Scaling


def test_boxes_are_scaled_by_area_and_by_lanczos():
    frame = frames(1)[0]
    for size, how in (((80, 60), cv2.INTER_AREA), ((400, 300), cv2.INTER_LANCZOS4)):
        assert np.array_equal(
            rescale(frame, size), cv2.resize(frame, size, interpolation=how)
        )
    assert rescale(frame, (WIDTH, HEIGHT)) is frame


def test_only_the_frames_that_are_asked_for_are_read():
    read = []

    class Noted(ArrayClip):
        def read(self, start, stop):
            read.append((start, stop))
            return super().read(start, stop)

    clip = Noted(frames(4), 8)
    boxes = np.array([[10, 20, 40, 30]] * 4)
    boxed = BoxedClip(clip, boxes, (20, 15))
    assert not read
    assert boxed.read(1, 3).shape == (2, 15, 20, 3)
    assert read == [(1, 3)]
    assert boxed.read(2, 2).shape == (0, 15, 20, 3)
    assert (boxed.size, len(boxed), boxed.fps) == ((20, 15), 4, 8)


# --- Maps


def test_maps_are_placed_where_their_box_is():
    """By a map that is as fine as the frame: every pixel of a box then is a cell."""
    values = np.arange(1.0, 13, dtype=np.float32).reshape(1, 3, 4)
    placed = place_maps(values, np.array([[20, 10, 8, 6]]), (40, 24))
    assert placed.shape == (1, 12, 20)
    expected = np.zeros((12, 20), np.float32)
    expected[5:8, 10:14] = values[0]
    np.testing.assert_allclose(placed[0], expected, atol=1e-5)
    areas = place_maps(values > 5, np.array([[20, 10, 8, 6]]), (40, 24))
    assert areas.dtype == bool
    assert np.array_equal(areas[0], expected > 5)


def test_maps_between_cells_are_weighted():
    values = np.ones((1, 2, 2), np.float32)
    placed = place_maps(values, np.array([[5, 0, 4, 4]]), (12, 4))
    # cells of 2 pixels; the box begins in the middle of the third
    np.testing.assert_allclose(placed[0, 0], [0, 0, 0.5, 1, 0.5, 0], atol=1e-6)


@pytest.mark.parametrize("method", ["fatezero", "vid2vid_zero"])
def test_all_that_a_result_has_is_in_place(small, method):
    asked = request(
        method=method,
        params=given(method),
        more_prompts=("a dog on the grass",),
    )
    result, report, _ = run(asked, small)
    boxes = path_of(report)
    assert len(result.others) == 1
    assert result.others[0].frames.shape == (FRAMES, HEIGHT, WIDTH, 3)
    assert not np.array_equal(result.others[0].frames[:], result.frames[:])
    if result.reconstruction is not None:
        outside = result.reconstruction[0][:5] == asked.clip.read(0, 1)[0][:5]
        assert outside.all()
        assert result.reconstruction.shape == result.frames.shape
    if result.words:
        for maps in (*result.words.source.values(), *result.words.edit.values()):
            assert_nothing_outside(maps, boxes)
    assert set(report["others"][0]["metrics"]) == set(report["metrics"])


def test_areas_by_step_are_put_in_place(small):
    """Methods of this package find none where there are masks."""
    params = check_params("sdedit", QUICK)
    boxed = boxed_edits(small, request(), params)
    _, (one,) = finish(edit_boxes(small, boxed, None))
    areas = np.ones((FRAMES, 8, 8), bool)
    found = one._replace(result=replace(one.result, step_areas={1: areas}))
    placed = put_back(boxed.request, [found]).step_areas
    boxes = one.boxed.boxes
    assert np.array_equal(placed[1], place_maps(areas, boxes, (WIDTH, HEIGHT)))


# --- Windows, key frames, the cache


def test_windows_have_anchors_and_ready_frames_are_whole(small):
    long = request(8, step=10, method="videograin", params=QUICK | {"window": 4})
    *events, last = edit(long, small)
    plan = last.result.plan
    usual = list(edit(replace(long, focus="off"), small))[-1].result.plan
    assert plan == usual
    assert any(window.anchors for window in plan.windows)
    ready = [event for event in events if isinstance(event, Ready)]
    assert [len(event.frames) for event in ready] == [4, 6]
    source = long.clip.read(0, 8)
    assert np.array_equal(ready[0].frames[0][:10], source[0][:10])
    assert ready[0].frames.shape[1:] == (HEIGHT, WIDTH, 3)
    assert not np.array_equal(ready[0].frames[0], source[0])


def stages(events):
    return [event.name for event in events if isinstance(event, Stage)]


def test_what_is_kept_is_kept_for_its_boxes(small):
    long = request(8, step=4, params=QUICK | {"window": 4})
    first = list(edit(long, small))
    again = list(edit(long, small))
    assert "editing" in stages(first)
    assert "editing" not in stages(again)
    assert np.array_equal(first[-1].result.frames[:], again[-1].result.frames[:])
    for other in ("off", "on 1.5", "100x80+20+60"):
        assert "editing" in stages(edit(replace(long, focus=other), small)), other


def test_an_inversion_is_kept_for_its_boxes(small):
    asked = request(method="videograin")
    taken = []
    for focus in ("on", "on", "on 1.5", "off"):
        events = edit(replace(asked, focus=focus), small)
        progress = [e for e in events if isinstance(e, Progress)]
        taken.append(sum(e.stage == "inverting" for e in progress))
    assert taken == [2, 1, 2, 2]


def test_key_frames_are_those_of_the_whole_frame(small):
    """The region stands still in a clip that moves, which its box alone would show
    less."""
    still = np.repeat(frames(1), 9, 0)
    for t in range(9):
        still[t, :, 200:] = frames(9, seed=t)[t, :, 200:]
    quick = QUICK | {"keyframes": "auto 2-3"}
    asked = request(9, labels=labels(9, 0), clip=ArrayClip(still, 8), params=quick)
    usual, _, _ = run(replace(asked, focus="off"), small)
    result, report, _ = run(asked, small)
    assert len(usual.plan.keys) > 2
    assert result.plan.keys == usual.plan.keys
    assert report["params"]["keyframes"]["value"] == "auto 2-3"


def test_cuts_are_found_in_the_whole_frame_and_each_shot_has_its_box(small):
    shots = np.concatenate([frames(4, 0), 255 - frames(4, 5)])
    where = np.concatenate([labels(4), labels(4, left=200, top=40, side=60)])
    asked = request(8, clip=ArrayClip(shots, 8), labels=where, params={"steps": 2})
    *events, last = edit(asked, small)
    assert stages(events).count("scanning") == 1
    assert last.result.plan.cuts == (4,)
    (one,) = last.report["focus"]
    first, second = one["path"].split(", ")
    assert second.startswith("4:")
    assert first.split("+")[0] != second.removeprefix("4:").split("+")[0]
    assert any("seems to be cut" in text for text in last.report["warnings"])
    repeated = replace(asked, focus=one["path"])
    assert np.array_equal(run(repeated, small)[0].frames[:], last.result.frames[:])
    with pytest.raises(RequestError, match=r"^focus: The box changes its size before"):
        list(edit(replace(repeated, params=QUICK), small))


def test_a_shot_is_edited_for_later_in_its_box(small):
    quick = {"steps": 2, "preview_every": 0, "cuts": "4", "window": 4}
    asked = request(8, params=quick)
    for shot in (0, 1):
        assert "editing" in stages(edit_shot(asked, shot, small))
    assert "editing" not in stages(edit(asked, small))


# --- Each region in its own box


@pytest.mark.parametrize("left", [200, 125])
def test_each_region_is_edited_in_its_own_box_and_pasted_where_it_is(small, left):
    """Far apart; and each in the box of the other."""
    asked = two(focus="each", left=left)
    result, report, events = run(asked, small)
    assert [one["region"] for one in report["focus"]] == ["cat", "dog"]
    assert stages(events).count("editing") == 2
    assert np.array_equal(result.edited_mask[:], asked.edited_mask[:])
    source = asked.clip.read(0, FRAMES)
    made = source.copy()
    for region, one in zip(asked.regions, report["focus"], strict=True):
        kept = [r if r is region else replace(r, prompt="") for r in asked.regions]
        single = replace(asked, regions=tuple(kept), focus=one["path"])
        alone, _, _ = run(single, small)
        changed = (alone.frames[:] != source).any(-1)
        assert changed.any()
        made[changed] = alone.frames[:][changed]
    assert np.array_equal(result.frames[:], made)


def test_each_window_of_each_region_is_counted(small):
    asked = two(8, focus="each", params=QUICK | {"window": 4})
    started = [e for e in edit(asked, small) if isinstance(e, WindowStarted)]
    assert [(e.number, e.total) for e in started] == [(n, 4) for n in range(1, 5)]
    assert started[0].left == sum(e.work for e in started)
    for before, after in zip(started, started[1:], strict=False):
        assert before.left - before.work == after.left


def test_one_box_holds_regions_that_are_not_too_far_apart(small):
    _, report, _ = run(two(), small)
    assert [one["region"] for one in report["focus"]] == [None]
    _, far, _ = run(two(focus="on 2"), small)
    assert "focus" not in far


# --- What may be added to a model


def test_pictures_motion_and_control_see_the_box(small, tmp_path, monkeypatch):
    monkeypatch.setenv("REGRAIN_MODELS", str(tmp_path))
    write_adapter(tmp_path / "moves", small.unet)
    write_control_net(tmp_path / "net", small.unet, 0.3, (8, 8))
    folder = write_encoder(tmp_path / "sees")
    adapter = write_picture_adapter(folder / "a.safetensors", small.unet, "plain")
    toy = str(write_picture(tmp_path / "toy.png", 4))
    seeing = (replace(CAT, picture=toy, picture_scale=1.2),)
    rows = {
        "motion": {"motion": "moves@1"},
        "control": {
            "method": "infedit",
            "params": given("infedit", control="canny=net@1"),
        },
        "picture": {"picture_adapter": str(adapter), "regions": seeing},
    }
    for name, changes in rows.items():
        asked = request(**changes)
        result, report, _ = run(asked, small)
        boxes = path_of(report)
        made, _, _ = by_hand(asked, small, boxes, 2.0)
        assert np.array_equal(result.frames[:], made), name
        if name == "control":
            x, y, w, h = boxes[0].tolist()
            assert result.control.shape == (FRAMES, HEIGHT, WIDTH, 3)
            control = result.control[0].copy()
            assert control[y : y + h, x : x + w].any()
            control[y : y + h, x : x + w] = 0
            assert not control.any()


def test_a_model_is_tuned_on_the_boxes(small, tmp_path):
    quick = {"tune_steps": 2, "tune_preview_every": 0, "steps": 2, "cuts": "none"}
    asked = request(step=20, method="tune_a_video", params=quick)
    made = {}
    for focus in ("on", "off"):
        *_, last = tune(replace(asked, focus=focus), small)
        assert isinstance(last, Tuned)
        made[focus] = tmp_path / f"{focus}.safetensors"
        save_adapter(last.adapter, made[focus])
    edited = request(step=20, adapter=str(made["on"]))

    def warned(asked):
        warnings = run(asked, small)[1]["warnings"]
        return any("another clip" in text for text in warnings)

    assert not warned(edited)
    assert not warned(replace(edited, adapter=str(made["off"]), focus="off"))
    assert warned(replace(edited, focus="120x120+180+100"))
    with pytest.raises(ModelError, match="It was tuned at"):
        warned(replace(edited, focus="off"))
    each = two(method="tune_a_video", params=quick, focus="each")
    with pytest.raises(RequestError, match=r"^focus: A model is tuned on one clip"):
        list(tune(each, small))


def test_tune_a_video_tunes_on_the_box(small):
    quick = {"tune_steps": 2, "tune_preview_every": 0, "steps": 2, "cuts": "none"}
    asked = request(method="tune_a_video", params=quick | {"preview_every": 0})
    result, report, events = run(asked, small)
    made, _, _ = by_hand(asked, small, path_of(report), 2.0)
    assert np.array_equal(result.frames[:], made)
    assert any(isinstance(event, Losses) for event in events)


# --- The report


def test_the_report_says_where_the_boxes_were_and_measures_them(small):
    asked = request()
    result, report, _ = run(asked, small)
    (one,) = report["focus"]
    assert report["request"]["focus"] == "on"
    boxes = path_of(report)
    width, height = one["size"]
    assert one["scale"] == round(width / boxes[0, 2], 3)
    whole = WIDTH * HEIGHT * (width / boxes[0, 2]) ** 2
    saved = FRAMES * (whole - width * height) / 1e6
    assert one["megapixels_saved"] == round(saved, 1)
    assert set(one["metrics"]) == set(report["metrics"])
    assert one["metrics"]["inside_psnr"] != report["metrics"]["inside_psnr"]
    assert report["metrics"]["outside_psnr"] > one["metrics"]["outside_psnr"] - 1e-9
    whole_metrics = measure(replace(result, attention={}), asked)
    assert whole_metrics["inside_psnr"] == report["metrics"]["inside_psnr"]
    repeated, _, _ = run(replace(asked, focus=one["path"]), small)
    assert np.array_equal(repeated.frames[:], result.frames[:])


def test_attention_is_measured_in_the_box(small):
    params = given("videograin")
    _, report, _ = run(request(method="videograin", params=params), small)
    (one,) = report["focus"]
    assert report["metrics"]["attention"] == one["metrics"]["attention"]
    assert report["metrics"]["attention"]["cat"]["inside_after"] > 0


def test_measuring_a_box_can_be_skipped(small):
    for event in edit(request(), small):
        if isinstance(event, Stage) and event.skip:
            event.skip()
    assert event.report["metrics"] == {}
    assert event.report["focus"][0]["metrics"] == {}
    assert event.report["focus"][0]["path"]


def test_what_is_enlarged_much_or_left_out_is_said(small):
    def said(**changes):
        return " ".join(run(request(**changes), small)[1]["warnings"])

    assert "enlarged" not in said()
    assert "is enlarged 4.0 times" in said(size=64, focus="16x16+84+104")
    assert "does not show all of the region in 3 frames" in said(focus="16x16+0+0")
    assert "does not show" not in said()


# --- Estimates


def test_estimates_count_the_box(small, small_folder, monkeypatch):
    # What a call costs beside its rows does not depend on the box.
    monkeypatch.setattr("regrain.editing.pipeline.estimate._CALL_CELLS", 0)
    asked = request(model=str(small_folder), size=64)
    whole = replace(asked, focus="off")
    fit = fit_of(asked)
    for size in ((WIDTH, HEIGHT), (90, 200), (37, 31)):
        assert fit(*size) == small.fit(*size, 64)
    ((width, height),) = box_sizes(asked, fit)
    assert box_sizes(whole) == [(WIDTH, HEIGHT)]
    ratio = work(asked).editing / work(whole).editing
    shapes = [max(size) / min(size) for size in ((width, height), (WIDTH, HEIGHT))]
    assert ratio == pytest.approx(shapes[0] / shapes[1], rel=1e-3)
    assert counted(asked)[1] < counted(whole)[1]
    each = two(model=str(small_folder), size=64, focus="each")
    apart = [
        work(replace(each, focus=f"{width}x{height}+0+0")).editing
        for width, height in box_sizes(each, fit)
    ]
    assert len(apart) == 2
    assert work(each).editing == pytest.approx(sum(apart))


def test_a_tuning_is_estimated_for_the_box(small_folder, monkeypatch):
    from regrain.editing.models.loading.load import load_backbone
    from regrain.editing.pipeline import estimate

    load_backbone(str(small_folder))
    monkeypatch.setattr(estimate, "_timed", lambda call: 1.0)
    monkeypatch.setattr(estimate, "_seconds", {})
    quick = {"tune_steps": 3, "tune_preview_every": 0}
    tall = labels()
    tall[:, 40:180, 90:100] = 1
    asked = request(
        model=str(small_folder), method="tune_a_video", params=quick, labels=tall
    )
    params = check_params("tune_a_video", quick)
    sizes = {
        focus: estimate_tuning(replace(asked, focus=focus), params).memory
        for focus in ("on", "off")
    }
    assert sizes["on"] != sizes["off"]


def test_an_adapter_of_another_box_is_refused_before_the_run(small_folder, tmp_path):
    from regrain.editing.models.loading.load import load_backbone

    backbone = load_backbone(str(small_folder))
    quick = {"tune_steps": 1, "tune_preview_every": 0, "cuts": "none"}
    tall = labels()
    tall[:, 40:180, 90:100] = 1
    asked = request(
        method="tune_a_video", params=quick, labels=tall, model=str(small_folder)
    )
    *_, last = tune(asked, backbone)
    path = tmp_path / "mine.safetensors"
    save_adapter(last.adapter, path)
    mine = request(labels=tall, adapter=str(path), model=str(small_folder))
    check_known(mine)
    with pytest.raises(ModelError, match="It was tuned at"):
        check_known(replace(mine, focus="off"))


# --- Hostile paths


def hostile():
    """Requests whose regions make bad paths, by name."""
    jumping = np.zeros((6, HEIGHT, WIDTH), np.uint8)
    for t in range(6):
        jumping[t, 5 + 80 * (t % 2) : 12 + 80 * (t % 2), 5 + 25 * t : 12 + 25 * t] = 1
    gone = labels(6)
    gone[[0, 2, 3, 5]] = 0
    once = labels(6)
    once[:5] = 0
    pixel = np.zeros((6, HEIGHT, WIDTH), np.uint8)
    pixel[3, 0, 0] = 1
    corners = np.zeros((6, HEIGHT, WIDTH), np.uint8)
    corners[:, :3, :3] = corners[:, -3:, -3:] = 1
    line = np.zeros((6, HEIGHT, WIDTH), np.uint8)
    line[:, 60, 20:280] = 1
    return {
        "jumping": jumping,
        "masks missing": gone,
        "in one frame": once,
        "one pixel": pixel,
        "far apart": corners,
        "a line": line,
    }


@pytest.mark.parametrize(
    "focus", ["on", "auto", "each", "on 0", "8x8+0+0", "1x1+319+239"]
)
@pytest.mark.parametrize("name", hostile())
def test_regions_that_make_bad_paths_work(small, name, focus):
    asked = request(
        6, labels=hostile()[name], focus=focus, params={"steps": 1, "cuts": "none"}
    )
    result, _, _ = run(asked, small)
    outside = ~asked.edited_mask[:]
    kernel = np.ones((7, 7), np.uint8)
    for t in range(6):
        near = cv2.dilate((~outside[t]).astype(np.uint8), kernel) > 0
        assert (result.frames[t] == asked.clip.read(t, t + 1)[0])[~near].all()


def test_a_clip_of_one_frame_works(small):
    one = request(1)
    result, report, _ = run(one, small)
    assert result.frames.shape == (1, HEIGHT, WIDTH, 3)
    assert "focus" in report


def test_a_region_that_its_box_never_shows_works(small):
    result, report, _ = run(request(focus="20x20+280+200", method="videograin"), small)
    assert np.array_equal(result.frames[:], result.source[:])
    assert any("does not show" in text for text in report["warnings"])


# --- Files and the command line


def test_a_project_and_a_report_without_the_field_are_edited_in_the_whole_frame(
    tmp_path,
):
    save_project(request(focus="auto"), tmp_path / "p")
    file = tmp_path / "p" / "project.json"
    content = json.loads(file.read_text())
    assert content.pop("focus") == "auto"
    assert load_project(tmp_path / "p").focus == "auto"
    file.write_text(json.dumps(content))
    assert load_project(tmp_path / "p").focus == "off"


def test_the_command_line_edits_a_box(tmp_path, small_folder, monkeypatch, capsys):
    monkeypatch.setenv("REGRAIN_MODELS", str(small_folder.parent))
    project = tmp_path / "p"
    save_project(request(model=small_folder.name, focus="off"), project)
    call = command(main)
    for number, (how, boxed) in enumerate({"on": True, "off": False}.items()):
        out = tmp_path / str(number)
        assert call("run", project, "-o", out, "--focus", how) == 0
        report = json.loads((out / "report.json").read_text())
        assert ("focus" in report) == boxed
        assert report["request"]["focus"] == how
        capsys.readouterr()
    assert call("run", project, "-o", tmp_path / "x", "--focus", "sharp") == 2
    said = capsys.readouterr().err
    assert said.startswith("error: focus: Expected auto, on, off or each")
    assert not (tmp_path / "x").exists()


# --- Regions of a box


def test_a_region_that_is_feathered_widely_still_fits(small):
    wide = replace(CAT, feather=MAX_MARGIN)
    asked = request(regions=(wide,), focus="30x30+75+95", size=128)
    params = check_params("sdedit", QUICK)
    (boxed,) = boxed_edits(small, asked, params).edits
    assert boxed.request.regions[0].feather == MAX_MARGIN
