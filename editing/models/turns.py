"""The parts of a loaded model on its device: one call at a time, one part at a time where memory is short."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import cached_property

import torch
from torch import nn

from regrain.editing.diffusion.schedule import Step
from regrain.editing.errors import DivergedError, ResourceError
from regrain.editing.storage.memory import free_memory, is_out_of_memory

FEW_FRAMES = 8  # a clip of more is better cut than made smaller


def diverged(layer: str, step: Step) -> DivergedError:
    """What an output with NaN or Inf is reported as."""
    said = f"NaN or Inf in step {step.index + 1} of {step.total} (t = {step.t})"
    return DivergedError(layer, f"{said}. Use --dtype float32, or weaker settings.")


class TurnTaking:
    """A model whose parts share a device and a lock.

    Attributes are those of `StableDiffusion`.
    """

    parts: Mapping[str, nn.Module]
    device: torch.device
    dtype: torch.dtype
    takes_turns: bool
    multiple: int
    size: int

    def _settle(self, identity: str) -> None:
        """Freeze the parts and put them where they stay; `identity` is for the fingerprint."""
        self._identity = identity
        home = torch.device("cpu") if self.takes_turns else self.device
        for part in self.parts.values():
            part.eval().requires_grad_(False)
            # Copies: a mapped file can change, and CPU kernels round differently at unaligned addresses.
            for tensor in (*part.parameters(), *part.buffers()):
                tensor.data = tensor.data.to(home, copy=True)
        self._present: nn.Module | None = None
        self._lock = threading.Lock()

    @cached_property
    def fingerprint(self) -> str:
        """Identifies these weights among others of the same id; part of cache keys."""
        with torch.no_grad():
            sums = [
                float(p.double().sum()) for part in self.parts.values() for p in part.parameters()
            ]
        facts = (self._identity, str(self.dtype), self.device.type, sums)
        return hashlib.sha256(repr(facts).encode()).hexdigest()

    def fit(self, width: int, height: int, size: int | None = None) -> tuple[int, int]:
        """Choose the working size (width, height) in pixels, each the nearest multiple of `multiple`.

        It has the clip's aspect ratio, and its short side is near `size`, by default the model's.
        """
        scale = (size or self.size) / min(width, height)
        wide, high = (
            max(1, round(s * scale / self.multiple)) * self.multiple for s in (width, height)
        )
        return wide, high

    def _free(self, part: nn.Module) -> int:
        """Free memory in bytes while it is the turn of this part."""
        with self._turn(part):
            return free_memory(self.device)

    @contextmanager
    def _turn(
        self, part: nn.Module, frames: int = 0, size: tuple[int, int] | None = None
    ) -> Iterator[None]:
        """Lock the model and put this part on the device; it stays there until another is needed.

        `frames` and their `size`, height and width in pixels, are for the out-of-memory error.
        """
        with self._lock, self._memory(frames, size) if size else nullcontext():
            if self.takes_turns and part is not self._present:
                if self._present is not None:
                    self._present.to("cpu")
                self._present = part.to(self.device)
            yield

    @contextmanager
    def _memory(self, frames: int, size: tuple[int, int]) -> Iterator[None]:
        """Say on an out-of-memory error what to lower: frames of a long clip, else the size."""
        try:
            yield
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            height, width = size
            smaller = max(self.multiple, (int(min(size) * 0.75) // self.multiple) * self.multiple)
            options = [("size", f"lower size to {smaller}")] if smaller < min(size) else []
            if frames > 1:
                fewer = f"use {frames // 2} frame{'s' if frames // 2 > 1 else ''}"
                options.insert(0 if frames > FEW_FRAMES else 1, ("clip.frames", fewer))
            options = options or [("model", "use a smaller model or a larger machine")]
            reason = f"Out of memory with {frames} frames of {width} x {height} pixels"
            advice = ", or ".join(text for _, text in options).capitalize()
            raise ResourceError(options[0][0], f"{reason}. {advice}.") from error
