"""The parts of a loaded model on its device: one call at a time, one part at a time
where memory is short."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor, nn

from regrain.editing.attention.layers import Grid
from regrain.editing.attention.regions import range_kernel
from regrain.editing.diffusion.schedule import Step
from regrain.editing.errors import (
    DivergedError,
    ResourceError,
)
from regrain.editing.media.lazy_frames import Size
from regrain.editing.models.files.configs import working_size
from regrain.editing.models.files.schedulers import Defaults
from regrain.editing.models.streaming import Streamed, tensors_of
from regrain.editing.models.weights.tensors import sums_of
from regrain.editing.storage.memory import (
    bytes_of,
    check_fits,
    free_memory,
    is_out_of_memory,
    streams,
)

Latents = Float[Tensor, "rows c gh gw"]
FEW_FRAMES = 8  # a clip of more is better cut than made smaller
_TILES = ("tile_sample_min_size", "tile_latent_min_size")


def diverged(layer: str, step: Step) -> DivergedError:
    """Make the error for an output with NaN or Inf."""
    return DivergedError(
        layer,
        f"NaN or Inf in step {step.index + 1} of {step.total} (t = {step.t}). Use "
        "--dtype float32, or weaker settings.",
    )


@dataclass(eq=False, repr=False, kw_only=True)
class TurnTaking:
    """A model whose parts share a device and a lock.

    Attributes are those of `StableDiffusion`.
    """

    id: str
    device: torch.device
    dtype: torch.dtype
    defaults: Defaults
    takes_turns: bool
    notes: tuple[str, ...]
    loras: tuple[str, ...]

    def _settle(self, identity: str) -> None:
        """Freeze the parts and put them where they stay; `identity` is for the
        fingerprint.

        Raises:
            ResourceError: Two blocks of a part do not fit on the device.
        """
        self._identity = identity
        range_kernel(self.device.type, self.dtype)
        self._streamed: dict[nn.Module, Streamed] = {}
        free = free_memory(self.device)
        sizes = bytes_of(self.parts)
        holds = sum(sizes.values()) <= free_memory()
        for name, part in self.parts.items():
            part.eval().requires_grad_(False)
            in_blocks = streams(self.device, sizes[name], free)
            if self.takes_turns and in_blocks:
                self._streamed[part] = self._stream(name, sizes[name], holds)
            else:
                self._put(part)

        self._present: nn.Module | None = None
        self._lock = threading.Lock()

    def _put(self, part: nn.Module) -> None:
        home = torch.device("cpu") if self.takes_turns else self.device
        # Copies: a mapped file can change, and CPU kernels round differently at
        # unaligned addresses.
        for tensor in tensors_of(part):
            tensor.data = tensor.data.to(home, copy=True)

    def _stream(self, name: str, size: int, holds: bool) -> Streamed:
        """Return how a part of so many bytes comes block by block: where main memory
        does not hold it, from the mapped file."""
        part = self.parts[name]
        if holds:
            self._put(part)
        streamed = Streamed(part, self.device, holds)
        free = free_memory(self.device)
        check_fits(name, streamed.least, self.device, free)
        said = (
            f"Its {name} is brought to {self.device} block by block: its "
            f"{size / 1e9:.1f} GB are more than half of the {free / 1e9:.1f} that are "
            "free there."
        )
        if not holds:
            said += " Main memory does not hold it: it is read from disk in every step."
        self.notes += (said,)
        return streamed

    @cached_property
    def fingerprint(self) -> str:
        """Identifies these weights among others of the same id; part of cache keys."""
        weights = (w for part in self.parts.values() for w in part.parameters())
        sums = sums_of(weights)
        facts = (self._identity, str(self.dtype), self.device.type, sums)
        return hashlib.sha256(repr(facts).encode()).hexdigest()

    def fit(self, width: int, height: int, size: int | None = None) -> Size:
        """Choose the working size (width, height) in pixels, each the nearest multiple
        of `multiple`.

        It has the clip's aspect ratio, and its short side is near `size`, by default
        the model's.
        """
        return working_size((width, height), size or self.size, self.multiple)

    def grid(self, frames: int, height: int, width: int) -> Grid:
        """Return the grid of the latents of a clip of this working size in pixels."""
        time = 1 + -(-(frames - 1) // self.frames_per_latent)
        return Grid(time, height // self.factor, width // self.factor)

    def _pixels(self, latents: Float[Tensor, "*rows gh gw"]) -> Size:
        """Return height and width in pixels of the frames that latents stand for."""
        rows, columns = latents.shape[-2:]
        return rows * self.factor, columns * self.factor

    def _free(self, part: nn.Module) -> int:
        """Return the free memory in bytes while it is the turn of this part."""
        streamed = self._streamed.get(part)
        with torch.no_grad(), self._turn(part):
            return free_memory(self.device) - (streamed.blocks if streamed else 0)

    @contextmanager
    def _turn(
        self, part: nn.Module, frames: int = 0, size: Size | None = None
    ) -> Iterator[None]:
        """Lock the model and put this part on the device; it stays there until another
        is needed, if it fits.

        `frames` and their `size`, height and width in pixels, are for the out-of-memory
        error.
        """
        with self._lock, self._memory(frames, size) if size else nullcontext():
            streamed = self._streamed.get(part)
            if self.takes_turns and part is not self._present:
                if self._present is not None:
                    self._present.to("cpu")
                self._present = None if streamed else part.to(self.device)
            with streamed.present() if streamed else nullcontext():
                yield

    @contextmanager
    def _autoencoder(self, frames: int, size: Size, whole: bool) -> Iterator[None]:
        """Take the autoencoder's turn for a call, in overlapping tiles unless it takes
        frames as a whole.

        A video model's keeps frames of a call on itself, so there is one call at a
        time.
        """
        vae = self.parts["vae"]
        with self._turn(vae, frames, size), _tiled(vae) if not whole else nullcontext():
            yield

    @contextmanager
    def _memory(self, frames: int, size: Size) -> Iterator[None]:
        """Say on an out-of-memory error what to lower."""
        try:
            yield
        except RuntimeError as error:
            if isinstance(error, NotImplementedError) and self.device.type == "mps":
                found = re.search(r"aten::[\w.]+", str(error))
                raise ResourceError(
                    "device",
                    f"PyTorch has no {found[0] if found else 'operation'} for this Mac's "
                    "GPU. Set PYTORCH_ENABLE_MPS_FALLBACK=1 to compute it on the CPU, or "
                    "use --device cpu.",
                ) from error
            if not is_out_of_memory(error):
                raise
            height, width = size
            reason = f"Out of memory with {frames} frames of {width} x {height} pixels"
            options = self._savings(frames, min(size))
            field, _ = options[0]
            advice = ", or ".join(text for _, text in options).capitalize()
            raise ResourceError(field, f"{reason}. {advice}.") from error

    def _savings(self, frames: int, side: int) -> list[tuple[str, str]]:
        """Return fields and advice that save memory, the best first: frames of a long
        clip, else the size."""
        smaller = max(
            self.multiple, (int(side * 0.75) // self.multiple) * self.multiple
        )
        options = []
        if smaller < side:
            options.append(("size", f"lower size to {smaller}"))
        if frames > 1:
            half = frames // 2
            fewer = f"use {half} frame{'s' if half > 1 else ''}"
            options.insert(0 if frames > FEW_FRAMES else 1, ("clip.frames", fewer))
        return options or [("model", "use a smaller model or a larger machine")]


@contextmanager
def _tiled(vae: nn.Module) -> Iterator[None]:
    """Let an autoencoder work in overlapping tiles, for this call."""
    vae.enable_tiling()
    # AutoencoderKL's tiles are as large as its training pictures, so one of those would
    # not be cut.
    usual = {name: getattr(vae, name) for name in _TILES if hasattr(vae, name)}
    for name, size in usual.items():
        setattr(vae, name, size // 2)
    try:
        yield
    finally:
        for name, size in usual.items():
            setattr(vae, name, size)
        vae.disable_tiling()
