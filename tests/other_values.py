"""A value that is not the default for every field of an edit and of a region; a file is
only named."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from made_clips import black
from PIL import Image

from regrain.editing import EditRequest, Region

EDIT = {
    "source_prompt": "a cat walks",
    "prompt": "a fox walks",
    "negative_prompt": "fog",
    "method": "sdedit",
    "params": {"steps": 3},
    "model": "owner/name",
    "prediction": "v_prediction",
    "more_prompts": ("a dog walks",),
    "loras": ("loras/ink@0.5",),
    "motion": "motion/lcm@0.5",
    "picture": "toy.png",
    "picture_scale": 0.5,
    "picture_adapter": "pictures/plus",
    "reader": "readers/clip",
    "adapter": "mine",
    "seed": 7,
    "focus": "on 0.5",
    "size": 64,
}
REGION = {
    "name": "right",
    "label": 2,
    "prompt": "a fox",
    "source": "a cat",
    "color": "#102030",
    "strength": 0.5,
    "negative": "fog",
    "margin": 3,
    "feather": 4,
    "drawn": (0,),
    "clicked": (1,),
    "picture": "toy.png",
    "picture_scale": 0.5,
    "note": "Asked for by the director.",
}


def make_request(**edit) -> EditRequest:
    """A request for two frames without regions."""
    return EditRequest(black(2, 16, 16), None, (), **edit)


def with_region(**values) -> EditRequest:
    """A request with one region, everywhere."""
    region = Region(**{"name": "left", "label": 1} | values)
    labels = np.full((2, 16, 16), region.label, np.uint8)
    return replace(make_request(), labels=labels, regions=(region,))


def write_files(folder: Path) -> None:
    """Write the files that the values name into a folder."""
    Image.new("RGB", (8, 8), (200, 40, 40)).save(folder / "toy.png")
    (folder / "mine.safetensors").write_bytes(b"weights")
