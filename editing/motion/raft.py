"""RAFT: optical flow by a network, if its weights are present. They are never
downloaded."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float32
from torch import Tensor, nn

from regrain.editing.boundary import boundary
from regrain.editing.errors import ModelError
from regrain.editing.media.lazy_frames import Rgb, RgbFrames, Shape
from regrain.editing.storage.devices import choose_device
from regrain.editing.storage.local_models import local_entries
from regrain.editing.storage.safetensors_files import LOADING

KINDS = ("raft_large", "raft_small")
_LEAST_SIDE = 128  # smaller ones have no room for the network's four levels of eighths
_MULTIPLE = 8


def find_raft() -> Path | None:
    """Find weights in the folder `$REGRAIN_MODELS`, the large network's before the
    small one's.

    Files are like `raft_large.safetensors`, or torchvision's own,
    `raft_large_C_T_SKHT_V2-ff5fadd5.pth`.
    """
    entries = local_entries()
    for kind in KINDS:
        for pattern in (f"{kind}.safetensors", f"{kind}_*.pth"):
            for path in entries:
                if path.match(pattern):
                    return path
    return None


def load_raft(path: Path) -> nn.Module:
    """Load the network from a file, and keep it for later calls.

    Raises:
        ModelError: The weights are not RAFT's, or no numbers, or the file is a pickle
            that torchvision did not publish.
    """
    return _load(path.resolve(), path.stat().st_mtime_ns)


@torch.no_grad()
def estimate_raft_flow(
    network: nn.Module,
    frames: RgbFrames,
    targets: RgbFrames,
) -> Float32[Tensor, "frames 2 height width"]:
    """Estimate flow as `editing.motion.flow.estimate_flow` returns it, by a RAFT
    network of torchvision.

    Small frames are enlarged to 128 pixels; edges are repeated up to multiples of 8
    pixels.

    Source: Teed and Deng 2020, arXiv:2003.12039, as in torchvision.
    """
    height, width = frames.shape[1:3]
    scale = max(1.0, _LEAST_SIDE / min(height, width))
    large_height = round(height * scale)
    large_width = round(width * scale)
    shrinking = torch.tensor([width / large_width, height / large_height])
    device = next((p.device for p in network.parameters()), torch.device("cpu"))
    flows = []
    # A pair at a time: correlations take (pixels / 64) squared numbers.
    for pair in zip(frames, targets, strict=True):
        given = (_prepare(one, (large_height, large_width)).to(device) for one in pair)
        *_, refined = network(*given)
        large = refined.float().cpu()[..., :large_height, :large_width]
        large = large * shrinking.view(1, 2, 1, 1)
        flows.append(F.interpolate(large, (height, width), mode="area"))
    return torch.cat(flows)


def _prepare(frame: Rgb, size: Shape) -> Float32[Tensor, "1 3 large wide"]:
    x = torch.from_numpy(frame.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1
    if x.shape[-2:] != size:
        x = F.interpolate(x, size, mode="bilinear")
    return F.pad(
        x, (0, -size[1] % _MULTIPLE, 0, -size[0] % _MULTIPLE), mode="replicate"
    )


@lru_cache(maxsize=1)
def _load(path: Path, _changed: int) -> nn.Module:
    from safetensors.torch import load_file
    from torchvision.models import optical_flow

    kind = next(kind for kind in KINDS if path.name.startswith(kind))
    with LOADING:
        network = getattr(optical_flow, kind)(weights=None)
    said = f"{path.name!r} has no weights of {kind}. Download it again."
    with boundary("flow", said, ModelError):
        if path.suffix == ".safetensors":
            weights = load_file(path)
        else:
            _check_published(path, getattr(optical_flow, f"{kind.title()}_Weights"))
            weights = torch.load(path, map_location="cpu", weights_only=True)
        network.load_state_dict(weights)
        if not all(weight.isfinite().all() for weight in weights.values()):
            raise ValueError
    return network.eval().requires_grad_(False).to(choose_device())


def _check_published(path: Path, published: Iterable) -> None:
    """Check that a file is torchvision's, whose names end in the first digits of the
    file's SHA-256.

    Another pickle could run code.
    """
    found = (re.search(r"-([0-9a-f]{8,})\.pth$", weights.url) for weights in published)
    digits = tuple(match[1] for match in found if match)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if not digest.startswith(digits):
        raise ModelError(
            "flow",
            f"{path.name!r} is not one of torchvision's checkpoints, and another "
            "pickle could run code. Download it again, or use .safetensors.",
        )
