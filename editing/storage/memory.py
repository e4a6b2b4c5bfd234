"""Free memory, and the rule by which a run that does not fit is cut into smaller
pieces.

The rule, in this order. A piece may use half of what is free.

1. A long clip is edited in windows of 32 frames with their anchors, fewer if the widest tensors of all its
   branches do not fit, but at least 8. `window` decides otherwise.
2. The autoencoder takes up to 4 frames at once, fewer if 4 KiB a pixel and frame do not fit, and works in
   tiles if not even one frame does. A video model's takes 4, and works in tiles if 22 KiB a pixel are more
   than four fifths of what is free.
3. Weights are float16 on a graphics card and float32 on a CPU; bfloat16 there where float32 ones do not fit.
4. The parts of a model (text encoder, UNet, autoencoder) stay in main memory and take turns on a graphics
   card with memory of its own if their weights do not fit together. One that does not fit alone is brought
   there block by block; it is refused where two blocks do not fit.
5. The two halves of guidance of VideoGrain and FRESCO run one after the other if the widest tensors of both
   do not fit together; the other methods take all branches of all prompts in one call.
6. Tuning recomputes activations in the backward pass if they do not fit: a third more time.

But for windows, cutting changes no formula, though it can change the last bits of a
result; where there is room nothing is cut.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Mapping
from contextlib import suppress
from math import inf, prod
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import psutil

from regrain.editing.errors import ResourceError
from regrain.editing.storage.devices import VARIABLE, choose_device
from regrain.editing.storage.safetensors_files import (
    DIFFUSERS,
    TRANSFORMERS,
    read_shapes,
    weight_files,
)

if TYPE_CHECKING:
    import torch

    from regrain.editing.storage.by_name import Modules

FRAMES_AT_ONCE = 4
LEAST_WINDOW = 8
MOST_WINDOW = 32
_ARENA_MAX = -8  # M_ARENA_MAX of glibc's malloc.h
_SHARE = 0.5
_LARGEST = 0.8  # share of what is free of the only piece that is there
_AUTOENCODER_BYTES = 4096  # per pixel and frame: a gigabyte for a frame of 512 x 512
_VIDEO_BYTES = 22_528  # of a video model's, per pixel: it takes four frames at once
_READER_BLOCKS = 2.7  # GiB of what reads the prompts of Wan, block by block
# Of the feed-forward layer at the finest level with attention:
_WIDENING = 8  # 4 times the channels, twice for its gate
_WIDE_TENSORS = 4  # tensors of that width that are alive at once
# Weights as `editing.models.weights.folder` reads them, each whole or in shards.
_PARTS = {
    "unet",
    "transformer",
    "transformer_2",
    "vae",
    "text_encoder",
    "text_encoder_2",
}


class Need(NamedTuple):
    """Estimated needs of a family of models at a short side: GiB of weights and per
    frame, in float16; GiB of the weights that are on a card at a time where it is
    brought there block by block; GiB of what reads its prompts, where that is loaded
    for them alone."""

    family: str
    side: int
    weights: float
    per_frame: float
    blocks: float
    reader: float = 0.0

    def on_gpu(self, frames: int, free: float = inf) -> int:
        """Return the bytes of so many frames that are edited together on a graphics
        card with so many that are free. What reads the prompts takes turns with the
        rest; both come there block by block if they are more than half of it."""
        reader = self.reader
        if comes_in_blocks(reader, free):
            reader = _READER_BLOCKS
        in_float16 = self._there(free) + self.per_frame * frames
        return int(max(in_float16, reader) * 2**30)

    def _there(self, free: float) -> float:
        return self.blocks if comes_in_blocks(self.weights, free) else self.weights

    def most(self, free: float) -> int:
        """Return how many frames fit together on such a card."""
        frames = int((free / 2**30 - self._there(free)) / self.per_frame)
        return frames if frames >= 1 and self.on_gpu(1, free) <= free else 0

    def memory(self, frames: int) -> int:
        """Return the bytes of so many frames that are edited together here: in float16
        on a GPU, in float32 on a CPU, where nothing takes turns."""
        device = choose_device()
        times = _per_float16(device)
        if times == 1:
            return self.on_gpu(frames, _on_card(device))
        in_float16 = self.weights + max(self.per_frame * frames, self.reader)
        return int(in_float16 * 2**30 * times)

    def fits(self) -> str:
        """Say how many frames fit here, and how."""
        device = choose_device()
        free = free_memory(device)
        in_float16 = free / 2**30 / _per_float16(device)
        frames = int((in_float16 - self._there(_on_card(device))) / self.per_frame)
        if frames < 1 or self.memory(1) > free:
            return "does not fit"
        return f"about {frames} frames fit{self.how()}"

    def how(self) -> str:
        """Say that it comes to this machine's card block by block, if it does."""
        there = _on_card(choose_device())
        return ", block by block" if comes_in_blocks(self.weights, there) else ""


def fits(bytes: int | float, free: int | float) -> bool:
    """Tell whether so many bytes are no more than a piece may have of what is free."""
    return bytes <= _SHARE * free


def comes_in_blocks(weights: float, free: int | float) -> bool:
    """Tell whether so many GiB are more than a piece may have of a card."""
    return not fits(weights * 2**30, free)


def _on_card(device: torch.device) -> float:
    """Return the bytes that are free on a card with memory of its own, by which its
    models come in blocks; infinity elsewhere."""
    return inf if device.type in ("cpu", "mps") else free_memory(device)


def _per_float16(device: torch.device) -> int:
    """Return how much larger a number is here than in float16."""
    return 2 if device.type == "cpu" else 1


# Of Wan counted by `benchmarks.predicted`.
NEEDS = (
    Need("storybook", 128, 0.1, 0.02, blocks=0.1),
    Need("Stable Diffusion", 512, 2.2, 0.3, blocks=0.8),
    Need("Stable Diffusion", 768, 2.2, 0.7, blocks=0.8),
    Need("SDXL", 768, 6.6, 0.35, blocks=3.7),
    Need("SDXL", 1024, 6.6, 0.63, blocks=3.7),
    # Of two experts one at a time. Before the families with whose name their own begin.
    Need("Wan 2.2 VACE", 480, 32.3, 0.078, blocks=1.9, reader=10.6),
    Need("Wan 2.2 5B", 704, 9.3, 0.043, blocks=0.8, reader=10.6),
    Need("Wan 2.2", 480, 26.6, 0.043, blocks=1.7, reader=10.6),
    Need("Wan 2.1 VACE, 14B", 480, 32.3, 0.078, blocks=1.9, reader=10.6),
    Need("Wan 2.1, 14B", 480, 26.6, 0.043, blocks=1.7, reader=10.6),
    Need("Wan 2.1 VACE", 480, 4.0, 0.037, blocks=0.25, reader=10.6),
    Need("Wan 2.1", 480, 2.6, 0.018, blocks=0.2, reader=10.6),
)


def need_of(title: str, side: int = 0) -> Need | None:
    """Return the needs of a model by the title of its family, at a short side, or the
    smallest that is known; None for a family that is not."""
    for need in NEEDS:
        if title.startswith(need.family):
            times = (side / need.side) ** 2 if side else 1
            return need._replace(
                side=side or need.side, per_frame=need.per_frame * times
            )
    return None


def free_memory(device: torch.device | None = None) -> int:
    """Return the available memory of a device in bytes; of a CPU without swap."""
    if device is not None and device.type != "cpu":
        return _free_memory_of(device)
    return psutil.virtual_memory().available


def _free_memory_of(device: torch.device) -> int:
    """Return the available memory of a graphics card in bytes: what nobody has, and
    what PyTorch keeps for its next tensors."""
    import torch

    if device.type == "mps":
        # Of the memory that it shares with the processor, what macOS recommends.
        most = torch.mps.recommended_max_memory()
        left = max(0, most - torch.mps.current_allocated_memory())
        return min(left, psutil.virtual_memory().available)
    library = torch.get_device_module(device)
    cached = library.memory_reserved(device) - library.memory_allocated(device)
    return library.mem_get_info(device)[0] + cached


def reset_peak(device: torch.device) -> None:
    """Reset `peak_memory` on CUDA and XPU; elsewhere there is one peak since the
    process started."""
    if device.type in ("cuda", "xpu"):
        import torch

        torch.get_device_module(device).reset_peak_memory_stats(device)


def peak_memory(device: torch.device) -> int:
    """Return the peak memory in bytes: of a graphics card since `reset_peak`, else of
    the whole process.

    Of a Mac's it is what PyTorch holds, which it gives back only when told to.
    """
    if device.type != "cpu":
        import torch

        if device.type == "mps":
            return torch.mps.driver_allocated_memory()
        return torch.get_device_module(device).max_memory_allocated(device)
    try:
        import resource
    except ImportError:  # Windows keeps the peak itself
        memory = psutil.Process().memory_info()
        return memory._asdict().get("peak_wset", memory.rss)
    scale = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale


def return_freed() -> None:
    """Give memory that this process has freed back to the system, where the C library
    offers that.

    glibc keeps an arena for each of many threads and gives hardly anything of it back:
    in a server whose threads take turns at the same work, all arenas end up as large as
    the largest piece of it.
    """
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):  # another C library
            ctypes.CDLL(None).malloc_trim(0)


def share_arenas() -> None:
    """Let all threads share two arenas; for a server, before it has threads. See
    `return_freed`."""
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).mallopt(_ARENA_MAX, 2)


def is_out_of_memory(error: RuntimeError) -> bool:
    """Tell whether an error of PyTorch means that memory did not suffice, on a device
    or a CPU."""
    import torch

    said = str(error)
    if "allocate memory" in said or "out of memory" in said:
        return True
    return isinstance(error, torch.OutOfMemoryError)


def bytes_of(parts: Modules) -> dict[str, int]:
    """Return the bytes of the weights of each part."""
    return {
        name: sum(weight.nbytes for weight in part.parameters())
        for name, part in parts.items()
    }


def frames_at_once(height: int, width: int, free: int) -> int:
    """Return how many frames of this size the autoencoder takes at once, 0 to 4; 0
    means one, in tiles."""
    fitting = int(_SHARE * free / (height * width * _AUTOENCODER_BYTES))
    return min(FRAMES_AT_ONCE, fitting)


def decodes_whole(height: int, width: int, free: int) -> bool:
    """Tell whether the autoencoder of a video model takes frames of this size without
    tiles."""
    return height * width * _VIDEO_BYTES <= _LARGEST * free


def clip_frames(pixels: int, free: int) -> int:
    """Return how many frames of so many pixels a video model decodes together: three
    float32 copies each."""
    return int(_SHARE * free / (pixels * 3 * 3 * 4))


def weights_dtype(device: torch.device, numbers: int, free: int) -> torch.dtype:
    """Choose the dtype of UNet and text encoder by the number of their weights and the
    bytes available."""
    import torch

    if device.type != "cpu":
        return torch.float16
    return torch.float32 if fits(4 * numbers, free) else torch.bfloat16


def takes_turns(device: torch.device, parts: Mapping[str, int], free: int) -> bool:
    """Tell whether a model's parts, given by the bytes of their weights, take turns on
    their device; not where it shares the processor's memory.

    Raises:
        ResourceError: One part alone does not fit where parts take no turns.
    """
    if device.type == "cpu":
        return False
    largest = max(parts, key=lambda part: parts[part])
    if device.type == "mps":
        check_fits(largest, parts[largest], device, free)
        return False
    return not fits(sum(parts.values()), free)


def streams(device: torch.device, bytes: int, free: int) -> bool:
    """Tell whether a part of so many bytes is brought to a device block by block."""
    return device.type not in ("cpu", "mps") and not fits(bytes, free)


def check_fits(part: str, bytes: int, device: torch.device, free: int) -> None:
    """Refuse, by a ResourceError, a part of which more must be on a device than
    fits."""
    if bytes > free:
        raise ResourceError(
            "model",
            f"Its {part} needs {bytes / 2**30:.1f} GiB, but {device} "
            f"has {free / 2**30:.1f} GiB free. Close other programs, use a "
            f"smaller model, or run on the CPU ({VARIABLE}=cpu).",
        )


def count_weights(path: Path) -> int:
    """Count the weights in a .safetensors file, or in the loaded files of a diffusers
    folder or a part of it.

    Reads only headers. Folders hold more than is loaded: other precisions, a safety
    checker.
    """
    count = 0
    for file in _weight_files(path):
        shapes, _ = read_shapes(file, file.parent.name)
        count += sum(map(prod, shapes.values()))
    return count


def _weight_files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    parts = {file.parent for file in path.glob("*/config.json")}
    loaded = [part for part in parts if part.name in _PARTS] or [path]
    files: list[Path] = []
    for part in loaded:
        stem = TRANSFORMERS if "text_encoder" in part.name else DIFFUSERS
        files += weight_files(part, stem)
    return sorted(files)


def call_bytes(rows: int, cells: int, channels: int, itemsize: int) -> int:
    """Estimate the bytes, weights aside, of a call of the UNet with so many rows.

    Args:
        rows: Rows of the batch.
        cells: Cells of a frame's latents.
        channels: Channels of the finest level with attention, for each cell of the
            latents.
        itemsize: Bytes per number.
    """
    return rows * cells * channels * itemsize * _WIDENING * _WIDE_TENSORS


def window_frames(
    rows: int, cells: int, channels: int, itemsize: int, free: int
) -> int:
    """Return how many frames of a long clip are edited together, with so many `rows` of
    a call per frame."""
    fitting = int(_SHARE * free / call_bytes(rows, cells, channels, itemsize))
    return max(LEAST_WINDOW, min(MOST_WINDOW, fitting))
