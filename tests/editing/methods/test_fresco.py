"""FRESCO on a tiny random model: noise, batches with anchors, its sampler, and clips at
the edges."""

from dataclasses import replace
from types import SimpleNamespace

import fresco_formulas
import numpy as np
import pytest
import torch
from running import edit_clip, finish
from wiring import HEIGHT, WIDTH, drive, requested

from regrain.editing import ArrayClip, Region
from regrain.editing.errors import RequestError
from regrain.editing.methods import fresco
from regrain.editing.motion.correspondence import Motion
from regrain.editing.params.registry import check_params
from regrain.editing.recipe.window import working_clip

pytestmark = pytest.mark.usefixtures("own_cache")
STEPS = 4


def params(**given):
    return check_params(
        "fresco", {"steps": STEPS, "preview_every": 0, "optimise_rounds": 2, **given}
    )


def run(model, asked, **given):
    return finish(edit_clip(model, asked, params(**given)))


def test_noise_comes_from_seed_step_and_frame_alone(small, monkeypatch):
    """The same in other batches."""
    drawn = {}
    make = fresco.FrescoModel._noise

    def noted(self, draw, own):
        noise = make(self, draw, own)
        for number, one in zip(self._numbers, noise, strict=True):
            drawn.setdefault((own, draw, number), []).append(one)
        return noise

    monkeypatch.setattr(fresco.FrescoModel, "_noise", noted)
    for frames_at_once in (8, 4):
        run(small, requested("fresco", frames=5), frames_at_once=frames_at_once)
    for first, *others in drawn.values():
        assert others
        assert all(first.equal(one) for one in others)
    assert not drawn[True, 2, 0][0].equal(drawn[True, 2, 1][0])


def test_two_frames_at_once_are_refused():
    with pytest.raises(RequestError, match="frames_at_once"):
        params(frames_at_once=2)


@pytest.mark.parametrize("frames", [1, 2])
def test_short_clips(small, frames):
    result = run(small, requested("fresco", frames=frames))
    assert result.frames.shape == (frames, HEIGHT, WIDTH, 3)


# What the authors' code does (williamyang1991/FRESCO at 736a714), in our words,
# whatever our presets say.
RELEASE = {
    "steps": 20, "strength": 0.75, "guidance_scale": 7.5, "step_noise": "own",
    "optimise_until": 0.75, "learning_rate": 0.2, "flow_weight": 2.0, "similarity_weight": 100.0,
    "flow_loss": "circular", "similarity_loss": "absolute", "details": "released",
}  # fmt: skip


def test_the_released_preset_is_the_release(small, tmp_path):
    """A whole run without words of regions; only the rounds are fewer."""
    asked = requested("fresco")
    regions = tuple(
        Region(region.name, region.label, margin=0) for region in asked.regions
    )
    asked = replace(asked, regions=regions, prompt="a fox on the grass")
    assert check_params("fresco", {"preset": "released"}).optimise_rounds == 20
    run = drive(
        small, asked, tmp_path, preset="released", optimise_rounds=2, preview_every=0
    )
    assert {name: getattr(run.params, name) for name in RELEASE} == RELEASE
    fresco_formulas.check(run)
    assert [step.t >= 350 for step in (call.step for call in run.calls[1:])] == [
        True
    ] * 8 + [False] * 7


def test_foreground_and_occlusions_grow_by_six_pixels_of_512(small):
    """The foreground of a frame, and what appears in the next, is 13 pixels wide where
    one pixel is given."""
    side = 512
    point = (slice(None), 100, 200)
    box = torch.zeros(side, side, dtype=torch.bool)
    box[94:107, 194:207] = True
    labels = np.zeros((2, side, side), np.uint8)
    labels[point] = 1
    frames = np.stack([np.full((side, side, 3), grey, np.uint8) for grey in (50, 200)])
    changes = {
        "clip": ArrayClip(frames),
        "labels": labels,
        "regions": (Region("horse", 1),),
        "size": side,
    }
    asked = replace(requested("fresco"), prompt="a dog", **changes)
    background = fresco.find_background(asked, working_clip(small, asked))
    assert torch.equal(background[0, 0] == 0, box)
    unseen = torch.from_numpy(labels > 0)
    flow = torch.zeros(2, 2, side, side)
    model = object.__new__(fresco.FrescoModel)
    coder = SimpleNamespace(decode=lambda _: frames, encode=torch.from_numpy)
    model._motion = Motion(flow, flow, unseen, unseen)
    model._backbone = coder
    model._background = torch.ones_like(background)
    x0, _ = model.smoothed(
        *[torch.zeros(2, side, side, 3)] * 3, small.schedule.sampling(20)[16]
    )
    assert torch.equal(x0[1, ..., 0] == 200, box)
    assert fresco._growth((64, 90)) == 1
