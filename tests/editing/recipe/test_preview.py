"""The linear preview recovers what is linear; previews come when they are due."""

import numpy as np
import torch
from made_clips import off
from made_models import SCHEDULER, seeded

from regrain.editing.attention.layers import Grid
from regrain.editing.diffusion.schedule import Schedule
from regrain.editing.recipe.events import Preview
from regrain.editing.recipe.preview import LatentPreview, StepEvents
from regrain.editing.recipe.window import ResizedClip, WindowFrames


def test_preview_recovers_colours_that_depend_linearly_on_latents():
    latents = torch.rand(4, 3, 8, 8, generator=seeded(0))
    frames = (
        (latents * 200 + 20)
        .round()
        .byte()
        .movedim(1, -1)
        .numpy()
        .repeat(8, 1)
        .repeat(8, 2)
    )
    preview = LatentPreview(latents, frames, zoom=1)
    assert off(preview(latents), frames[:, ::8, ::8].astype(int)).max() <= 4


def test_a_clip_of_one_colour_has_previews_in_it():
    """As few colours as a still clip may have: fewer than the map has weights."""
    latents = torch.full((2, 3, 4, 4), 0.5)
    frames = np.full((2, 32, 32, 3), 90, np.uint8)
    shown = LatentPreview(latents, frames)(latents)
    assert off(shown, 90).max() <= 1


def previewed(piece, every, steps):
    """The previews of every step, with maps that hold the places of the frames."""
    latents, frames = (
        torch.rand(len(piece), 3, 4, 4),
        np.zeros((len(piece), 32, 32, 3), np.uint8),
    )
    working = ResizedClip(
        frames, Grid(len(piece), 4, 4), None, piece, tuple(range(len(piece)))
    )
    told = StepEvents(latents, working, every, steps)
    places = lambda shown: {"n": np.float32(shown)[:, None, None]}  # noqa: E731
    return [
        [event for event in told(step, latents, places) if isinstance(event, Preview)]
        for step in Schedule.from_config(SCHEDULER).sampling(steps)
    ]


def test_previews_come_every_few_steps_and_show_eight_frames():
    found = previewed(WindowFrames.whole(20), 3, 7)
    assert [len(previews) for previews in found] == [1, 0, 0, 1, 0, 0, 1]
    first = found[0][0]
    assert list(first.indices) == first.attention["n"].ravel().tolist()
    assert (first.indices[0], first.indices[-1], first.frames.shape) == (
        0,
        19,
        (8, 16, 16, 3),
    )
    assert not any(previewed(WindowFrames.whole(20), 0, 7))


def test_anchors_are_not_shown_again():
    ((found,),) = previewed(WindowFrames((0, 7, 8, 10, 12), anchors=2), 1, 1)
    assert found.indices == (8, 10, 12)
    assert found.attention["n"].ravel().tolist() == [2, 3, 4]
