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
    r"image_encoder\.|prompt_encoder\.|mask_decoder\.(transformer|iou_|mask_tokens|"
    r"output_)"
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
            "may be HQ-SAM. Use sam_vit_b_01ec64.pth, or a SAM 2.",
        )
    return size


@lru_cache(maxsize=64)
def _first_in(folder: Path, _state: object) -> tuple[str, str]:
    """Read the size of a first SAM in a folder, and the name of a tensor that is none of
    it; `_state` is that of its files, which the cache compares."""
    with opened(folder / FILE, "model", folder.name) as file:
        names = [*file.keys()]
        if _FIRST_WIDTH not in names:
            return "", ""
        width, *_ = file.get_slice(_FIRST_WIDTH).get_shape()
    others = [name for name in names if not re.match(_KNOWN, name)]
    return _FIRST.get(width, ""), min(others, default="")
