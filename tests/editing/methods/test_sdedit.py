"""SDEdit on a tiny random model: where it starts, what it keeps, and what it tells."""

import numpy as np
import pytest
import torch
from running import finish
from sdedit_formulas import steps_taken

from regrain.editing import ArrayClip, EditRequest, Region
from regrain.editing.params.registry import METHODS, check_params
from regrain.editing.pipeline.assembly import edit_clip
from regrain.editing.recipe.events import Preview, Progress, Stage

FRAMES, SIZE, STEPS = 3, 64, 5
PIXELS = np.random.default_rng(0).integers(0, 256, (FRAMES, SIZE, SIZE, 3), dtype=np.uint8)


def request(masks=False, **changes) -> EditRequest:
    given = {"source_prompt": "a horse on the beach", "prompt": "a dog on the beach", "seed": 7}
    labels, regions = None, ()
    if masks:
        labels = np.zeros((FRAMES, SIZE, SIZE), np.uint8)
        labels[:, 8:40, 8:32] = 1
        regions = (Region("horse", 1, prompt="a dog", source="a horse", margin=0),)
        given["prompt"] = ""
    return EditRequest(ArrayClip(PIXELS), labels, regions, method="sdedit", **(given | changes))


def params(**given):
    return check_params("sdedit", {"steps": STEPS, "preview_every": 0, **given})


def run(tiny, asked, given):
    return finish(edit_clip(tiny, asked, given, METHODS["sdedit"]))


@pytest.fixture
def calls(tiny, monkeypatch):
    """(latents, step, prompts) of every call of the model."""
    seen, predict = [], tiny.predict

    def spy(x, step, text):
        seen.append((x.clone(), step, text.prompts))
        return predict(x, step, text)

    monkeypatch.setattr(tiny, "predict", spy)
    return seen


def noise_in(tiny, x, step):
    return (x[:FRAMES] - step.signal * tiny.encode(PIXELS)) / step.noise


@pytest.mark.parametrize("seed", [0, 7])
def test_the_noise_is_the_seeds_and_the_same_in_all_frames(tiny, calls, seed):
    """At strength 1 all that is noised is noised to the level where sampling begins."""
    run(tiny, request(seed=seed), params(strength=1.0))
    x, step, _ = calls[0]
    assert step == tiny.schedule.sampling(STEPS)[0]
    expected = torch.randn(4, 8, 8, generator=torch.Generator().manual_seed(seed))
    for noise in noise_in(tiny, x, step):
        torch.testing.assert_close(noise, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("strength", "taken"), [(1.0, 5), (0.6, 3), (0.5, 3), (0.2, 1), (0.01, 1), (0.0, 0)])
def test_strength_is_the_share_of_the_schedule_that_is_run(tiny, calls, strength, taken):
    events = list(drain(edit_clip(tiny, request(), params(strength=strength), METHODS["sdedit"])))
    steps = tiny.schedule.sampling(STEPS)
    assert [step for _, step, _ in calls] == [s for s in steps if not s.within(1 - strength)]
    assert [step for _, step, _ in calls] == steps_taken(steps, strength) == list(steps[STEPS - taken :])
    done = [(e.done, e.total) for e in events if isinstance(e, Progress) and e.stage == "editing"]
    assert done == [(i + 1, taken) for i in range(taken)]


def test_without_strength_the_clip_is_only_encoded_and_decoded(tiny):
    result = run(tiny, request(), params(strength=0.0))
    assert np.array_equal(result.frames, tiny.decode(tiny.encode(PIXELS)))


def test_the_seed_acts_and_the_same_seed_gives_the_same_bytes(tiny):
    first, again, other = (run(tiny, request(seed=seed), params()) for seed in (1, 1, 2))
    assert np.array_equal(first.frames, again.frames)
    assert not np.array_equal(first.frames, other.frames)


def test_guidance_one_is_the_prompt_alone(tiny, calls):
    asked = request(negative_prompt="blurred")
    result = run(tiny, asked, params(guidance_scale=1.0, strength=0.4))
    (x, first, _), *_ = calls
    x = x[:FRAMES]
    for step in tiny.schedule.sampling(STEPS)[first.index :]:
        with torch.no_grad():
            x0, eps = tiny.predict(x, step, tiny.embed([asked.prompt]))
        x = step.signal_next * x0 + step.noise_next * eps
    assert np.abs(np.asarray(result.frames).astype(int) - tiny.decode(x)).max() <= 1


def test_outside_the_masks_is_the_source(tiny, calls, monkeypatch):
    asked, decoded, decode = request(masks=True), [], tiny.decode
    monkeypatch.setattr(tiny, "decode", lambda x: decoded.append(x.clone()) or decode(x))
    result = run(tiny, asked, params(strength=0.6, feather=0.0))
    outside = ~np.asarray(asked.edited_mask)
    assert np.array_equal(np.asarray(result.frames)[outside], PIXELS[outside])
    assert not np.array_equal(np.asarray(result.frames)[~outside], PIXELS[~outside])
    cells = torch.ones(8, 8, dtype=bool)
    cells[1:5, 1:4] = False
    noises = [noise_in(tiny, x, step)[..., cells] for x, step, _ in calls]
    for noise in noises[1:]:
        torch.testing.assert_close(noise, noises[0], atol=1e-4, rtol=0)
    last, clean = calls[-1][1], tiny.encode(PIXELS)
    expected = last.signal_next * clean[..., cells] + last.noise_next * noises[0]
    torch.testing.assert_close(decoded[0][..., cells], expected, atol=1e-5, rtol=0)


def test_words_of_regions_are_composed_into_the_prompt_and_negatives_count(tiny, calls):
    run(tiny, request(masks=True, negative_prompt="blurred"), params())
    assert {prompts for *_, prompts in calls} == {("blurred", "a dog on the beach")}


def test_several_prompts_are_the_edits_that_each_makes_alone(tiny):
    both = run(tiny, request(more_prompts=("a fox on the beach",)), params(guidance_scale=2.0))
    assert [other.prompt for other in both.others] == ["a fox on the beach"]
    for prompt, frames in (("a dog", both.frames), ("a fox", both.others[0].frames)):
        alone = run(tiny, request(prompt=f"{prompt} on the beach"), params(guidance_scale=2.0)).frames
        assert np.abs(np.asarray(frames).astype(int) - alone).max() <= 1


def test_what_it_tells(tiny):
    events = list(drain(edit_clip(tiny, request(), params(strength=0.4, preview_every=1), METHODS["sdedit"])))
    kinds = [type(event) for event in events]
    assert kinds == [Stage, Preview, Progress, Preview, Progress, Stage, *[Progress] * FRAMES]
    assert tuple(event.name for event in events if isinstance(event, Stage)) == METHODS["sdedit"].stages
    told = [event.stage for event in events if isinstance(event, Progress)]
    assert told == ["editing"] * 2 + ["decoding"] * FRAMES
    assert all(event.frames.shape[0] == FRAMES for event in events if isinstance(event, Preview))


def drain(events):
    """Types are checked around a recipe, which hides from its own `no_grad` that it is a generator."""
    with torch.no_grad():
        yield from events
