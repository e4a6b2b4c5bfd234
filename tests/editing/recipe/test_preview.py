"""The linear preview recovers what is linear; previews come when they are due."""

import numpy as np
import torch
from conftest import SCHEDULER

from regrain.editing.attention.layers import Grid
from regrain.editing.diffusion.schedule import Schedule
from regrain.editing.recipe.preview import LatentPreview, Previews
from regrain.editing.recipe.window import ResizedClip, WindowFrames


def test_preview_recovers_colours_that_depend_linearly_on_latents():
    latents = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    frames = (latents * 200 + 20).round().byte().movedim(1, -1).numpy().repeat(8, 1).repeat(8, 2)
    preview = LatentPreview(latents, frames, zoom=1)
    assert np.abs(preview(latents).astype(int) - frames[:, ::8, ::8].astype(int)).max() <= 4


def numbered(shown):
    """Maps that hold the places of the frames."""
    return {"n": np.float32(shown)[:, None, None]}


def test_previews_come_every_few_steps_and_show_eight_frames():
    latents, frames = torch.rand(20, 3, 4, 4), np.zeros((20, 32, 32, 3), np.uint8)
    working = ResizedClip(frames, Grid(20, 4, 4), None, WindowFrames.whole(20))
    steps = Schedule.from_config(SCHEDULER).sampling(7)
    found = [
        list(
            Previews(latents, working, 3)(
                step, latents, lambda shown: {"n": np.float32(shown)[:, None, None]}
            )
        )
        for step in steps
    ]
    assert [len(previews) for previews in found] == [1, 0, 0, 1, 0, 0, 1]
    assert list(found[0][0].indices) == found[0][0].attention["n"].ravel().tolist()
    assert found[0][0].indices[0] == 0
    assert found[0][0].indices[-1] == 19
    assert found[0][0].frames.shape == (8, 16, 16, 3)
    assert not any(list(Previews(latents, working, 0)(step, latents, lambda _: {})) for step in steps)


def test_anchors_are_not_shown_again():
    latents, frames = torch.rand(5, 3, 4, 4), np.zeros((5, 32, 32, 3), np.uint8)
    working = ResizedClip(frames, Grid(5, 4, 4), None, WindowFrames((0, 7, 8, 10, 12), anchors=2))
    (step,) = Schedule.from_config(SCHEDULER).sampling(1)
    (found,) = Previews(latents, working, 1)(
        step, latents, lambda shown: {"n": np.float32(shown)[:, None, None]}
    )
    assert found.indices == (8, 10, 12)
    assert found.attention["n"].ravel().tolist() == [2, 3, 4]
