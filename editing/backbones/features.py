"""Changes of a UNet for one forward: joint normalisation, FreeU, features kept and injected.

Each function makes a `Patch`: a context manager that `Backbone.predict` enters before the network runs and
leaves before it returns. They work on any UNet of diffusers' blocks, and leave nothing behind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from editing.attention.sites import AttentionFn, Site

Patch = Callable[[nn.Module], AbstractContextManager]

# Which of the decoder's twelve layers Plug-and-Play takes features from (Stable Diffusion 1.x: three layers
# in each of four up blocks); models with fewer layers take those at the same share of the way.
_LAYERS = 12
_RESIDUALS = (3, 4, 6)
_ATTENTION = range(4, 10)
# FreeU per up block: factors on the backbone's features and on the low frequencies of the skipped ones.
FREEU = {"released": ((1.2, 1.0),), "full": ((1.2, 0.9), (1.4, 0.2))}
_LOW_FREQUENCIES = 1


def together(*patches: Patch | None) -> Patch:
    """Several patches as one, entered in this order; None is skipped."""

    @contextmanager
    def patch(model: nn.Module) -> Iterator[None]:
        with ExitStack() as stack:
            for one in patches:
                if one is not None:
                    stack.enter_context(one(model))
            yield

    return patch


def joint_norm(frames: int) -> Patch:
    """GroupNorm of the ResNet blocks and of the output takes its statistics over all frames of a branch.

    The norm at the entrance of a transformer stays a frame's own.

    Args:
        frames: Frames in a branch; rows are (branch frame).
    Source: the inflated UNets of Tune-A-Video, FateZero, vid2vid-zero and VideoGrain.
    """

    def fold(_: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
        return (rearrange(inputs[0], "(branch frame) c h w -> branch c (frame h) w", frame=frames),)

    def unfold(_: nn.Module, __: tuple[Tensor], output: Tensor) -> Tensor:
        return rearrange(output, "branch c (frame h) w -> (branch frame) c h w", frame=frames)

    def patch(model: nn.Module) -> AbstractContextManager:
        ends = ("norm1", "norm2", "conv_norm_out")
        norms = [
            module
            for name, module in model.named_modules()
            if isinstance(module, nn.GroupNorm) and name.rpartition(".")[2] in ends
        ]
        return _hooked(
            [norm.register_forward_pre_hook(fold) for norm in norms]
            + [norm.register_forward_hook(unfold) for norm in norms]
        )

    return patch


def freeu(factors: Sequence[tuple[float, float]]) -> Patch:
    """Strengthen what an up block received from below against what skipped over to it.

    Half of the channels from below are multiplied by 1 + (b - 1) m, where m is their mean over channels,
    scaled to 0..1 in each frame; the lowest frequencies of the skipped ones by s.

    Args:
        factors: (b, s) of each up block, from the first; (1, 1) leaves a block as it is.
    Source: Si et al., arXiv:2309.11497, Eq. 1 to 4.
    """

    def patch(model: nn.Module) -> AbstractContextManager:
        below = model.mid_block.resnets[-1].out_channels
        handles = []
        for index, block in enumerate(model.up_blocks):
            for resnet in block.resnets:
                if index < len(factors):
                    handles.append(resnet.register_forward_pre_hook(_freeu_hook(below, *factors[index])))
                below = resnet.out_channels
        return _hooked(handles)

    return patch


def _freeu_hook(below: int, b: float, s: float) -> Callable:
    def hook(_: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        x, skipped = inputs[0].split([below, inputs[0].shape[1] - below], 1)
        if b != 1:
            mean = x.mean(1, keepdim=True)
            low, high = mean.amin((2, 3), keepdim=True), mean.amax((2, 3), keepdim=True)
            gain = 1 + (b - 1) * (mean - low) / (high - low).clamp(min=1e-8)
            x = torch.cat([x[:, : below // 2] * gain, x[:, below // 2 :]], 1)
        if s != 1:
            skipped = scale_low_frequencies(skipped, s)
        return torch.cat([x, skipped], 1), *inputs[1:]

    return hook


def scale_low_frequencies(x: Float[Tensor, "rows c h w"], factor: float) -> Float[Tensor, "rows c h w"]:
    """Multiply the lowest spatial frequencies (below 1 cycle either way, the mean among them) by `factor`."""
    spectrum = torch.fft.fftshift(torch.fft.fft2(x.float()), dim=(-2, -1))
    y, z = x.shape[-2] // 2, x.shape[-1] // 2
    near = _LOW_FREQUENCIES
    spectrum[..., max(y - near, 0) : y + near, max(z - near, 0) : z + near] *= factor
    return torch.fft.ifft2(torch.fft.ifftshift(spectrum, dim=(-2, -1))).real.to(x)


@dataclass(eq=False)
class Features:
    """What one forward of a source clip gave, by layer: residual branches of ResNets, queries and keys."""

    residuals: dict[str, Tensor] = field(default_factory=dict)
    attention: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict)

    @property
    def bytes(self) -> int:
        """Memory they take."""
        tensors = [*self.residuals.values(), *(x for pair in self.attention.values() for x in pair)]
        return sum(x.numel() * x.element_size() for x in tensors)


def recording(features: Features, attend: AttentionFn) -> tuple[AttentionFn, Patch]:
    """Fill `features` during one forward: the attention hook and the patch to call `predict` with.

    Source: Tumanyan et al., arXiv:2211.12572, Sec. 4: features of the decoder's layer 4, queries and keys of
    layers 4 to 11; the layers are those VideoGrain's released code takes.
    """

    wanted: set[str] = set()

    def keep(q: Tensor, k: Tensor, v: Tensor, site: Site) -> Tensor:
        if site.name in wanted:
            features.attention[site.name] = (q, k)
        return attend(q, k, v, site)

    def patch(model: nn.Module) -> AbstractContextManager:
        wanted.update(_attention_layers(model))

        def hook(name: str) -> Callable:
            return lambda _, __, output: features.residuals.__setitem__(name, output)

        branches = _residual_branches(model)
        return _hooked([conv.register_forward_hook(hook(name)) for name, conv in branches.items()])

    return keep, patch


def injecting(features: Features, attend: AttentionFn) -> tuple[AttentionFn, Patch]:
    """Put `features` of a source clip in the place of a forward's own, in every branch of its rows."""

    def repeated(x: Tensor, rows: int) -> Tensor:
        return x.repeat(rows // len(x), *[1] * (x.ndim - 1))

    def replace(q: Tensor, k: Tensor, v: Tensor, site: Site) -> Tensor:
        if site.name in features.attention:
            q, k = (repeated(x, len(q)) for x in features.attention[site.name])
        return attend(q, k, v, site)

    def patch(model: nn.Module) -> AbstractContextManager:
        branches = _residual_branches(model)

        def hook(name: str) -> Callable:
            return lambda _, __, output: repeated(features.residuals[name], len(output))

        return _hooked([branches[name].register_forward_hook(hook(name)) for name in features.residuals])

    return replace, patch


def _decoder(model: nn.Module) -> list[tuple[int, int, int]]:
    """(up block, layer in it, which of twelve) of each layer of the decoder."""
    layers = [(b, i) for b, block in enumerate(model.up_blocks) for i in range(len(block.resnets))]
    return [(b, i, n * _LAYERS // len(layers)) for n, (b, i) in enumerate(layers)]


def _residual_branches(model: nn.Module) -> dict[str, nn.Module]:
    """The last convolution of the residual branch of each ResNet that is kept or injected."""
    return {
        f"up_blocks.{b}.resnets.{i}": model.up_blocks[b].resnets[i].conv2
        for b, i, place in _decoder(model)
        if place in _RESIDUALS
    }


def _attention_layers(model: nn.Module) -> set[str]:
    """Names of the self-attention layers whose queries and keys are kept or injected."""
    return {
        f"up_blocks.{b}.attentions.{i}.transformer_blocks.{j}.attn1"
        for b, i, place in _decoder(model)
        if place in _ATTENTION and hasattr(model.up_blocks[b], "attentions")
        for j in range(len(model.up_blocks[b].attentions[i].transformer_blocks))
    }


@contextmanager
def _hooked(handles: Sequence[torch.utils.hooks.RemovableHandle]) -> Iterator[None]:
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
