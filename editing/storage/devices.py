"""The device that models work on: of those that this machine has, the fastest, or the
one that was asked for.

To PyTorch, an AMD graphics card (ROCm) is a CUDA device.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING

from regrain.editing.errors import RequestError, shorten

if TYPE_CHECKING:
    import torch

VARIABLE = "REGRAIN_DEVICE"
"""The environment variable that names the device."""
DEVICES = ("cuda", "mps", "xpu", "cpu")
"""Kinds of devices, the first that is there before others: a graphics card of NVIDIA or
AMD, the one in a Mac, one of Intel, the processor."""


def choose_device(wanted: str | torch.device | None = None) -> torch.device:
    """Choose the device to work on; loads torch.

    Args:
        wanted: A device as PyTorch names it, such as "cuda:1"; by default the one that
            $REGRAIN_DEVICE names, else the first of `DEVICES` that is there.
    Raises:
        RequestError: The device is unknown, or this machine does not have it.
    """
    import torch

    name = str(wanted or os.environ.get(VARIABLE, "").strip())
    if not name:
        return torch.device(next(kind for kind in DEVICES if _count(kind)))
    device = None
    with suppress(RuntimeError):
        device = torch.device(name)
    if device is None or device.type not in DEVICES:
        expected = f"Expected {', '.join(DEVICES[:-1])} or {DEVICES[-1]}"
        raise RequestError("device", f"{expected}, got {shorten(name)}.")
    if (device.index or 0) >= _count(device.type):
        there = ", ".join(kind for kind in DEVICES if _count(kind))
        raise RequestError(
            "device",
            f"This machine has no {name}, or this PyTorch was built without it. "
            f"Use one of: {there}.",
        )
    return device


def use_device(name: str | None) -> None:
    """Let this process, and those that it starts, work on a device; None changes
    nothing.

    Raises:
        RequestError: As `choose_device`.
    """
    if name is not None:
        choose_device(name)
        os.environ[VARIABLE] = name


@contextmanager
def plain_torch() -> Iterator[None]:
    """Undo for a block what a program around it, such as a notebook, has set in
    PyTorch: default type and device, autocast, inference mode."""
    if "torch" not in sys.modules:  # which takes seconds to import
        yield
        return
    import torch

    usual = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        with ExitStack() as stack:
            # entering one makes every call of PyTorch slower
            if torch.get_default_device().type != "cpu":
                stack.enter_context(torch.device("cpu"))
            for kind in filter(torch.is_autocast_enabled, DEVICES):
                stack.enter_context(torch.autocast(kind, enabled=False))
            if torch.is_inference_mode_enabled():
                stack.enter_context(torch.inference_mode(False))
            yield
    finally:
        torch.set_default_dtype(usual)


def on_gpu() -> bool:
    """Check if models work on a graphics card here; loads torch."""
    return choose_device().type != "cpu"


def device_name(device: torch.device) -> str:
    """Return what a device is called."""
    import torch

    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type == "xpu":
        return torch.xpu.get_device_name(device)
    return {"mps": "Apple GPU", "cpu": "CPU"}[device.type]


def _count(kind: str) -> int:
    """Count the devices of a kind."""
    import torch

    counts: Mapping[str, Callable[[], int]] = {
        "cuda": torch.cuda.device_count,
        "mps": lambda: int(torch.backends.mps.is_available()),
        "xpu": torch.xpu.device_count,
        "cpu": lambda: 1,
    }
    return counts[kind]()
