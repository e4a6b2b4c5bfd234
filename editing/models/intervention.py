"""Changes to a model for one call: one value, `Intervention`, and the patches that it
can hold.

A `Patch` is a context manager that `Backbone.predict` enters before the network runs
and leaves before it returns. Those here (joint normalisation, FreeU, recomputed
activations) work on any UNet made of diffusers' blocks and leave no trace.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from torch.utils.hooks import RemovableHandle

from regrain.editing.attention.layers import AttentionFn
from regrain.editing.storage.by_name import Weights

Patch = Callable[[nn.Module], AbstractContextManager]
"""Changes the network for one call: entered before it, left after it, whatever happens
in between."""
ControlFn = Callable[[Tensor, Tensor], tuple[Sequence[Tensor], Tensor]]
"""(x, t) -> (residuals of the down blocks, residual of the middle block)."""


@dataclass(frozen=True, eq=False)
class Intervention:
    """Everything that changes one forward of a model.

    Attributes:
        attend: Computes every attention layer; None is plain attention.
        patches: Entered in this order.
        control: Residuals of control networks.
        queries: Weights of query projections to use instead of the model's, by
            attention layer.
        beside: Further channels of the first layer, a row for each frame or for each row
            of the call: of inpainting models the mask and the latents of the picture,
            of models that see the source its latents.
        guidance: Scales of guidance, one per branch or one for all, of models that are
            told it.
        context: What control blocks read, a row per latent in time, the same for each
            clip of the call; without it they do not run. See `wan.condition`.
        token_scale: How strongly control blocks act on each token; None for 1.
        first: The clean latent of a first frame, which takes the place of that of each
            clip: its tokens are told that they have no noise.
    """

    attend: AttentionFn | None = None
    patches: tuple[Patch, ...] = ()
    control: ControlFn | None = None
    queries: Weights = field(default_factory=dict)
    beside: Tensor | None = None
    guidance: tuple[float, ...] = ()
    context: Tensor | None = None
    token_scale: Float[Tensor, "tokens"] | None = None
    first: Float[Tensor, "1 c gh gw"] | None = None


PLAIN = Intervention()
"""The model as it is."""


@contextmanager
def hooked(registering: Iterable[RemovableHandle]) -> Iterator[None]:
    """Register hooks, from a generator of their handles, on entry and remove them on
    exit."""
    with ExitStack() as stack:
        for handle in registering:
            stack.callback(handle.remove)
        yield


def following(hooks: Mapping[str, Callable[..., Any]]) -> Patch:
    """Register forward hooks on modules, by their names."""

    def patch(model: nn.Module) -> AbstractContextManager:
        return hooked(
            model.get_submodule(name).register_forward_hook(hook)
            for name, hook in hooks.items()
        )

    return patch


@contextmanager
def patched(model: nn.Module, patches: Sequence[Patch]) -> Iterator[None]:
    """Enter several patches, in this order."""
    with ExitStack() as stack:
        for patch in patches:
            stack.enter_context(patch(model))
        yield


def joint_norm(frames: int) -> Patch:
    """Normalise over all frames of a branch in every GroupNorm outside the attention
    layers.

    With one frame, or equal frames, the result is that of the image model.

    Args:
        frames: Frames per branch; rows are (branch frame).
    Source: the inflated UNets of Tune-A-Video, FateZero, vid2vid-zero and VideoGrain as
        released, which normalise tensors of five dimensions.
    """

    def fold(_: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        # Frames on top of each other: statistics cover the channels of a group and all
        # positions.
        return (
            rearrange(
                inputs[0], "(branch frame) c h w -> branch c (frame h) w", frame=frames
            ),
        )

    def unfold(_: nn.Module, __: tuple[Tensor, ...], output: Tensor) -> Tensor:
        return rearrange(
            output, "branch c (frame h) w -> (branch frame) c h w", frame=frames
        )

    def register(model: nn.Module) -> Iterator[RemovableHandle]:
        for name, module in model.named_modules():
            if isinstance(module, nn.GroupNorm) and "attentions" not in name.split("."):
                yield module.register_forward_pre_hook(fold)
                yield module.register_forward_hook(unfold)

    return lambda model: hooked(register(model))


def entering_up_blocks(enter: Callable[[int, Tensor], Tensor]) -> Patch:
    """Read or replace what enters each up block from below; skip features stay.

    Args:
        enter: (number of the block, features [rows, channels, h, w]) -> features of the
            same shape.
    """

    def replaced(
        index: int, _: nn.Module, args: tuple, kwargs: dict
    ) -> tuple[tuple, dict]:
        return args, kwargs | {"hidden_states": enter(index, kwargs["hidden_states"])}

    def patch(model: nn.Module) -> AbstractContextManager:
        return hooked(
            block.register_forward_pre_hook(partial(replaced, index), with_kwargs=True)
            for index, block in enumerate(model.up_blocks)
        )

    return patch


def checkpointed(again: Callable[[], AbstractContextManager]) -> Patch:
    """Keep only the inputs of each part of the UNet for the backward pass, which
    recomputes the rest.

    Args:
        again: Makes the context of each recomputation, which happens after the call:
            the call's other patches and the lock on the network.
    """

    @contextmanager
    def patch(unet: nn.Module) -> Iterator[None]:
        def contexts() -> tuple[AbstractContextManager, AbstractContextManager]:
            return nullcontext(), again()  # of the call, and of its recomputation

        def recompute(module: nn.Module, *args: object) -> object:
            return checkpoint(module, *args, use_reentrant=False, context_fn=contexts)

        changes = {
            "gradient_checkpointing": True,
            "_gradient_checkpointing_func": recompute,
        }
        parts = [
            part for part in unet.modules() if hasattr(part, "gradient_checkpointing")
        ]
        before = [vars(part).copy() for part in parts]
        for part in parts:
            vars(part).update(changes)
        try:
            yield
        finally:
            for part, had in zip(parts, before, strict=True):
                for name in changes:
                    if name in had:
                        vars(part)[name] = had[name]
                    else:
                        del vars(part)[name]

    return patch
