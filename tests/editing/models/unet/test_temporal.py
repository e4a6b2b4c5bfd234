"""Tuned weights and layers over time: their number, their start, what they mix, and how
they travel."""

from pathlib import Path

import pytest
import torch
import tuning_reference as reference
from json_files import read_json
from made_models import randn, seeded
from tuning_runs import FRAMES, WORDS, learned

from regrain.editing.methods.tuning import sparse_causal
from regrain.editing.models.adapters import Adapter
from regrain.editing.models.intervention import Intervention, joint_norm
from regrain.editing.models.unet.temporal import (
    tunable_shapes,
    untuned,
    with_weights,
)
from regrain.editing.models.unet.tuned import tuned

ASSETS = Path(__file__).parents[4] / "assets"
CPU = torch.device("cpu")
pytestmark = pytest.mark.usefixtures("no_grad")


def unet_of(model):
    """The network of a model that ships, without weights."""
    from diffusers import UNet2DConditionModel

    config = read_json(ASSETS / model / "unet" / "config.json")
    with torch.device("meta"):
        return UNet2DConditionModel.from_config(config)


def noisy(rows):
    return randn(rows, 4, 8, 8)


def bytes_of(shapes):
    return 4 * sum(torch.Size(shape).numel() for shape in shapes.values())


def test_stable_diffusion_has_74_354_880_tuned_parameters_in_112_tensors():
    """TV2; one of the built-in model is small."""
    assert bytes_of(tunable_shapes(unet_of("storybook"))) < 5_000_000
    unet = unet_of("checkpoints/sd1")
    shapes = tunable_shapes(unet)
    assert (len(shapes), bytes_of(shapes)) == (112, 4 * 74_354_880)
    kept = shapes.keys() & dict(unet.named_parameters())
    assert len(kept) == 32
    ends = (".attn1.to_q.weight", ".attn2.to_q.weight")
    assert all(name.endswith(ends) for name in kept)
    block = "down_blocks.0.attentions.0.transformer_blocks.0.attn_temp."
    own = {name: shape for name, shape in shapes.items() if name.startswith(block)}
    squares = [f"{block}{name}.weight" for name in ("to_q", "to_k", "to_v", "to_out.0")]
    bias = {f"{block}to_out.0.bias": (320,)}
    assert own == dict.fromkeys(squares, (320, 320)) | bias


def test_convolutions_over_time_follow_every_convolution_over_places():
    unet = unet_of("checkpoints/sd1")
    shapes = tunable_shapes(unet, rank=160)
    wide = {
        f"{name}.conv_temporal"
        for name, module in unet.named_modules()
        if getattr(module, "kernel_size", None) == (3, 3)
    }
    added = shapes.keys() - tunable_shapes(unet)
    assert added == {
        f"{name}.{part}.weight" for name in wide for part in ("down", "up")
    }
    assert shapes["conv_in.conv_temporal.down.weight"] == (160, 320, 3)
    assert shapes["conv_in.conv_temporal.up.weight"] == (320, 160, 3)
    assert shapes["conv_out.conv_temporal.down.weight"] == (2, 4, 3)


@pytest.mark.parametrize("rank", [0, 3])
def test_untuned_it_is_the_image_model(small, rank):
    """TV1, bit for bit: with sparse-causal attention and statistics of all frames, but
    nothing over time."""
    weights = untuned(small.unet, rank, seeded(0))
    step, text = small.schedule.sampling(3)[1], small.embed([WORDS, "a fox"])
    for patches in ((), (joint_norm(FRAMES),)):
        change = Intervention(sparse_causal(FRAMES, CPU), patches)
        usual = small.predict(noisy(2 * FRAMES), step, text, change)
        found = small.predict(
            noisy(2 * FRAMES),
            step,
            text,
            with_weights(change, weights, FRAMES),
        )
        assert all(torch.equal(*both) for both in zip(usual, found, strict=True))


def test_untuned_weights_are_the_models_queries_and_random_inner_layers(small):
    weights, again, other = (untuned(small.unet, 3, seeded(seed)) for seed in (0, 0, 1))
    shapes = {name: tuple(weight.shape) for name, weight in weights.items()}
    assert shapes == tunable_shapes(small.unet, 3)
    for name, weight in weights.items():
        assert torch.equal(weight, again[name])
        if name.endswith("to_q.weight") and ".attn_temp." not in name:
            assert torch.equal(weight, small.unet.get_parameter(name))
            assert weight.data_ptr() != small.unet.get_parameter(name).data_ptr()
        elif name.endswith(("to_out.0.weight", "to_out.0.bias", "up.weight")):
            assert not weight.any()
        else:
            assert not torch.equal(weight, other[name])
            assert 0 < weight.abs().max() <= weight[0].numel() ** -0.5


@pytest.mark.parametrize("rank", [0, 3])
def test_a_call_with_weights_is_the_network_written_out(small_double, rank):
    """Each weight in the place that its name says, for the rows of two branches."""
    model, step = small_double, small_double.schedule.sampling(3)[1]
    fresh = seeded(1)
    weights = untuned(model.unet, rank, fresh)
    weights = {
        n: (x + 0.1 * torch.randn(x.shape, generator=fresh)).double()
        for n, x in weights.items()
    }
    x, text = noisy(2 * FRAMES).double(), model.embed([WORDS, "a fox"])
    joint = Intervention(sparse_causal(FRAMES, CPU), (joint_norm(FRAMES),))
    change = with_weights(joint, weights, FRAMES)
    _, eps = model.predict(x, step, text, change)
    unet = reference.network(model.unet, weights)
    words, told = text.vectors.double().split(1), torch.tensor(step.t)
    halves = zip(x.split(FRAMES), words, strict=True)
    expected = [
        unet(rows, told, vectors.expand(FRAMES, -1, -1)).sample
        for rows, vectors in halves
    ]
    torch.testing.assert_close(eps, torch.cat(expected), atol=1e-7, rtol=1e-6)


@pytest.mark.parametrize("recompute", [False, True])
def test_a_view_of_a_model_adds_the_weights_to_every_call_and_leaves_the_model(
    small, recompute
):
    adapter = learned(small, tune_steps=1, learning_rate=0.01)
    view = tuned(small, adapter)
    given = noisy(FRAMES), small.schedule.sampling(3)[1], small.embed([WORDS])
    plain = small.predict(*given)
    for change in (Intervention(sparse_causal(FRAMES, CPU)), Intervention()):
        bound = with_weights(change, adapter.weights, FRAMES)
        expected = small.predict(*given, bound)
        found = view.predict(*given, change, recompute=recompute)
        assert all(map(torch.equal, found, expected))
        assert not torch.equal(found[1], plain[1])
    assert all(map(torch.equal, plain, small.predict(*given)))
    assert (view.id, view.sites) == (small.id, small.sites)


def test_the_fingerprint_of_a_view_tells_models_and_weights_apart(small):
    adapter = learned(small, tune_steps=0)
    name = next(iter(adapter.weights))
    moved = Adapter(
        adapter.facts, {**adapter.weights, name: adapter.weights[name] + 1e-6}
    )
    found = [tuned(small, one).fingerprint for one in (adapter, moved)]
    assert len({small.fingerprint, *found}) == 3
    assert tuned(small, adapter).fingerprint == found[0]
    assert (
        found[0] == adapter.digest(small.fingerprint) != adapter.digest("another model")
    )
