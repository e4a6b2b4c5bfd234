"""Tune-A-Video's edit, and the other methods on a tuned model."""

from dataclasses import replace

import numpy as np
import pytest
from cases import BASES
from made_models import write_control_net
from running import note_calls
from tuning_runs import learned, request, same
from wiring import PLAIN_UNETS, check_formulas, drive, requested

from regrain.editing import Adapter, RequestError, edit, save_adapter, tune
from regrain.editing.models.unet.tuned import tuned
from regrain.editing.params.registry import METHODS
from regrain.editing.recipe.events import Finished, Losses, Progress, Stage, Tuned

QUICK = {"steps": 2, "preview_every": 0, "tune_steps": 2, "tune_preview_every": 0}
INVERTS = [name for name, method in METHODS.items() if "inversion" in method.needs]
pytestmark = pytest.mark.usefixtures("own_cache", "no_grad")


@pytest.fixture
def adapter(small):
    """Of the clip of `requested`."""
    return learned(small, requested("tune_a_video"), tune_steps=2, learning_rate=0.01)


def edited(model, asked):
    """The last event of a run."""
    *_, last = edit(asked, model)
    assert isinstance(last, Finished)
    return last


@pytest.mark.full(but="sdedit")
@pytest.mark.parametrize("method", PLAIN_UNETS)
def test_tuned_models_follow_the_formulas_in_every_call(
    small, adapter, tmp_path, monkeypatch, method
):
    brought = []
    few = BASES[method] | {"steps": 2}
    plain = drive(small, requested(method), tmp_path / "plain", **few)
    note_calls(monkeypatch, small, lambda x, step, text, change: brought.append(change))
    asked = replace(requested(method), adapter="given")
    run = drive(tuned(small, adapter), asked, tmp_path / "tuned", **few)
    if method != "tune_a_video":  # whose formulas begin with the tuning
        check_formulas(run)
        one, other = (
            [(c.stage, c.step, len(c.x)) for c in each.calls] for each in (run, plain)
        )
        assert one == other
    assert len(brought) == len(run.calls)
    queries = {
        n.removesuffix(".to_q.weight"): w
        for n, w in adapter.weights.items()
        if "attn_temp" not in n
    }
    for change in brought:
        assert same(dict(change.queries), queries)
        assert len(change.patches) >= 1
    assert not np.array_equal(
        np.asarray(run.result.frames), np.asarray(plain.result.frames)
    )


@pytest.mark.full(but="tune_a_video")
@pytest.mark.parametrize("method", INVERTS)
def test_inversions_of_tuned_models_are_cached_apart(
    small, adapter, tmp_path, own_models, method
):
    """By their weights, and by control; that of other methods is held by their rows."""
    write_control_net(tmp_path / "net", small.unet, 0.05, (8, 8))
    name = next(iter(adapter.weights))
    moved = {name: adapter.weights[name] + 0.1}
    other = Adapter(adapter.facts, {**adapter.weights, **moved})
    few = BASES[method] | {"steps": 2}
    tunes = method == "tune_a_video"
    asked = replace(requested(method), adapter="given" if tunes else "")

    def inverted(model, **given):
        run = drive(model, asked, tmp_path / "cache", **few | given)
        return len(run.of("inverting"))

    view = tuned(small, adapter)
    first = inverted(view)
    assert first > 0
    assert inverted(view) == 0
    assert inverted(tuned(small, other)) == first
    if tunes:
        control = {"control": "canny=net@0.5"}
        assert [inverted(view, **control) for _ in range(2)] == [first, 0]
    else:
        assert inverted(small) == first


STAGES = ["loading", "tuning", "inverting", "editing", "decoding", "measuring"]


def test_a_run_that_tunes_tells_its_stages_and_whose_weights_they_are(small):
    events = list(edit(request(params=QUICK), small))
    last = events[-1]
    assert [e.name for e in events if isinstance(e, Stage)] == STAGES
    assert list(last.report["seconds"]) == STAGES
    done = [e for e in events if isinstance(e, Progress)]
    assert all(e.seconds_left is not None for e in done)
    made = [event for event in events if isinstance(event, Tuned)][-1]
    losses = [round(float(loss), 6) for loss in made.losses]
    assert len(losses) == 2
    assert last.report["adapter"] == facts_of(made) | {"losses": losses}


def facts_of(made):
    """What a report says of an adapter."""
    hidden = {"version", "sketch", "clip"}
    return made.adapter.facts.model_dump(mode="json", exclude=hidden)


def test_an_adapter_takes_the_place_of_the_tuning(small, tmp_path):
    """The same bits as tuning and editing in one run; its own settings count, not those
    of the request."""
    asked = request(params=QUICK | {"learning_rate": 0.01})
    *_, made, whole = (e for e in edit(asked, small) if isinstance(e, Tuned | Finished))
    save_adapter(made.adapter, path := tmp_path / "clip.safetensors")
    chosen = replace(asked, adapter=str(path), params={"steps": 2, "preview_every": 0})
    *events, last = edit(chosen, small)
    assert not [e for e in events if isinstance(e, Tuned | Losses)]
    assert "tuning" not in [e.name for e in events if isinstance(e, Stage)]
    assert np.array_equal(last.result.frames, whole.result.frames)
    assert last.report["adapter"] == facts_of(made)
    assert last.report["request"]["adapter"] == path.name
    assert last.report["warnings"] == []


def test_the_library_tunes_for_any_method(small):
    """The params of another method and an adapter do not matter; those of Tune-A-Video
    do."""
    own = request(params=QUICK)
    *_, last = tune(own, small)
    assert isinstance(last, Tuned)
    assert same(dict(last.adapter.weights), dict(learned(small, tune_steps=2).weights))
    assert len(last.losses) == 2
    *_, again = tune(replace(own, adapter="nowhere"), small)
    assert same(dict(again.adapter.weights), dict(last.adapter.weights))
    other = request(method="sdedit", params={"strength": 0.5})
    events = tune(other, small)
    assert [next(events).name for _ in range(2)] == ["loading", "tuning"]
    events.close()
    with pytest.raises(RequestError, match=r"^source_prompt: "):
        next(tune(request(source_prompt=" ", model="no/such-model")))
