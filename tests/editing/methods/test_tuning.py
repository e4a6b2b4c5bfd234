"""Tuning on a clip: against the formulas, from the cache, by several users, stopped
anywhere."""

import pytest
import torch
import tuning_reference as reference
from made_models import seeded
from torch.testing import assert_close as close
from tuning_runs import FRAMES, WORDS, counted, learned, params, request, same, tuning

from regrain.editing.errors import DivergedError
from regrain.editing.methods.tuning import (
    Learner,
    Tuning,
    _latest as latest_state,
    drawn,
    state_key,
)
from regrain.editing.models.unet.temporal import untuned
from regrain.editing.recipe.events import Losses, Preview, Progress, Tuned
from regrain.editing.recipe.window import working_clip
from regrain.editing.storage import cache

pytestmark = pytest.mark.usefixtures("own_cache", "no_grad")


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr("regrain.editing.methods.tuning._PREVIEW_STEPS", 2)


def tuning_of(model, asked=None, **given) -> Tuning:
    asked = asked or request()
    return Tuning(model, asked, working_clip(model, asked), params(**given))


def shaken(weights):
    """Weights away from where a tuning begins, so that everything has a gradient."""
    fresh = seeded(5)
    return {
        name: x + 0.1 * torch.randn(x.shape, generator=fresh)
        for name, x in weights.items()
    }


def make_steep(monkeypatch, model, factor):
    """Let the network's output, and with it all gradients, be longer; models are shared
    by tests."""
    weight = model.unet.conv_out.weight
    monkeypatch.setattr(weight, "data", weight.data * factor)
    monkeypatch.setitem(vars(model), "fingerprint", f"steep {factor}")


def until(events, count):
    """Step a tuning until it has taken so many steps; close it there."""
    for event in events:
        if isinstance(event, Progress) and event.done == count:
            break
    events.close()


# --- One step


@pytest.mark.full(but="epsilon-given0-1")
@pytest.mark.parametrize(
    ("prediction", "given", "steep"),
    [
        ("epsilon", {}, 1),
        ("epsilon", {"temporal_rank": 3}, 1),
        ("v_prediction", {}, 1),
        ("sample", {"temporal_rank": 40}, 100),
    ],
)
def test_steps_are_those_of_the_formulas(
    small_double, monkeypatch, prediction, given, steep
):
    """Network, noise, target, clipping and AdamW, for two steps."""
    model = small_double
    rate = 1e-3
    monkeypatch.setattr(model, "prediction", prediction)
    make_steep(monkeypatch, model, steep)
    plan = tuning_of(model, learning_rate=rate, tune_seed=4, **given)
    weights = shaken(untuned(model.unet, plan.params.temporal_rank, torch.Generator()))
    learner = Learner.of(weights | {"losses": torch.zeros(0)}, rate)
    own = {name: weight.double().requires_grad_() for name, weight in weights.items()}
    adamw = torch.optim.AdamW(own.values(), rate, (0.9, 0.999), 1e-8, 1e-2)
    words = model.embed([WORDS]).vectors.double().repeat(FRAMES, 1, 1)
    for index in range(2):
        unet = reference.network(model.unet, own)
        step, noise = drawn(model.schedule, plan.latents, 4, index)
        alpha = float(model.schedule.alphas_cumprod[step.t])
        clean = plan.latents
        noised = alpha**0.5 * clean + (1 - alpha) ** 0.5 * noise
        adamw.zero_grad()
        with torch.enable_grad():
            output = unet(noised, torch.tensor(step.t), words).sample
            target = reference.target(prediction, clean, noise, alpha)
            error = torch.nn.functional.mse_loss(output, target)
            error.backward(inputs=[*own.values()])
        loss, found = plan.gradients(learner)
        assert loss == pytest.approx(float(error), rel=1e-6)
        for name, weight in own.items():
            assert weight.grad.abs().max() > 0, name
            close(found[name].double(), weight.grad, rtol=1e-4, atol=1e-6 * steep)
        length = torch.nn.utils.clip_grad_norm_(own.values(), 1.0)
        assert (length > 1) == (steep > 1)
        learner.descend(loss, found)
        adamw.step()
        for name, weight in own.items():
            close(learner.weights[name].double(), weight.detach(), rtol=1e-5, atol=1e-6)
    assert learner.steps == 2


def test_levels_and_noise_are_drawn_from_the_seed_and_the_number_of_the_step(small):
    latents = torch.zeros(FRAMES, 4, 8, 8)
    draws = [drawn(small.schedule, latents, 0, index) for index in range(400)]
    levels = torch.tensor([float(step.t) for step, _ in draws])
    assert levels.mean() == pytest.approx(499.5, abs=45)  # three deviations of the mean
    assert levels.max() - levels.min() > 950
    noise = torch.stack([one for _, one in draws])
    assert noise.std() == pytest.approx(1, abs=0.01)
    # no two frames or steps share theirs
    assert noise[:, :, 0, 0, 0].unique().numel() == 400 * FRAMES
    step, own = drawn(small.schedule, latents, 1, 7)
    assert step.t != levels[7]
    assert not torch.equal(own, noise[7])


# --- A tuning


def test_what_says_how_to_tune_is_in_the_key_and_in_the_facts(small):
    usual = tuning_of(small)
    others = {
        "tune_seed": 1,
        "learning_rate": 2e-5,
        "temporal_rank": 1,
    }
    names = {"tune_seed": "seed", "temporal_rank": "rank"}
    for name, value in others.items():
        other = tuning_of(small, **{name: value})
        assert other.inputs != usual.inputs, name
        facts = other.adapter(Learner.of(other.begin(), 1.0)).facts
        assert getattr(facts, names.get(name, name)) == value


def test_the_seed_draws_the_first_weights(small):
    first, second = (untuned(small.unet, 0, seeded(seed)) for seed in (0, 1))
    assert same(learned(small, tune_steps=0, tune_seed=1).weights, second)
    assert not same(first, second)


def test_source_prompt_and_clip_matter_and_the_edit_does_not(small):
    usual = learned(small)
    assert not same(
        usual.weights, learned(small, request(source_prompt="a dog")).weights
    )
    assert not same(usual.weights, learned(small, request(size=24)).weights)
    asked = request(prompt="a panda", negative_prompt="ugly", seed=3)
    assert same(usual.weights, learned(small, asked).weights)


def test_events_tell_steps_losses_versions_and_previews(small, tmp_path, monkeypatch):
    events = list(tuning(small, tune_steps=5, keep_every=2, tune_preview_every=2))
    step = [Progress, Losses]
    shown = [Tuned, Preview]
    assert [type(e) for e in events] == [Preview, *2 * (step * 2 + shown), *step, Tuned]
    told = [(e.stage, e.done, e.total) for e in events if isinstance(e, Progress)]
    assert told == [("tuning", done, 5) for done in range(1, 6)]
    curve = [e.losses for e in events if isinstance(e, Losses)]
    assert [len(losses) for losses in curve] == [1, 2, 3, 4, 5]
    versions = [e for e in events if isinstance(e, Tuned)]
    monkeypatch.setenv("REGRAIN_CACHE", str(tmp_path / "other"))
    for version, steps in zip(versions, (2, 4, 5), strict=True):
        assert version.losses.tolist() == curve[-1][:steps].tolist()
        assert same(version.adapter.weights, learned(small, tune_steps=steps).weights)


def test_a_preview_is_drawn_by_the_tuned_weights_from_one_noise(small):
    """Without weights that changed, the same picture again."""
    still, moved = (
        [
            event.frames
            for event in tuning(
                small, tune_steps=2, tune_preview_every=1, learning_rate=rate
            )
            if isinstance(event, Preview)
        ]
        for rate in (1e-12, 0.01)
    )
    assert len(still) == len(moved) == 3
    assert (still[0] == moved[0]).all()
    assert (still[0] == still[2]).all()
    assert (moved[0] != moved[2]).any()


def test_activations_are_recomputed_where_they_do_not_fit(small, monkeypatch):
    plan = tuning_of(small)
    learner = Learner.of(plan.begin(), 1e-3)
    asked = []
    predict = small.predict

    def noted(*given, recompute):
        asked.append(recompute)
        return predict(*given, recompute=recompute)

    monkeypatch.setattr(small, "predict", noted)
    for needed in (1, None):
        monkeypatch.setattr(small, "activation_bytes", lambda *_, n=needed: n)
        plan.gradients(learner)
    assert asked == [False, True]


# --- Stop, resume, cache


@pytest.fixture
def steep(small, monkeypatch):
    """A model with gradients so long that they are clipped."""
    make_steep(monkeypatch, small, 100)
    return small


@pytest.mark.parametrize("stop", [1, 3])
def test_a_stopped_tuning_goes_on_as_if_it_had_not_stopped(
    steep, tmp_path, monkeypatch, stop
):
    """TV8, bit for bit, and with as many steps in all."""
    given = {"tune_steps": 5, "learning_rate": 1e-3}
    (whole,) = [e for e in tuning(steep, **given) if isinstance(e, Tuned)]
    monkeypatch.setenv("REGRAIN_CACHE", str(tmp_path / "stopped"))
    taken = counted(monkeypatch)
    until(tuning(steep, **given), stop)
    (resumed,) = [e for e in tuning(steep, **given) if isinstance(e, Tuned)]
    assert taken == list(range(5))
    assert resumed.losses.tolist() == whole.losses.tolist()
    assert same(resumed.adapter.weights, whole.adapter.weights)


def test_more_steps_go_on_from_fewer_and_fewer_are_there_already(
    small, tmp_path, monkeypatch
):
    given = {"learning_rate": 1e-3, "keep_every": 2}
    taken = counted(monkeypatch)
    three = learned(small, tune_steps=3, **given)
    five = learned(small, tune_steps=5, **given)
    assert taken == [0, 1, 2, 3, 4]
    kept = list(tuning(small, tune_steps=3, **given))
    assert same(kept[-1].adapter.weights, three.weights)
    assert kept[-1].adapter.facts == three.facts
    assert [(e.done, e.total) for e in kept if isinstance(e, Progress)] == [(3, 3)]
    assert len(kept[-1].losses) == 3
    for steps in (2, 4):
        assert learned(small, tune_steps=steps, **given).facts.steps == steps
    assert taken == [0, 1, 2, 3, 4]
    monkeypatch.setenv("REGRAIN_CACHE", str(tmp_path / "other"))
    assert same(learned(small, tune_steps=5, **given).weights, five.weights)


def test_a_shorter_tuning_that_was_stopped_goes_on_too(small, monkeypatch):
    """Though the cached state of a longer one is of no use to it."""
    learned(small, tune_steps=6)
    taken = counted(monkeypatch)
    until(tuning(small, tune_steps=5), 3)
    short = learned(small, tune_steps=5)
    assert taken == [0, 1, 2, 3, 4]
    assert short.facts.steps == 5
    learned(small, tune_steps=7)
    assert taken[5:] == [6]


def test_a_version_whose_state_is_gone_is_no_place_to_go_on_from(
    small, monkeypatch, tmp_path
):
    """A version has no moments, so more steps are taken from the beginning, to the same
    bits."""
    whole = learned(small, tune_steps=5, learning_rate=1e-3)
    monkeypatch.setenv("REGRAIN_CACHE", str(tmp_path / "other"))
    learned(small, tune_steps=3, learning_rate=1e-3)
    state = state_key(
        tuning_of(small, tune_steps=3, learning_rate=1e-3).inputs, "state"
    )
    (tmp_path / "other" / f"{cache.digest(state)}.safetensors").unlink()
    learned(small, tune_steps=3, learning_rate=1e-3)
    assert same(learned(small, tune_steps=5, learning_rate=1e-3).weights, whole.weights)


def test_the_last_state_and_one_kept_on_the_way_may_be_of_the_same_step(monkeypatch):
    monkeypatch.setattr("regrain.editing.methods.tuning._steps", lambda key: 2)
    assert latest_state({"clip": "a"}, 3)[0] == 2


def test_an_update_that_was_interrupted_is_not_kept(small, monkeypatch):
    """Ctrl-C can come when some weights have moved and others have not."""
    given = {"tune_steps": 4, "keep_every": 2, "learning_rate": 1e-3}
    whole = learned(small, **given)
    monkeypatch.setenv("REGRAIN_CACHE", str(cache.cache_folder() / "interrupted"))
    step = torch.optim.AdamW.step
    calls = []

    def interrupted(self):
        calls.append(True)
        if len(calls) == 4:
            self.param_groups[0]["params"][0].add_(1)
            raise KeyboardInterrupt
        step(self)

    monkeypatch.setattr(torch.optim.AdamW, "step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        list(tuning(small, **given))
    assert same(learned(small, **given).weights, whole.weights)


# --- What goes wrong


def test_a_loss_that_is_nan_names_the_learning_rate_and_keeps_what_was_there(
    small, monkeypatch
):
    taken = []
    gradients = Tuning.gradients

    def bad(self, learner):
        loss, found = gradients(self, learner)
        taken.append(learner.steps)
        return (float("nan") if learner.steps == 3 else loss), found

    monkeypatch.setattr(Tuning, "gradients", bad)
    with pytest.raises(DivergedError, match=r"^params.learning_rate: .*step 4.*0.002"):
        list(tuning(small, tune_steps=6, learning_rate=0.002))
    monkeypatch.setattr(Tuning, "gradients", gradients)
    again = counted(monkeypatch)
    learned(small, tune_steps=3, learning_rate=0.002)
    assert again == []
    learned(small, tune_steps=5, learning_rate=0.002)
    assert again == [3, 4]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_gradient_that_is_nan_names_the_learning_rate_and_moves_nothing(small, value):
    learner = Learner.of(
        {"a": torch.ones(2), "b": torch.ones(3), "losses": torch.zeros(2)}, 0.01
    )
    with pytest.raises(DivergedError, match=r"^params.learning_rate: .*step 3.*0.01"):
        learner.descend(1.0, {"a": torch.tensor([0.0, value]), "b": torch.ones(3)})
    assert learner.steps == 2
    assert learner.weights["a"].tolist() == [1, 1]
    assert learner.weights["b"].tolist() == [1, 1, 1]


def test_a_network_that_gives_nan_names_the_learning_rate(small, monkeypatch):
    until(tuning(small, tune_steps=4, keep_every=1), 2)
    monkeypatch.setattr(
        small.unet.conv_out.bias, "data", torch.full((4,), float("nan"))
    )
    with pytest.raises(DivergedError, match=r"^params.learning_rate: .*step 3"):
        list(tuning(small, tune_steps=4, keep_every=1))


def test_weights_that_overflowed_are_not_kept(small):
    plan = tuning_of(small)
    learner = Learner.of(plan.begin(), 1.0)
    next(iter(learner.weights.values())).fill_(float("inf"))
    plan.store(learner)
    assert cache.load(state_key(plan.inputs, "state")) is None
    assert cache.load(state_key(plan.inputs, "version", 0)) is None
