"""SAMs that are one .safetensors file: what they are by their tensors, and the folder
in which they are used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from regrain.editing.errors import ModelError
from regrain.editing.storage.local_models import local_entries
from regrain.editing.storage.safetensors_files import opened, state_of

FILE = "model.safetensors"
Shapes = Mapping[str, Sequence[int]]
# Of the first SAM, as segment-anything has it, by the width of its encoder.
_FIRST = {768: "vit_b", 1024: "vit_l", 1280: "vit_h"}
_FIRST_WIDTH = "image_encoder.patch_embed.proj.weight"


def first_size(shapes: Shapes) -> str:
    """Return which first SAM weights are, as the library names them (`vit_b`); empty
    of others."""
    return _FIRST.get(shapes.get(_FIRST_WIDTH, [0])[0], "")


def first_sams() -> dict[str, str]:
    """Return the sizes of the first SAMs in $REGRAIN_MODELS that are folders with such
    a file, by their names."""
    found = {one.name: _first_in(one, state_of(one)) for one in local_entries()}
    return {name: size for name, size in found.items() if size}


@lru_cache(maxsize=64)
def _first_in(folder: Path, _state: object) -> str:
    """Read the size of a first SAM in a folder; `_state` is that of its files, which
    the cache compares."""
    try:
        return first_size(shapes_of(folder / FILE))
    except ModelError:  # others, and broken ones
        return ""


def shapes_of(path: Path) -> dict[str, tuple[int, ...]]:
    """Read the shapes of the tensors of a file; raises as `opened` does."""
    with opened(path, "model", path.name) as file:
        names = [*file.keys()]
        return {name: tuple(file.get_slice(name).get_shape()) for name in names}
