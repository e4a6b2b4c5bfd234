"""SAMs that are one .safetensors file: what they are by their tensors, and the folder
in which they are used."""

from __future__ import annotations

import re
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from regrain.editing.errors import ModelError, shorten
from regrain.editing.storage.local_models import local_entries
from regrain.editing.storage.safetensors_files import opened, state_of

FILE = "model.safetensors"
# Of the first SAM, as segment-anything has it, by the width of its encoder.
_FIRST = {768: "vit_b", 1024: "vit_l", 1280: "vit_h"}
_KNOWN = (
    r"image_encoder\.(pos_embed|patch_embed|neck|blocks\.\d+\.(norm|attn|mlp))|"
    r"prompt_encoder\.|mask_decoder\.(transformer|iou_|mask_tokens|output_)"
)
_FIRST_WIDTH = "image_encoder.patch_embed.proj.weight"


def first_sams() -> dict[str, str]:
    """Return the sizes of the first SAMs in $REGRAIN_MODELS that are folders with such
    a file, by their names."""
    found = {}
    for one in local_entries():
        with suppress(ModelError):  # others, and broken ones
            found[one.name] = first_size(one)
    return {name: size for name, size in found.items() if size}


def first_size(folder: Path) -> str:
    """Return which first SAM a folder has, as the library names it (`vit_b`); empty of
    other files.

    Raises:
        ModelError: The file is damaged, or has other tensors as well.
    """
    if not (folder / FILE).is_file():
        return ""
    size, other = _first_in(folder, state_of(folder))
    if other:
        raise ModelError(
            "model",
            f"{folder.name!r} has {shorten(other, 90)}, which the first SAM has not: it "
            "may be HQ-SAM, or tuned. Use sam_vit_b_01ec64.pth, or a SAM 2.",
        )
    return size


@lru_cache(maxsize=64)
def _first_in(folder: Path, _state: object) -> tuple[str, str]:
    """Read the size of a first SAM in a folder, and what it has that no first SAM has, a
    tensor or positions; `_state` is that of its files, which the cache compares."""
    with opened(folder / FILE, "model", folder.name) as file:
        shapes = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118 (no mapping)
    if _FIRST_WIDTH not in shapes:
        return "", ""
    width, *_ = shapes[_FIRST_WIDTH]
    others = [name for name in shapes if not re.match(_KNOWN, name)]
    # positions on a side, one for 16 pixels
    _, grid, *_ = shapes.get("image_encoder.pos_embed", (1, 64))
    if grid != 64:
        others.append(f"positions of {16 * grid} pixels")
    return _FIRST.get(width, ""), min(others, default="")
