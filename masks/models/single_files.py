"""SAMs that are one .safetensors file: what they are by their tensors, and the folder
in which they are used."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from regrain.editing.errors import ModelError, shorten
from regrain.editing.storage.local_models import ASSETS, local_entries
from regrain.editing.storage.safetensors_files import opened, state_of
from regrain.editing.storage.texts import Json, read_text

FILE = "model.safetensors"
Shapes = Mapping[str, Sequence[int]]
# Of the first SAM, as segment-anything has it, by the width of its encoder.
_FIRST = {768: "vit_b", 1024: "vit_l", 1280: "vit_h"}
_FIRST_WIDTH = "image_encoder.patch_embed.proj.weight"
# Of SAM 2, as transformers has it.
_WIDTH = "vision_encoder.backbone.patch_embed.projection.weight"
_BLOCK = "vision_encoder.backbone.blocks."
_FROM_2_1 = "occlusion_spatial_embedding_parameter"
_SIZES = ASSETS / "sam2.json"  # as its authors configured it, by width and blocks


def first_size(shapes: Shapes) -> str:
    """Return which first SAM weights are, as the library names them (`vit_b`); empty
    of others."""
    return _FIRST.get(shapes.get(_FIRST_WIDTH, [0])[0], "")


def usual_name(shapes: Shapes, title: str) -> str:
    """Return the name under which a SAM is published; empty of what is none.

    Raises:
        ModelError: It is a SAM that cannot be used, which is called by its `title`.
    """
    if size := first_size(shapes):
        return f"sam_{size}"
    if found := _second(shapes):
        return f"{'sam2.1' if _FROM_2_1 in shapes else 'sam2'}-hiera-{found['size']}"
    if any("mask_decoder." in name for name in shapes):
        said = f"{shorten(title)} is a SAM in a form that is not read."
        raise ModelError("model", f"{said} Drop {FILE} of facebook/sam2.1-hiera-tiny.")
    return ""


def _second(shapes: Shapes) -> Json | None:
    """Return what the authors say of a SAM 2; None of what is none."""
    width = shapes.get(_WIDTH, [0])[0]
    blocks = {name.split(".")[3] for name in shapes if name.startswith(_BLOCK)}
    return _published().get(f"{width}-{len(blocks)}")


def _published() -> Json:
    return json.loads(read_text(_SIZES))


def describe(path: Path, folder: Path) -> None:
    """Write what transformers reads beside the file of a SAM 2 into its folder; nothing
    of others."""
    shapes = shapes_of(path)
    if not (found := _second(shapes)):
        return
    is_newer = _FROM_2_1 in shapes
    config = {
        "model_type": "sam2_video",
        "vision_config": found["vision"],
        "enable_occlusion_spatial_embedding": is_newer,
        "enable_temporal_pos_encoding_for_object_pointers": is_newer,
    }
    (folder / "config.json").write_text(json.dumps(config))
    processor = json.dumps(_published()["processor"])
    (folder / "processor_config.json").write_text(processor)


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
