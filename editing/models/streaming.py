"""Networks that do not fit on a device: their weights wait in main memory, and each block
is brought there while the one before it runs.

diffusers' `apply_group_offloading` does the same for pipelines. It leaves blocks on the
device when a call fails, and brings nothing where a block does not run, or where a
network is run by the forward of another class, as a VACE without control is.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import (
    AbstractContextManager,
    ExitStack,
    contextmanager,
    nullcontext,
    suppress,
)
from typing import Any

import torch
from torch import Tensor, nn

from regrain.editing.errors import ResourceError
from regrain.editing.storage.memory import free_memory, streams


def blocks_of(network: nn.Module) -> Iterator[nn.Module]:
    """Yield the elements of a network's outermost lists, in the order of their names."""
    for child in network.children():
        if isinstance(child, nn.ModuleList):
            yield from child
        else:
            yield from blocks_of(child)


def tensors_of(network: nn.Module) -> list[Tensor]:
    """Return the weights and the buffers of a network."""
    return [*network.parameters(), *network.buffers()]


class _Swapped:
    """Weights that come to a device, and leave it, together.

    Attributes:
        bytes: Of its weights.
    """

    def __init__(self, tensors: list[Tensor], device: torch.device, pins: bool) -> None:
        self._tensors = tensors
        self._device = device
        self._there: list[Tensor] = []
        if pins and device.type == "cuda":
            # from elsewhere a copy waits for the device; a system may allow no more
            with suppress(RuntimeError):
                for tensor in tensors:
                    tensor.data = tensor.data.pin_memory()
        self._home = [tensor.data for tensor in tensors]
        self.bytes = sum(tensor.nbytes for tensor in tensors)

    def bring(self) -> None:
        """Begin to copy them to the device."""
        self._there = [x.to(self._device, non_blocking=True) for x in self._home]

    def use(self) -> None:
        """Let the network use the copies."""
        for tensor, copy in zip(self._tensors, self._there, strict=True):
            tensor.data = copy

    def put_back(self) -> list[Tensor]:
        """Let the network have those in main memory, and return the copies."""
        for tensor, home in zip(self._tensors, self._home, strict=True):
            tensor.data = home
        there, self._there = self._there, []
        return there


class Streamed:
    """A network on a device that never holds more than two of its blocks.

    Attributes:
        least: The bytes that it takes there.
        blocks: Those of them that are of its two largest blocks.
    """

    def __init__(self, network: nn.Module, device: torch.device, pins: bool) -> None:
        """`pins` lets main memory hold it where the device can copy by itself."""
        self._device = device
        blocks = [*blocks_of(network)]
        self._groups: dict[nn.Module, _Swapped] = {}
        inside: set[Tensor] = set()
        for block in blocks:
            own = tensors_of(block)
            self._groups[block] = _Swapped(own, device, pins)
            inside.update(own)
        rest = [tensor for tensor in tensors_of(network) if tensor not in inside]
        self._rest = _Swapped(rest, device, pins)
        sizes = sorted(group.bytes for group in self._groups.values())
        self.blocks = sum(sizes[-2:])
        self.least = self._rest.bytes + self.blocks
        # which block runs after which: as they are named, until a call shows it
        self._next = dict(zip(blocks, blocks[1:], strict=False))
        self._last: nn.Module | None = None
        self._there: list[nn.Module] = []
        # copies that the device may still read, and what tells when it has
        self._left: deque[tuple[Any, list[Tensor]]] = deque()
        self._library = torch.get_device_module(device)
        self._copying = self._library.Stream(device)

    @contextmanager
    def present(self) -> Iterator[None]:
        """Have the network on the device for one call, after which, however it ends,
        nothing of it is there.

        Raises:
            ResourceError: The call keeps what a backward pass needs.
        """
        if torch.is_grad_enabled():
            raise ResourceError(
                "model",
                f"The model is too large to be tuned on {self._device}. Use a smaller "
                "model, or a method that tunes nothing.",
            )
        with ExitStack() as after:
            after.callback(self._end)
            for block in self._groups:
                before = block.register_forward_pre_hook(self._before)
                after.callback(before.remove)
                behind = block.register_forward_hook(self._after)
                after.callback(behind.remove)
            self._rest.bring()
            self._rest.use()
            yield

    def _before(self, block: nn.Module, _: object) -> None:
        """Have a block there, and begin to bring the one that comes next."""
        if self._last is not None:
            self._next[self._last] = block
        self._last = block
        for other in [*self._there]:
            if other is not block:  # brought for nothing: another one ran last time
                self._drop(other)
        self._forget()
        if block not in self._there:
            self._bring(block)
        self._library.current_stream(self._device).wait_stream(self._copying)
        self._groups[block].use()
        following = self._next.get(block)
        if following is not None:
            self._bring(following)

    def _after(self, block: nn.Module, *_: object) -> None:
        self._drop(block)

    def _bring(self, block: nn.Module) -> None:
        with self._library.stream(self._copying):
            self._groups[block].bring()
        self._there.append(block)

    def _drop(self, block: nn.Module) -> None:
        self._there.remove(block)
        there = self._groups[block].put_back()
        done = self._library.current_stream(self._device).record_event()
        self._left.append((done, there))

    def _forget(self) -> None:
        """Free the copies that were left, when the device has used them."""
        while self._left:
            done, _ = self._left.popleft()
            done.synchronize()

    def _end(self) -> None:
        if self._last is not None:
            self._next.pop(self._last, None)
        self._last = None
        for block in [*self._there]:
            self._drop(block)
        self._rest.put_back()
        self._forget()  # last: a device that has failed says so here


def placed(network: nn.Module, device: torch.device) -> AbstractContextManager[None]:
    """Have a network on a device, block by block if it does not fit there."""
    own = sum(tensor.nbytes for tensor in tensors_of(network))
    if streams(device, own, free_memory(device)):
        return Streamed(network, device, False).present()
    network.to(device)
    return nullcontext()
