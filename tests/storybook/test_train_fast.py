"""The fast edits of the built-in model: what they are trained on, and that what is
trained is what runs."""

import copy
from contextlib import nullcontext

import torch

from regrain.editing.methods.infedit import Branches, steps_taken
from regrain.editing.models.loading.load import load_backbone
from regrain.editing.params.infedit import InfEditParams
from regrain.editing.recipe.window import working_clip
from storybook import train_fast
from storybook.train_fast import (
    FRAMES,
    Critic,
    LowRank,
    Network,
    _stacked,
    draw,
    edit_tensors,
    sample_edit,
    ship,
    widen,
)
from storybook.world import render_frames

AS_TRAINED = InfEditParams(
    steps=8,
    guidance_scale=1.0,
    hold=0.0,
    self_until=0.0,
    modulate_until=1.0,
    self_strength=0.0,
    cross_strength=1.0,
    schedule_power=0.0,
    size_term=False,
)
"""The settings whose calls of the network are those of the training."""


def changed(unet) -> LowRank:
    """Widen a network, and return a LoRA that changes every layer, as a file holds it."""
    torch.manual_seed(0)
    widen(unet)
    changes = LowRank(unet, 2, None)
    for factor in (*changes.down.values(), *changes.up.values()):
        factor.data.normal_(std=0.1)
        factor.data = factor.data.half().float()
    return changes


def edit_of_part_of_the_frame(seed: int) -> int:
    """Return the first seed from `seed` on whose edit leaves something outside."""
    while True:
        *_, request = sample_edit(seed)
        cells = request.edited_mask.read(0, FRAMES)
        if cells.any() and not cells.all():
            return seed
        seed += 1


def test_the_true_edit_differs_inside_the_regions_alone():
    seed = edit_of_part_of_the_frame(0)
    scene, truth, frames, request = sample_edit(seed)
    before = request.clip.read(0, FRAMES)
    after = render_frames(truth, before.shape[1], tuple(frames))
    inside = request.edited_mask.read(0, FRAMES)
    assert scene.caption != truth.caption
    assert (before != after).any(-1)[inside].any()
    rows = edit_tensors(seed, load_backbone("storybook"))
    far = (rows["given"].float() - rows["source"].float()).abs()
    assert far[rows["inside"].expand_as(far) == 1].mean() > 0.1  # hidden


@torch.no_grad()
def test_what_is_trained_is_what_runs(tmp_path, monkeypatch):
    """The calls of an edit with the shipped LoRA are those that were trained."""
    monkeypatch.setattr(train_fast, "mixed", nullcontext)
    *_, request = sample_edit(seed := edit_of_part_of_the_frame(3))
    plain = load_backbone("storybook", dtype=torch.float32)
    unet = copy.deepcopy(plain.unet)
    changes = changed(unet)
    ship(changes, unet, tmp_path / "fast")
    abar = torch.from_numpy(plain.schedule.alphas_cumprod).float()
    rows = _stacked(iter([edit_tensors(seed, plain)]))

    backbone = load_backbone("storybook", [str(tmp_path / "fast")], dtype=torch.float32)
    working = working_clip(backbone, request)
    source = backbone.encode(working.frames)
    branches = Branches(backbone, request, AS_TRAINED, working, source)
    step = steps_taken(backbone.schedule, AS_TRAINED)[2]
    x = torch.randn(source.shape, generator=torch.Generator().manual_seed(1))
    ran = branches.predict({"source": x, "cond": x, "layout": x}, step)["cond"]

    level = torch.tensor([step.t])
    trained = Network(unet, changes, abar).x0(rows, x[None], level)[0]
    before = Network(unet, LowRank(unet, 2, None), abar).x0(rows, x[None], level)[0]
    assert (ran - trained).abs().mean() < 0.01 * (before - trained).abs().mean()


def test_every_factor_learns():
    plain = load_backbone("storybook", dtype=torch.float32)
    unet = copy.deepcopy(plain.unet).requires_grad_(False)
    changes = changed(unet)
    abar = torch.from_numpy(plain.schedule.alphas_cumprod).float()
    rows = _stacked(edit_tensors(seed, plain) for seed in (1, 2))
    rng = torch.Generator().manual_seed(0)
    network = Network(unet, changes, abar)
    draw(network, rows, 2, abar, rng).loss(Critic()).backward()
    for name, factor in changes.named_parameters():
        assert factor.grad is not None, name
        assert factor.grad.any(), name
