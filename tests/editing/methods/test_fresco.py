"""FRESCO on a tiny random model: noise, batches with anchors, its sampler, and clips at the edges."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from running import finish

from regrain.editing import ArrayClip, EditRequest, Region
from regrain.editing.errors import RequestError
from regrain.editing.params.registry import check_params
from regrain.editing.pipeline.assembly import edit_clip

pytestmark = pytest.mark.usefixtures("own_cache")
SIZE, STEPS = 64, 4
OFF = {
    "flow_weight": 0.0,
    "similarity_weight": 0.0,
    "spatial_steps": 0,
    "temporal_until": 0.0,
    "cross_frame": "own",
}


def moving(frames, start=0):
    """Blocks that drift to the right, a pixel a frame."""
    cells = np.random.default_rng(start).integers(0, 256, (8, 16, 3), dtype=np.uint8)
    wide = np.repeat(np.repeat(cells, 8, 0), 8, 1)
    return np.stack([wide[:, 60 - t : 60 - t + SIZE] for t in range(frames)])


def request(pixels, regions=(), labels=None, **changes):
    given = {"source_prompt": "a horse on the beach", "prompt": "a dog on the beach", "seed": 7}
    clip = ArrayClip(pixels, fps=Fraction(24000, 1001))
    return EditRequest(clip, labels, regions, method="fresco", **(given | changes))


def params(**given):
    return check_params("fresco", {"steps": STEPS, "preview_every": 0, "optimise_rounds": 2, **given})


def run(model, asked, **given):
    return finish(edit_clip(model, asked, params(**given)))


@pytest.fixture
def calls(tiny, monkeypatch):
    """(latents, step) of every call of the model; in each batch the first reads the source."""
    seen, predict = [], tiny.predict

    def spy(x, step, text, change):
        seen.append((x.clone(), step))
        return predict(x, step, text, change)

    monkeypatch.setattr(tiny, "predict", spy)
    return seen


def test_noise_comes_from_seed_step_and_frame_alone(tiny, calls):
    """The same frames in other batches enter the first step with the same latents."""
    pixels, starts = moving(6), []
    for frames_at_once in (8, 4):
        run(tiny, request(pixels), **OFF, first_noise="own", frames_at_once=frames_at_once)
        starts.append([x[: len(x) // 2] for x, _ in calls[1::STEPS]])  # a call for the source, then 3 steps
        calls.clear()
    ((whole,), (first, second)) = starts
    assert torch.equal(torch.cat([first, second[2:]]), whole)


def test_two_frames_at_once_are_refused():
    with pytest.raises(RequestError, match="frames_at_once"):
        params(frames_at_once=2)


@pytest.mark.parametrize("frames", [1, 2])
def test_short_clips(tiny, frames):
    result = run(tiny, request(moving(frames)))
    assert result.frames.shape == (frames, SIZE, SIZE, 3)


def two_regions(frames):
    labels = np.zeros((frames, SIZE, SIZE), np.uint8)
    labels[:, 8:40, 8:32], labels[:, 30:60, 36:60] = 1, 2
    return labels


def test_regions_without_words_are_the_foreground_of_a_smooth_background(tiny):
    """The frames are equal, so the background of all becomes that of the first; the foreground need not."""
    pixels, labels = np.repeat(moving(1), 3, 0), two_regions(3)
    asked = request(pixels, (Region("horse", 1), Region("beach", 2)), labels)
    given = OFF | {"smooth_from": 0.0, "smooth_until": 1.0, "first_noise": "own", "strength": 0.5}
    found, without = (
        np.asarray(run(tiny, asked, **given, smooth_background=on).frames).astype(int) for on in (True, False)
    )
    away = np.zeros((SIZE, SIZE), bool)
    away[:, 62:] = away[62:] = True
    apart = [np.abs(frames[2] - frames[0])[away].mean() for frames in (found, without)]
    assert apart[0] < 0.6 * apart[1]
