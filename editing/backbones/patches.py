"""Changes of a UNet that last one call."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext

from einops import rearrange
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

Patch = Callable[[nn.Module], AbstractContextManager]
"""Changes the UNet for one call: entered before it, left after it, whatever happens in between."""


def joint_norm(frames: int) -> Patch:
    """Group normalisation over all frames of a branch together, outside the attention layers.

    Equals the image model for one frame and for equal frames. So do all networks inflated from 2-D whose
    normalisation gets five dimensions: Tune-A-Video, FateZero, vid2vid-zero and VideoGrain as released.
    """

    def fold(module: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        # Frames on top of each other: the statistics are taken over channels of a group and all positions.
        return (rearrange(args[0], "(branch frame) c h w -> branch c (frame h) w", frame=frames),)

    def unfold(module: nn.Module, args: tuple[Tensor, ...], out: Tensor) -> Tensor:
        return rearrange(out, "branch c (frame h) w -> (branch frame) c h w", frame=frames)

    @contextmanager
    def patch(unet: nn.Module) -> Iterator[None]:
        with ExitStack() as hooks:
            for name, module in unet.named_modules():
                if isinstance(module, nn.GroupNorm) and "attentions" not in name.split("."):
                    for handle in (
                        module.register_forward_pre_hook(fold),
                        module.register_forward_hook(unfold),
                    ):
                        hooks.callback(handle.remove)
            yield

    return patch


def checkpointed(again: Patch | None = None) -> Patch:
    """Keep only the inputs of each part of the UNet for the backward pass, which computes the rest anew.

    Args:
        again: Another patch the call is made with; it is entered for each recomputation too, which happens
            after the call has removed it.
    """

    @contextmanager
    def patch(unet: nn.Module) -> Iterator[None]:
        def recompute(module: nn.Module, *args: object) -> object:
            return checkpoint(
                module,
                *args,
                use_reentrant=False,
                context_fn=lambda: (nullcontext(), again(unet) if again else nullcontext()),
            )

        name = "_gradient_checkpointing_func"
        parts = [module for module in unet.modules() if hasattr(module, "gradient_checkpointing")]
        before = [(part.gradient_checkpointing, vars(part).get(name)) for part in parts]
        for part in parts:
            part.gradient_checkpointing = True
            vars(part)[name] = recompute
        try:
            yield
        finally:
            for part, (on, func) in zip(parts, before, strict=True):
                part.gradient_checkpointing = on
                vars(part).pop(name)
                if func is not None:
                    vars(part)[name] = func

    return patch
