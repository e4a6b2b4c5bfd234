"""Fresh noise is drawn from one generator, so that no two uses of it share what they draw."""

import torch
from conftest import SCHEDULER

from regrain.editing.diffusion.blending import mix_noise
from regrain.editing.diffusion.schedule import Schedule
from regrain.editing.methods.videograin import outside

STEP = Schedule.from_config(SCHEDULER).sampling(5)[0]
CLEAN = torch.zeros(3, 4, 8, 8)


def test_what_is_blended_outside_is_not_what_the_regions_begin_with():
    fresh = torch.Generator().manual_seed(3)
    begun = mix_noise(CLEAN, None, 1.0, fresh)
    blended = outside([CLEAN, CLEAN], STEP, "noise", fresh) / STEP.noise
    assert torch.equal(begun[0], begun[1])
    assert abs(torch.corrcoef(torch.stack([begun[0].flatten(), blended[0].flatten()]))[0, 1]) < 0.3


def test_without_variation_nothing_is_drawn():
    fresh, other = (torch.Generator().manual_seed(3) for _ in range(2))
    assert mix_noise(CLEAN, None, 0.0, fresh) is CLEAN
    assert torch.equal(*(outside([CLEAN] * 2, STEP, "noise", g) for g in (fresh, other)))
