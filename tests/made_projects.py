"""Small projects that the built-in model edits in seconds."""

from fractions import Fraction
from pathlib import Path

import numpy as np

from regrain.editing import ArrayClip, EditRequest, save_project
from storybook.rendering import render_frames
from storybook.world import sample_scene

PARAMS = {"steps": 1, "strength": 0.5, "preview_every": 0}


def write_project(folder: Path, shots: int = 1, **values) -> Path:
    """A project of drawn shots of five frames each."""
    frames = np.concatenate(
        [render_frames(sample_scene(3 + 5 * shot, 5), 64) for shot in range(shots)]
    )
    clip = ArrayClip(frames, Fraction(8))
    given = {
        "method": "sdedit",
        "params": PARAMS,
        "prompt": "a pig on the grass",
        "size": 64,
        **values,
    }
    save_project(EditRequest(clip, None, (), **given), folder)
    return folder
