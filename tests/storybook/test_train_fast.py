"""The fast edits of the built-in model: what they are trained on, and that what is
trained is what runs."""

import copy
from contextlib import nullcontext

import pytest
import torch
from made_models import randn

from regrain.editing.methods.infedit import Branches, steps_taken
from regrain.editing.models.loading.load import load_backbone
from regrain.editing.params.infedit import InfEditParams
from regrain.editing.recipe.window import working_clip
from storybook.training import fast
from storybook.training.critics import meanings
from storybook.training.edits import (
    FRAMES,
    edit_tensors,
    encoded,
    sample_edit,
    stacked,
)
from storybook.training.fast import (
    LowRank,
    Network,
    ship,
    widen,
)

pytestmark = pytest.mark.full

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


def rows_of(backbone, *seeds):
    """Return what is trained on, of some edits."""
    return encoded(stacked(edit_tensors(seed) for seed in seeds), backbone)


def edit_of_part_of_the_frame(seed: int) -> int:
    """Return the first seed from `seed` on whose edit leaves something outside."""
    while True:
        request = sample_edit(seed).request
        cells = request.edited_mask.read(0, FRAMES)
        if cells.any() and not cells.all():
            return seed
        seed += 1


@torch.no_grad()
def test_what_is_trained_is_what_runs(tmp_path, monkeypatch):
    """The calls of an edit with the shipped LoRA are those that were trained."""
    monkeypatch.setattr(fast, "mixed", nullcontext)
    seed = edit_of_part_of_the_frame(3)
    request = sample_edit(seed).request
    plain = load_backbone("storybook", dtype=torch.float32)
    unet = copy.deepcopy(plain.unet)
    changes = changed(unet)
    ship(changes, unet, tmp_path / "fast")
    abar = torch.from_numpy(plain.schedule.alphas_cumprod).float()
    rows = rows_of(plain, seed)

    backbone = load_backbone("storybook", [str(tmp_path / "fast")], dtype=torch.float32)
    working = working_clip(backbone, request)
    source = backbone.encode(working.frames)
    branches = Branches(backbone, request, AS_TRAINED, working, source)
    step = steps_taken(backbone.schedule, AS_TRAINED)[2]
    x = randn(*source.shape, seed=1)
    ran = branches.predict({"source": x, "cond": x, "layout": x}, step)["cond"]

    level = torch.tensor([step.t])
    trained = Network(unet, changes, abar).x0(rows, x[None], level)[0]
    before = Network(unet, LowRank(unet, 2, None), abar).x0(rows, x[None], level)[0]
    assert (ran - trained).abs().mean() < 0.01 * (before - trained).abs().mean()


def test_cells_mean_the_words_of_their_region():
    rows = rows_of(load_backbone("storybook"), edit_of_part_of_the_frame(0))
    meaning = meanings(rows)[0]
    codes = rows["codes256"][0].view(FRAMES, 1, 16, 16).expand_as(meaning)
    assert not meaning[codes == 0].any()
    words = rows["text"][0, rows["words"][0] == 1].float().mean(0)
    found = meaning.movedim(1, -1)[(codes == 1)[:, 0]]
    assert len(found)
    assert torch.allclose(found, words.expand_as(found), atol=1e-6)
