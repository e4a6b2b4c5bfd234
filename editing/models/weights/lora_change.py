"""The change of one layer by a LoRA, DoRA, LoHa, LoKr or a plain difference.

Hu et al. 2021, arXiv:2106.09685 (LoRA): W + weight * alpha / rank * up @ down. Liu et
al. 2024, arXiv:2402.09353, Eq. 5 (DoRA). Hyeon-Woo et al. 2021, arXiv:2108.06098, Prop.
2 and 3 (LoHa). Yeh et al. 2023, arXiv:2309.14859, Sec. 3 (LoKr, and the names of the
tensors).

The tensors of a layer have roles. "up", "down", "mid", "hada_...", "lokr_..." are
factors, "alpha" is their scale times their rank, "magnitude" the norms of the rows of a
DoRA of peft, "dora_scale" those of the rows or the columns of one of LyCORIS, "up_bias"
a bias scaled as they are; "diff", "diff_b" and "diff_m" are added to weight, bias and
table.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

_TABLE = "scale_shift_table"  # of Wan's blocks
_ADDED = {"diff": "weight", "diff_b": "bias", "diff_m": _TABLE}
MAGNITUDES = frozenset({"magnitude", "dora_scale"})
_SCALED = frozenset({"alpha", "up_bias", *MAGNITUDES, *_ADDED})


class Scaling(NamedTuple):
    """Scale of a layer where its tensors do not say it.

    Attributes:
        alpha: The scale times the rank; None is a scale of 1.
        by_root: Whether the root of the rank divides it (rank-stabilised LoRA).
        rank: The rank where no factor has it.
    """

    alpha: float | None = None
    by_root: bool = False
    rank: int | None = None


class Wrong(NamedTuple):
    """What is wrong with a change, as the end of a sentence about the layer; empty if
    nothing is."""

    misfit: str = ""
    damage: str = ""


class _Damage(Exception):
    """Factors are missing or do not belong together."""


def apply(
    change: Mapping[str, Tensor], layer: nn.Module, weight: float, scaling: Scaling
) -> Wrong:
    """Add a change to a layer, or say why it cannot be added.

    Args:
        change: Tensors of the file by role.
        layer: Changed in place.
        weight: Times the change.
        scaling: Of changes without an alpha of their own.
    """
    for role, tensor in change.items():
        is_number = tensor.is_floating_point() or role == "alpha"  # maybe a whole one
        if not is_number or not tensor.numel():
            return Wrong(damage="has tensors that are no factors")
    wide = torch.promote_types(next(layer.parameters()).dtype, torch.float32)
    own = {role: tensor.to(wide) for role, tensor in change.items()}
    try:
        added = _added(own, weight, scaling)
    except (_Damage, RuntimeError, KeyError, IndexError):  # shapes that do not multiply
        return Wrong(damage="is incomplete, or its factors do not match")
    if not all(bool(delta.isfinite().all()) for delta in added.values()):
        return Wrong(damage="has NaN or Inf")
    for name, delta in added.items():
        misfit = _unlike(getattr(layer, name, None), name, delta)
        if misfit:
            return Wrong(misfit=misfit)
    for name, delta in added.items():
        old = getattr(layer, name)
        old += delta.view_as(old).to(old)
    for role in MAGNITUDES & own.keys():
        magnitude = own[role]
        by_column = role == "dora_scale" and _is_row(magnitude)
        return _normed(magnitude.flatten(), layer, by_column=by_column)
    return Wrong()


def _is_row(tensor: Tensor) -> bool:
    """Tell whether numbers stand in one row, one for each column."""
    return tensor.ndim > 1 and len(tensor) == 1 < tensor.shape[1]


def _unlike(old: Tensor | None, name: str, delta: Tensor) -> str:
    """Say how a change and what it is added to differ; empty if they do not."""
    if old is None:
        return f"has no {name}"
    given = delta.flatten(1) if delta.ndim > 1 else delta
    needed = old.flatten(1) if old.ndim > 1 else old
    if given.shape == needed.shape:
        return ""
    sizes = (" x ".join(map(str, one.shape)) for one in (given, needed))
    return "is {}, but {} in the model".format(*sizes)


def _added(
    own: Mapping[str, Tensor], weight: float, scaling: Scaling
) -> dict[str, Tensor]:
    """Compute what is added to the parameters of a layer, by their names."""
    factors = own.keys() - _SCALED
    added = {}
    if factors:
        delta, rank = _delta(own)
        scale = weight * _scale(own, rank, scaling)
        added["weight"] = scale * delta
        if "up_bias" in own:
            added["bias"] = scale * own["up_bias"]
    elif own.keys() & {"up_bias", "alpha", *MAGNITUDES}:
        raise _Damage
    for role, name in _ADDED.items():
        if role in own:
            whole = weight * own[role]
            added[name] = (
                added[name] + whole.view_as(added[name]) if name in added else whole
            )
    return added


def _scale(own: Mapping[str, Tensor], rank: int | None, scaling: Scaling) -> float:
    """Return the factor of a change; 1 if nothing was decomposed (`rank` None)."""
    alpha = scaling.alpha
    if "alpha" not in own:
        rank = rank or scaling.rank
    else:
        if own["alpha"].numel() != 1:
            raise _Damage
        alpha = own["alpha"].item()
    if alpha is None or rank is None:
        return 1.0
    return alpha / rank ** (0.5 if scaling.by_root else 1)


def _delta(own: Mapping[str, Tensor]) -> tuple[Tensor, int | None]:
    """Return the product of the factors, [out, in, ...], and its rank; None of one that
    was not decomposed."""
    if "up" in own or "down" in own:
        down = own["down"]
        if "mid" in own:
            down = torch.einsum("rs...,si->ri...", own["mid"], down.flatten(1))
        up = own["up"].flatten(1)
        if down.ndim < 2 or up.shape[1] != len(down):
            raise _Damage
        return (up @ down.flatten(1)).unflatten(1, down.shape[1:]), len(down)
    if "hada_w1_a" in own:
        rank = len(own["hada_w1_b"])
        return _product(own, "hada", "1") * _product(own, "hada", "2"), rank
    return _kronecker(own)


def _product(own: Mapping[str, Tensor], kind: str, number: str) -> Tensor:
    """Multiply the factors of a matrix, with a core between them if there is one."""
    a, b = (own[f"{kind}_w{number}_{end}"] for end in "ab")
    core = own.get(f"{kind}_t{number}")
    if core is None:
        return (a @ b.flatten(1)).unflatten(1, b.shape[1:])
    return torch.einsum("ij...,ip,jr->pr...", core, a, b)


def _kronecker(own: Mapping[str, Tensor]) -> tuple[Tensor, int | None]:
    whole = {}
    rank = None
    for number in "12":
        name = f"lokr_w{number}"
        if name in own:
            whole[number] = own[name]
        else:
            whole[number] = _product(own, "lokr", number)
            rank = len(own[f"{name}_b"])
    left, right = whole.values()
    # of a convolution, the second has the kernel
    left = left.reshape(*left.shape, *[1] * (right.ndim - left.ndim))
    return torch.kron(left, right), rank


def _normed(magnitude: Tensor, layer: nn.Module, *, by_column: bool) -> Wrong:
    """Give every row or every column of a layer's weight the norm that a DoRA has for
    it."""
    weight: Tensor = layer.weight  # type: ignore[assignment]
    outputs, inputs = weight.shape[:2]
    count = inputs if by_column else outputs
    if magnitude.numel() != count:
        lines = "columns" if by_column else "rows"
        return Wrong(
            misfit=f"has norms of {magnitude.numel()} {lines}, but has {count} in the "
            "model"
        )
    lines = weight.to(magnitude)
    if by_column:
        lines = lines.transpose(0, 1)
    norms = lines.flatten(1).norm(dim=1)
    scale = magnitude / norms
    if not bool(scale.isfinite().all()):
        return Wrong(damage="has NaN or Inf")
    scaled = lines * scale.view(-1, *[1] * (lines.ndim - 1))
    weight.copy_(scaled.transpose(0, 1) if by_column else scaled)
    return Wrong()
