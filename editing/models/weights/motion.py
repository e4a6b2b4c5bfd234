"""Motion adapters: folders in diffusers' format, hub ids, and single files with the
authors' names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from regrain.editing.boundary import boundary
from regrain.editing.errors import ModelError, shorten
from regrain.editing.models.files.configs import read_part
from regrain.editing.models.files.download import PART_FILES, obtain
from regrain.editing.models.files.location import BUILT_IN_MOTION, about
from regrain.editing.models.weights.tensors import read_tensors
from regrain.editing.storage.by_name import Tensors
from regrain.editing.storage.safetensors_files import no_weights, weight_files
from regrain.editing.storage.texts import Json

FIELD = "motion"
_WIDTH = 320  # channels of the finest level of published models
# The authors' names and those of diffusers.
_RENAMED = (
    (r"^module\.", ""),
    (r"\.temporal_transformer\.", "."),
    (r"\.attention_blocks\.0\.", ".attn1."),
    (r"\.attention_blocks\.1\.", ".attn2."),
    (r"\.norms\.0\.", ".norm1."),
    (r"\.norms\.1\.", ".norm2."),
    (r"\.ff_norm\.", ".norm3."),
)
_POSITIONS = re.compile(r"\.(pos_encoder|pos_embed)\.pe$")
_MODULE = re.compile(
    r"((?:down_blocks|up_blocks)\.\d+\.motion_modules\.\d+|mid_block\.motion_modules\.\d+)\."
    r"((?:norm|proj_in|proj_out|transformer_blocks\.\d+\.(?:norm[123]|ff\.net\.(?:0\.proj|2)"
    r"|attn[12]\.to_(?:[qkv]|out\.0)))\.(?:weight|bias))"
)


class MotionFile:
    """An adapter as it is in a file, not yet sorted by a model's modules.

    Attributes:
        modules: Weights by module of the adapter, such as
            "down_blocks.0.motion_modules.1".
        positions: Frames at most.
        heads: Of attention, per level of the UNet from the finest, or one number for
            all.
        groups: Groups of its normalisation.
        betas: `beta_schedule` of the model it was trained on; None is the model's own.
    """

    def __init__(self, id: str) -> None:
        """Read an adapter.

        Raises:
            ModelError: It is missing, damaged, a pickle, or of another kind.
        """
        path, config = _locate(id)
        tensors = read_tensors(path, FIELD, id)
        for old, new in _RENAMED:
            tensors = {re.sub(old, new, name): one for name, one in tensors.items()}
        if any("lora" in name for name in tensors):
            raise _other_kind(id, "is a motion LoRA, which changes an adapter")
        reads_picture = any(name.startswith("conv_in.") for name in tensors)
        if reads_picture or config.get("conv_in_channels"):
            raise _other_kind(id, "takes a picture as input, as PIA does")
        self.id = id
        self.modules: dict[str, Tensors] = {}
        lengths = []  # of all tables of positions
        for name, tensor in tensors.items():
            module = _MODULE.fullmatch(name)
            if _POSITIONS.search(name):
                lengths.append(tensor.shape[-2])
            elif module:
                self.modules.setdefault(module[1], {})[module[2]] = tensor
            else:
                raise _other_kind(id, f"has {shorten(name)}")
        if not self.modules:
            raise _other_kind(id, "has no motion modules")
        with boundary(
            FIELD,
            f"The numbers of {shorten(id)} cannot be read. Download it again.",
            ModelError,
        ):
            usual_length = config.get("motion_max_seq_length", 32)
            self.positions = int(min(lengths, default=usual_length))
            self.heads: int | Sequence[int] = config.get(
                "motion_num_attention_heads", 8
            )
            self.groups = int(config.get("motion_norm_num_groups", 32))
        # All published ones for Stable Diffusion 1.5 were trained with linear betas,
        # which no file says.
        is_published = self.width("down_blocks.0.motion_modules.0") == _WIDTH
        usual_betas = "linear" if is_published else None
        self.betas: str | None = config.get("beta_schedule", usual_betas)

    def width(self, module: str) -> int:
        """Return the channels of the place that a module follows; 0 without the
        module."""
        norm = self.modules.get(module, {}).get("norm.weight")
        return 0 if norm is None else len(norm)


def _locate(id: str) -> tuple[Path, Json]:
    """Find the file with the weights, and read the config beside it, if there is
    one."""
    with about(FIELD):
        folder = obtain(id, BUILT_IN_MOTION, PART_FILES)
        if folder.is_file():
            return folder, {}
        config = read_part(folder / "config.json", id, "motion")
    found = weight_files(folder)
    if not found:
        raise no_weights(folder, shorten(id), FIELD)
    return found[0], config


def _other_kind(id: str, reason: str) -> ModelError:
    return ModelError(
        FIELD,
        f"{shorten(id)} {reason}. Use a motion adapter of AnimateDiff or AnimateLCM.",
    )
