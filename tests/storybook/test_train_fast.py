"""The fast edits of the built-in model: that what is trained is what runs, as it is
shipped."""

import copy
from contextlib import nullcontext

import pytest
import torch
from made_models import randn

from regrain.editing.diffusion.samplers import Sampling
from regrain.editing.diffusion.schedule import guide
from regrain.editing.methods.instruct_pix2pix import SeeingModel
from regrain.editing.models.loading.load import load_backbone
from regrain.editing.models.unet.control_net import ControlNets
from regrain.editing.params.registry import check_params
from regrain.editing.recipe.window import working_clip
from storybook.training import fast
from storybook.training.edits import (
    WHOLE,
    edit_tensors,
    encoded,
    sample_edit,
    stacked,
)
from storybook.training.fast import Network, go_on, loss_of, ship, widen

pytestmark = pytest.mark.full

SHIPPED = load_backbone("storybook", ["storybook/fast"]).defaults["instruct_pix2pix"]


@pytest.fixture
def plain():
    return load_backbone("storybook", dtype=torch.float32)


def changed(plain) -> torch.nn.Module:
    """The network with other weights everywhere."""
    unet = copy.deepcopy(plain.unet)
    widen(unet)
    for number, weight in enumerate(unet.parameters()):
        weight.data += 0.05 * randn(*weight.shape, seed=number) * weight.std()
    return unet


def rows_of(plain, *seeds, side=WHOLE):
    """What is trained on, of some edits."""
    found = encoded(stacked(edit_tensors(seed, side) for seed in seeds), plain)
    return {
        name: value.float() if value.is_floating_point() else value
        for name, value in found.items()
    }


def edit_of_part_of_the_frame(seed: int) -> int:
    """The first seed from `seed` on whose edit leaves something outside."""
    while True:
        request = sample_edit(seed).request
        cells = request.edited_mask.read(0, 1)
        if request.regions and cells.any() and not cells.all():
            return seed
        seed += 1


@torch.no_grad()
def test_what_is_trained_is_what_runs(plain, tmp_path, monkeypatch):
    """The guided answer of an edit with the shipped files is that of the training."""
    monkeypatch.setattr(fast, "mixed", nullcontext)
    seed = edit_of_part_of_the_frame(3)
    request = sample_edit(seed).request
    unet = changed(plain)
    ship(unet, plain.unet, tmp_path / "fast")
    rows = rows_of(plain, seed)

    backbone = load_backbone("storybook", [str(tmp_path / "fast")], dtype=torch.float32)
    assert backbone.size == WHOLE
    working = working_clip(backbone, request)
    source = backbone.encode(working.frames)
    params = check_params("instruct_pix2pix", SHIPPED)
    control = ControlNets(params.control, working.frames, backbone)
    model = SeeingModel(backbone, request, params, working, source, control)
    step = Sampling(backbone.schedule, params.sampler, params.steps).steps[2]
    x = randn(*source.shape, seed=1)
    ran, _ = model.predict(x, step)

    level = torch.tensor([step.t])

    def trained(network: Network) -> torch.Tensor:
        free = network.x0(network.wordless(rows), x, level)
        return guide(free, network.x0(rows, x, level), params.guidance_scale)

    before = copy.deepcopy(plain.unet)
    widen(before)
    found = trained(Network(unet, plain))
    far = (ran - found).abs().mean()
    assert far < 0.01 * (trained(Network(before, plain)) - found).abs().mean()


def test_a_training_goes_on_from_what_was_shipped(plain, tmp_path):
    unet = changed(plain)
    ship(unet, plain.unet, tmp_path)
    again = copy.deepcopy(plain.unet)
    widen(again)
    go_on(again, tmp_path)
    for name, weight in unet.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], weight, atol=1e-3, rtol=0)
    assert all(file.stat().st_size < 10_000_000 for file in tmp_path.iterdir())


def test_the_loss_weighs_what_is_edited(plain, monkeypatch, no_grad):
    """A network that draws the truth has none; what is wrong outside counts little, and
    where an old thing was most."""
    rows = rows_of(plain, edit_of_part_of_the_frame(3), side=128)
    network = Network(plain.unet, plain)

    def loss(wrong: torch.Tensor | float) -> float:
        found = rows["wanted"] + wrong
        monkeypatch.setattr(network, "x0", lambda *_: found)
        rng = torch.Generator().manual_seed(2)
        return float(loss_of(network, rows, rng))

    assert loss(0.0) == 0
    inside = rows["inside"].float()
    ground = rows["ground"].float() / 100
    outside = loss(1 - inside) / (1 - inside).sum()
    assert 0 < ground.mean() < inside.mean()
    for cells in (inside * (ground == 0), inside * (ground > 0)):
        each = loss(cells) / cells.sum()
        weight = 1.05 + 1.5 * (cells * ground).sum() / cells.sum()
        assert float(outside / each) == pytest.approx(float(0.05 / weight))


def test_without_words_nothing_is_bound(plain):
    rows = rows_of(plain, *range(4), side=128)
    network = Network(plain.unet, plain)
    which = torch.tensor([True, False, True, False])
    free = network.wordless(rows, which)
    empty = plain.embed([""]).vectors[0]
    assert torch.allclose(free["text"][0].float(), empty, atol=1e-3)
    assert (free["words"][0] == -1).all()
    assert (free["codes256"][2] == -2).all()
    for name, value in rows.items():
        assert free[name][1::2].equal(value[1::2])
