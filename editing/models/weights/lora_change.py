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

from typing import NamedTuple

import torch
from torch import Tensor, nn

from regrain.editing.storage.by_name import Tensors

Change = Tensors
"""The tensors of a layer, by role."""
_TABLE = "scale_shift_table"  # of Wan's blocks
_ADDED = {"diff": "weight", "diff_b": "bias", "diff_m": _TABLE}
MAGNITUDES = frozenset({"magnitude", "dora_scale"})
_INCOMPLETE = "is incomplete, or its factors do not match"
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


class Misfit(Exception):
    """A layer is of another model; the text is the end of a sentence about it."""


class Damage(Exception):
    """The tensors of a layer cannot be added to any, or two things are said of it; the
    text as that of `Misfit`."""


def agreed(what: str, *said: float | None) -> float | None:
    """Return what is said of a layer, at one place or at several; None if nothing is.

    Raises:
        Damage: Not the same is said.
    """
    known = [one for one in said if one is not None]
    if len({f"{one:.3g}" for one in known}) > 1:
        raise Damage(f"has {what} of {' and of '.join(map(str, known))}")
    return known[0] if known else None


def apply(change: Change, layer: nn.Module, weight: float, scaling: Scaling) -> None:
    """Add a change to a layer.

    Args:
        change: Tensors of the file by role.
        layer: Changed in place.
        weight: Times the change.
        scaling: Of changes without an alpha of their own.
    Raises:
        Misfit, Damage: It cannot be added.
    """
    for role, tensor in change.items():
        is_number = tensor.is_floating_point() or role == "alpha"  # maybe a whole one
        if not is_number or not tensor.numel():
            raise Damage("has tensors that are no factors")
    wide = torch.promote_types(next(layer.parameters()).dtype, torch.float32)
    own = {role: tensor.to(wide) for role, tensor in change.items()}
    try:
        added = _added(own, weight, scaling)
    except (RuntimeError, KeyError, IndexError):  # shapes that do not multiply
        raise Damage(_INCOMPLETE) from None
    if not all(bool(delta.isfinite().all()) for delta in added.values()):
        raise Damage("has NaN or Inf")
    parameters = dict(layer.named_parameters(recurse=False))
    for name, delta in added.items():
        if name not in parameters:
            raise Misfit(f"has no {name}")
        # all sides after the first as one
        given, needed = (
            one.flatten(1).shape if one.ndim > 1 else one.shape
            for one in (delta, parameters[name])
        )
        if given != needed:
            sizes = (" x ".join(map(str, shape)) for shape in (given, needed))
            raise Misfit("is {}, but {} in the model".format(*sizes))
    for name, delta in added.items():
        old = parameters[name]
        old += delta.view_as(old).to(old)
    for role in MAGNITUDES & own.keys():
        norms = own[role]
        is_row = norms.ndim > 1 and len(norms) == 1 < norms.shape[1]
        by_column = role == "dora_scale" and is_row
        _normalise(norms.flatten(), parameters["weight"], by_column=by_column)


def _added(own: Change, weight: float, scaling: Scaling) -> Tensors:
    """Compute what is added to the parameters of a layer, by their names."""
    factors = own.keys() - _SCALED
    added = {}
    if factors:
        delta, rank = _delta(own)
        if own.keys() - _SCALED:
            raise Damage("has factors of two kinds")
        alphas = own["alpha"].flatten().tolist() if "alpha" in own else []
        if len(alphas) > 1:
            raise Damage(_INCOMPLETE)
        if rank or not alphas:
            rank = agreed("a rank", rank, scaling.rank)
        alpha = agreed("an alpha", scaling.alpha, *alphas)
        scale = weight
        if alpha is not None and rank is not None:  # None if nothing was decomposed
            scale *= alpha / rank ** (0.5 if scaling.by_root else 1)
        added["weight"] = scale * delta
        if "up_bias" in own:
            added["bias"] = scale * own["up_bias"]
    elif own.keys() & {"up_bias", "alpha", *MAGNITUDES}:
        raise Damage(_INCOMPLETE)
    for role, name in _ADDED.items():
        if role in own:
            whole = weight * own[role]
            added[name] = (
                added[name] + whole.view_as(added[name]) if name in added else whole
            )
    return added


def _delta(own: Change) -> tuple[Tensor, int | None]:
    """Take the factors, and return their product, [out, in, ...], and its rank; None of
    one that was not decomposed."""
    if "up" in own or "down" in own:
        down = own.pop("down")
        if "mid" in own:
            down = torch.einsum("rs...,si->ri...", own.pop("mid"), down.flatten(1))
        up = own.pop("up").flatten(1)
        if down.ndim < 2 or up.shape[1] != len(down):
            raise Damage(_INCOMPLETE)
        return (up @ down.flatten(1)).unflatten(1, down.shape[1:]), len(down)
    if "hada_w1_a" in own:
        rank = len(own["hada_w1_b"])
        return _product(own, "hada", "1") * _product(own, "hada", "2"), rank
    return _kronecker(own)


def _product(own: Change, kind: str, number: str) -> Tensor:
    """Multiply the factors of a matrix, with a core between them if there is one."""
    a, b = (own.pop(f"{kind}_w{number}_{end}") for end in "ab")
    core = own.pop(f"{kind}_t{number}", None)
    if core is None:
        return (a @ b.flatten(1)).unflatten(1, b.shape[1:])
    return torch.einsum("ij...,ip,jr->pr...", core, a, b)


def _kronecker(own: Change) -> tuple[Tensor, int | None]:
    whole = {}
    rank = None
    for number in "12":
        name = f"lokr_w{number}"
        if name in own:
            whole[number] = own.pop(name)
        else:
            rank = len(own[f"{name}_b"])
            whole[number] = _product(own, "lokr", number)
    left, right = whole.values()
    # of a convolution, the second has the kernel
    left = left.reshape(*left.shape, *[1] * (right.ndim - left.ndim))
    return torch.kron(left, right), rank


def _normalise(norms: Tensor, weight: Tensor, *, by_column: bool) -> None:
    """Give every row or every column of a layer's weight the norm that a DoRA has for
    it."""
    outputs, inputs = weight.shape[:2]
    count = inputs if by_column else outputs
    if norms.numel() != count:
        named = "columns" if by_column else "rows"
        raise Misfit(
            f"has norms of {norms.numel()} {named}, but has {count} in the model"
        )
    lines = weight.to(norms)
    if by_column:
        lines = lines.transpose(0, 1)
    scale = norms / lines.flatten(1).norm(dim=1)
    if not bool(scale.isfinite().all()):
        raise Damage("has NaN or Inf")
    scaled = lines * scale.view(-1, *[1] * (lines.ndim - 1))
    weight.copy_(scaled.transpose(0, 1) if by_column else scaled)
