"""FRESCO on a tiny random model: noise, batches with anchors, its sampler, and clips at the edges."""

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
import torch
from running import finish

from regrain.editing import ArrayClip, EditRequest, Region
from regrain.editing.diffusion.schedule import add_noise, guide
from regrain.editing.errors import RequestError
from regrain.editing.methods import fresco
from regrain.editing.params.registry import METHODS, check_params
from regrain.editing.pipeline.assembly import edit_clip
from regrain.editing.recipe.events import Preview, Progress, Stage

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
    return finish(edit_clip(model, asked, params(**given), METHODS["fresco"]))


def drain(events):
    """Types are checked around a recipe, which hides from its own `no_grad` that it is a generator."""
    with torch.no_grad():
        yield from events


@pytest.fixture
def calls(tiny, monkeypatch):
    """(latents, step) of every call of the model; in each batch the first reads the source."""
    seen, predict = [], tiny.predict

    def spy(x, step, text, change):
        seen.append((x.clone(), step))
        return predict(x, step, text, change)

    monkeypatch.setattr(tiny, "predict", spy)
    return seen


# --- Plain SDEdit


def test_with_all_parts_off_it_is_sdedit_frame_by_frame(tiny):
    """Ancestral sampling as diffusers does it, from noise that all frames share."""
    from diffusers.schedulers import scheduling_ddpm

    pixels = moving(3)
    found = run(tiny, request(pixels), **OFF, first_noise="own", guidance_scale=3.0, steps=5)
    # One frame at a time, with the noise it has in the clip.
    asked, given = request(pixels), params(**OFF, first_noise="own", guidance_scale=3.0, steps=5)
    clip = fresco.FrescoState(tiny, asked, given, fresco.working_clip(tiny, asked))
    betas = np.diff(1 - np.concatenate([[1.0], tiny.schedule.alphas_cumprod])) / np.concatenate(
        [[1.0], tiny.schedule.alphas_cumprod[:-1]]
    )
    ddpm = scheduling_ddpm.DDPMScheduler(
        trained_betas=betas, clip_sample=False, steps_offset=1, timestep_spacing="leading"
    )
    ddpm.set_timesteps(5)
    uncond, cond = (tiny.embed([prompt]) for prompt in ("", "a dog on the beach"))
    for frame in range(3):
        x = add_noise(tiny.encode(pixels[frame : frame + 1]), clip.noise(0, True)[[frame]], clip.steps[0])
        for step in clip.steps:
            with torch.no_grad():
                eps = guide(tiny.predict(x, step, uncond)[1], tiny.predict(x, step, cond)[1], 3.0)
            fresh = clip.noise(step.index + 1, True)[[frame]]
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(
                    "diffusers.schedulers.scheduling_ddpm.randn_tensor", lambda *_, x=fresh, **__: x
                )
                x = ddpm.step(eps, step.t, x).prev_sample
        expected = tiny.decode(x).astype(int)
        assert np.abs(np.asarray(found.frames[frame]) - expected[0]).max() <= 1, frame


@pytest.mark.parametrize("part", OFF)
def test_each_part_alone_changes_the_result(tiny, part):
    given = OFF | {"optimise_until": 1.0, "step_noise": "none"}
    on = {"flow_weight": 1.0, "similarity_weight": 50.0, "spatial_steps": 9, "temporal_until": 1.0}
    plain = run(tiny, request(moving(3)), **given)
    changed = run(tiny, request(moving(3)), **given | {part: on.get(part, "first")})
    assert not np.array_equal(changed.uncomposited, plain.uncomposited)


@pytest.mark.parametrize(("strength", "taken"), [(1.0, 4), (0.75, 3), (0.8, 3), (0.5, 2), (0.0, 0)])
def test_strength_is_the_share_of_the_schedule_that_is_run(tiny, calls, strength, taken):
    events = list(drain(edit_clip(tiny, request(moving(2)), params(strength=strength), METHODS["fresco"])))
    steps = [step for _, step in calls[1:]]
    assert steps == list(tiny.schedule.sampling(STEPS)[STEPS - taken :])
    done = [(e.done, e.total) for e in events if isinstance(e, Progress) and e.stage == "editing"]
    assert done == [(i + 1, taken) for i in range(taken)]


def test_without_strength_the_clip_is_only_encoded_and_decoded(tiny):
    result = run(tiny, request(moving(3)), strength=0.0)
    assert np.array_equal(result.frames, tiny.decode(tiny.encode(moving(3))))


# --- Noise


def test_noise_comes_from_seed_step_and_frame_alone(tiny, calls):
    """The same frames in other batches enter the first step with the same latents."""
    pixels, starts = moving(6), []
    for frames_at_once in (8, 4):
        run(tiny, request(pixels), **OFF, first_noise="own", frames_at_once=frames_at_once)
        starts.append([x[: len(x) // 2] for x, _ in calls[1::STEPS]])  # a call for the source, then 3 steps
        calls.clear()
    ((whole,), (first, second)) = starts
    assert torch.equal(torch.cat([first, second[2:]]), whole)


def test_the_seed_acts_and_the_same_seed_gives_the_same_bytes(tiny):
    first, again, other = (run(tiny, request(moving(3), seed=seed)) for seed in (1, 1, 2))
    assert np.array_equal(first.frames, again.frames)
    assert not np.array_equal(first.frames, other.frames)


# --- Batches


def test_later_batches_begin_with_frames_that_take_the_same_way_again(tiny, calls):
    run(tiny, request(moving(9)), frames_at_once=4, strength=1.0)
    by_batch = [[x for x, _ in calls[start + 1 :][:STEPS]] for start in range(0, len(calls), STEPS + 1)]
    assert [len(batch[0]) // 2 for batch in by_batch] == [4, 4, 3, 4]
    for before, batch in pairwise(by_batch):
        for old, new, very_first in zip(before, batch, by_batch[0], strict=True):
            assert torch.equal(new[:2], old[[0, len(old) // 2 - 1]])
            assert torch.equal(new[0], very_first[0])


def test_two_frames_at_once_are_refused():
    with pytest.raises(RequestError, match="frames_at_once"):
        params(frames_at_once=2)


# --- Clips at the edges


@pytest.mark.parametrize("frames", [1, 2])
def test_short_clips(tiny, frames):
    result = run(tiny, request(moving(frames)))
    assert result.frames.shape == (frames, SIZE, SIZE, 3)


def test_a_still_clip_becomes_a_still_clip(tiny):
    """Without noise of their own, equal frames stay equal."""
    pixels = np.repeat(moving(1), 4, 0)
    frames = np.asarray(run(tiny, request(pixels), step_noise="shared").frames).astype(int)
    assert np.abs(frames - frames[:1]).max() <= 1


# --- Regions


def two_regions(frames):
    labels = np.zeros((frames, SIZE, SIZE), np.uint8)
    labels[:, 8:40, 8:32], labels[:, 30:60, 36:60] = 1, 2
    return labels


def test_outside_the_regions_is_the_source_and_attention_is_shown(tiny):
    pixels, labels = moving(7), two_regions(7)
    regions = (Region("horse", 1, prompt="a dog", source="a horse", margin=0), Region("beach", 2))
    asked = request(pixels, regions, labels, prompt="")
    result = run(tiny, asked, keyframes="every 2", frames_at_once=3, feather=0.0)
    outside = labels != 1
    assert np.array_equal(np.asarray(result.frames)[outside], pixels[outside])
    assert set(result.attention) == {"horse", "beach"}
    maps = result.attention["horse"].after
    assert len(maps) == 7
    assert np.array_equal(maps[1], maps[0])
    assert not np.array_equal(maps[2], maps[0])


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


def test_what_it_tells(tiny):
    events = list(
        drain(
            edit_clip(
                tiny, request(moving(5)), params(keyframes="every 2", preview_every=1), METHODS["fresco"]
            )
        )
    )
    assert tuple(event.name for event in events if isinstance(event, Stage)) == METHODS["fresco"].stages
    previews = [event for event in events if isinstance(event, Preview)]
    assert len(previews) == 3
    assert all(event.indices == (0, 2, 4) for event in previews)
    told = [(e.done, e.total) for e in events if isinstance(e, Progress) and e.stage == "editing"]
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_halves_of_guidance_may_take_turns(tiny, monkeypatch):
    given = {"optimise_until": 0.0}
    together = np.asarray(run(tiny, request(moving(3)), **given).frames).astype(int)
    monkeypatch.setattr(type(tiny), "halves_fit", lambda *_: False)
    apart = np.asarray(run(tiny, request(moving(3)), **given).frames).astype(int)
    assert np.abs(together - apart).max() <= 1
