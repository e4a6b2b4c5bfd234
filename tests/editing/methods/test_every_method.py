"""What holds for every method there is: windows, events, a model that is left alone."""

from dataclasses import replace
from itertools import pairwise

import cv2
import numpy as np
import pytest
import torch
from cases import BASES, CASES
from made_motion import write_adapter
from running import calls_by_window, edit_clip, finish, followed, note_calls
from wiring import FRAMES, REFINED, UNETS, differs, near, requested

from regrain.editing import edit
from regrain.editing.errors import ModelError
from regrain.editing.params.base import ModulatedParams
from regrain.editing.params.registry import METHODS, check_params
from regrain.editing.recipe import modulation
from regrain.editing.recipe.events import Preview, Progress, Stage
from regrain.editing.recipe.window import WindowFrames

pytestmark = pytest.mark.usefixtures("own_cache")


def having(parameter):
    """The methods with a parameter of this name."""
    return [name for name in METHODS if parameter in METHODS[name].Params.model_fields]


# InfEdit's branches share attention, so that they run together.
TURNS = [
    name
    for name in UNETS
    if issubclass(METHODS[name].Params, ModulatedParams) and name != "infedit"
]


def params(method, **given):
    return check_params(method, BASES[method] | {"steps": 2} | given)


# Of InfEdit, a layout is walked beside an edit that is blended by words.
ANCHORED = [
    *((name, "", {}) for name in METHODS if METHODS[name].anchors),
    ("infedit", REFINED, {"blend": "words", "edit_words": "fox", "steps": 4}),
]


@pytest.mark.full(but="videograin--given0")
@pytest.mark.parametrize(("method", "prompt", "given"), ANCHORED)
def test_anchors_take_the_same_way_again(fitting, monkeypatch, method, prompt, given):
    """In every call, rows of anchors hold what they held in the same call for the
    window before; also in steps that are taken again."""
    size = "window" if method in having("window") else "frames_at_once"
    given = {size: FRAMES, "cuts": "none"} | given
    if method in having("redraw"):
        given["redraw"] = 0.5
    windows = calls_by_window(
        monkeypatch,
        fitting,
        lambda x, step, *_: (x.clone(), step),
        requested(method, prompt, frames=5),
        params(method, **given),
    )
    for before, after in pairwise(windows):
        assert [step for _, step in before] == [step for _, step in after]
        moved = []
        for (old, _), (new, _) in zip(before, after, strict=True):
            old, new = (x.unflatten(0, (-1, FRAMES)) for x in (old, new))
            near(new[:, :2], old[:, [0, -1]], "anchors", atol=1e-6)
            moved.append(differs(new[:, 2], old[:, 2]))
        assert all(moved[1:])  # InfEdit begins with the same noise in all frames


# FRESCO's key frames may be far apart: what newly appears in one is not taken from the
# one before. Others follow the motion between key frames, or in `steady`, alone.
NOT_ALONG = {"fresco", "sdedit", "instruct_pix2pix"}


@pytest.mark.parametrize("method", sorted({*having("flow")} - NOT_ALONG))
def test_motion_does_not_lead_over_a_break(fitting, method):
    pieces = WindowFrames.whole(FRAMES), WindowFrames((0, 1, 2), breaks=(1,))
    recipe = METHODS[method].run
    asked = requested(method)
    given = params(method, **CASES[method].more)
    one, other = (
        finish(recipe(fitting, asked, given, piece)).edits[0] for piece in pieces
    )
    assert differs(one, other)


@pytest.mark.parametrize("method", TURNS)
def test_halves_of_guidance_may_take_turns(fitting, monkeypatch, method):
    rows = []
    results = []
    note_calls(monkeypatch, fitting, lambda x, *_: rows.append(len(x)))
    more = {"optimise_until": 0.0} if method == "fresco" else {}
    if method in having("guidance_half"):
        more["guidance_half"] = "both"
    if method in having("source_guidance"):
        more["source_guidance"] = 1.0
    given = params(method, guidance_scale=2.0, **more)
    for fits in (True, False):
        monkeypatch.setattr(fitting, "halves_fit", lambda *_, fits=fits: fits)
        rows.clear()
        results.append(finish(edit_clip(fitting, requested(method), given)))
        assert max(rows) == FRAMES * (2 if fits else 1)
    together, apart = (
        np.asarray(result.uncomposited).astype(int) for result in results
    )
    assert np.abs(together - apart).max() <= 1
    for name, maps in results[0].attention.items():
        np.testing.assert_allclose(
            maps.after, results[1].attention[name].after, atol=1e-5
        )


@pytest.mark.parametrize("fits", [True, False])
def test_halves_share_the_layer_that_no_text_has_reached(small, monkeypatch, fits):
    computed = []
    across = modulation.across_frames
    monkeypatch.setattr(
        modulation, "across_frames", lambda *given: computed.append(0) or across(*given)
    )
    monkeypatch.setattr(small, "halves_fit", lambda *_: fits)
    given = params("videograin", guidance_scale=2.0, modulate_until=0.0, redraw=0.0)
    finish(METHODS["videograin"].run(small, requested("videograin"), given))
    layers = [site for site in small.sites if site.kind == "self"]
    assert len(computed) == given.steps * (2 * len(layers) - fits)


@pytest.mark.parametrize("method", METHODS)
def test_a_run_tells_what_it_does_and_leaves_the_model_as_it_was(fitting, method):
    """Between two events nothing hangs on the network; what is cached gives the same
    bits again."""
    network = getattr(fitting, "unet", None) or fitting.transformer
    before = {name: x.clone() for name, x in network.state_dict().items()}
    there = {name: set(vars(module)) for name, module in network.named_modules()}
    given = params(method, preview_every=1, **CASES[method].more)
    results = []
    for _ in range(2):
        events = edit_clip(fitting, requested(method), given)
        seen = []
        with torch.no_grad():
            try:
                while True:
                    seen.append(next(events))
                    assert not any(
                        m._forward_hooks or m._forward_pre_hooks
                        for m in network.modules()
                    )
                    assert not any(
                        getattr(m, "gradient_checkpointing", False)
                        for m in network.modules()
                    )
            except StopIteration as stop:
                results.append(stop.value)
        if len(results) == 1:
            check_events(method, seen, results[0].attention)
    assert np.array_equal(*(np.asarray(result.frames) for result in results))
    assert there == {
        name: set(vars(module)) for name, module in network.named_modules()
    }
    assert all(torch.equal(x, network.state_dict()[name]) for name, x in before.items())


def shown_in(events, stage):
    """The previews of a stage."""
    found = []
    now = ""
    for event in events:
        if isinstance(event, Stage):
            now = event.name
        if isinstance(event, Preview) and now == stage:
            found.append(event)
    return found


@pytest.mark.full(but="videograin")
@pytest.mark.parametrize(
    "method", [name for name in UNETS if "inverting" in METHODS[name].stages]
)
def test_an_inversion_shows_how_the_clip_turns_to_noise(small, method):
    """Its previews lead away from the clip."""
    given = params(method, steps=4, preview_every=1, **CASES[method].more)
    _, seen = followed(edit_clip(small, requested(method), given))
    rising = shown_in(seen, "inverting")
    assert len(rising) == 4
    size = rising[0].frames.shape[2:0:-1]
    clip = requested(method).clip.read(0, FRAMES)
    small_clip = np.stack([cv2.resize(frame, size) for frame in clip]).astype(int)
    away = [np.abs(event.frames - small_clip).mean() for event in rising]
    assert away[-1] > 1.2 * away[0]
    assert all(not event.attention for event in rising)


def check_events(method, seen, attention):
    """Stages of the record, each counted from 1 to its total; maps of what the result
    has maps of."""
    record = METHODS[method]
    assert (
        tuple(event.name for event in seen if isinstance(event, Stage)) == record.stages
    )
    for stage in record.stages:
        done = [
            (e.done, e.total)
            for e in seen
            if isinstance(e, Progress) and e.stage == stage
        ]
        assert done == [(i + 1, len(done)) for i in range(len(done))], stage
    assert set(attention) == CASES[method].heat
    # These change attention in the first of two steps, and only that counts.
    first_alone = ("videograin", "fresco", "instruct_pix2pix")
    thirds = set() if method in first_alone else {"middle", "late"}
    assert all(set(maps.parts) == thirds for maps in attention.values())
    previews = shown_in(seen, "editing")
    assert len(previews) == sum(
        isinstance(e, Progress) and e.stage == "editing" for e in seen
    )
    for event in previews:
        assert len(event.frames) == len(event.indices) == FRAMES
        assert set(event.attention) == set(attention)
        assert all(m.min() >= 0 and m.max() <= 1 for m in event.attention.values())


@pytest.fixture
def moved_by(fitting, tmp_path):
    """Frames and report of an edit with a motion adapter at a scale, or without one."""
    write_adapter(tmp_path / "motion", fitting.unet, heads=2)

    def moved(method, scale=None):
        motion = "" if scale is None else f"{tmp_path / 'motion'}@{scale}"
        asked = replace(requested(method), motion=motion)
        asked = replace(asked, params=BASES[method] | {"steps": 2})
        *_, finished = edit(asked, fitting)
        return finished.result.uncomposited[:], finished.report

    return moved


@pytest.mark.full(but="videograin")
@pytest.mark.parametrize("method", UNETS)
def test_a_motion_adapter_moves_every_method(moved_by, method):
    usual, _ = moved_by(method)
    assert not np.array_equal(usual, moved_by(method, 1)[0])


def test_what_is_no_name_of_a_motion_adapter_is_refused():
    request = requested("sdedit")
    for wrong in ("x@-1", "x@5", "@1"):
        with pytest.raises(
            ModelError, match="Expected FILE@WEIGHT with a weight from 0 to 4"
        ):
            replace(request, motion=wrong)


@pytest.mark.parametrize("method", UNETS)
def test_guidance_of_one_costs_no_row_without_words(fitting, monkeypatch, method):
    """At a scale of 1 the half without words cancels out, so that it need not run; the
    result is as with a scale next to it."""
    rows = []
    note_calls(
        monkeypatch, fitting, lambda x, step, text, *_: rows.append(text.branches)
    )
    more = {"optimise_until": 0.0} if method == "fresco" else {}
    if method == "instruct_pix2pix":
        more = {"source_guidance": 1.0}
    results = []
    for scale in (1.0, 1.0 + 1e-6):
        rows.clear()
        given = params(method, guidance_scale=scale, **more)
        result = finish(edit_clip(fitting, requested(method), given))
        results.append(np.asarray(result.uncomposited).astype(int))
        halves = {branch.partition("/")[0] for call in rows for branch in call}
        assert ("uncond" in halves) == (scale != 1)
    assert np.abs(results[0] - results[1]).max() <= 1
