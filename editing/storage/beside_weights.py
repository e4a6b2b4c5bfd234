"""Tensors beside the weights of a network in its files: scales of weights of 8 bits,
and those that change nothing."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from regrain.editing.boundary import boundary
from regrain.editing.errors import ModelError, shorten

if TYPE_CHECKING:
    from safetensors import safe_open
    from torch import Tensor, nn

    from regrain.editing.storage.by_name import Tensors, Weights

# What changes nothing: counters, averages of what was trained, what it was trained
# with, tables that follow from the settings of a schedule, formats that weights have.
_IDLE = (
    r"(^|\.)(position_ids|attn_mask|num_batches_tracked|global_step|logit_scale)$"
    r"|(^|\.)(scaled_fp8|comfy_quant)$"
    r"|^(first_stage_model\.)?(model_ema|loss|ema|embedding_manager\.embedder)\."
    r"|^(alphas_cumprod(_prev)?|betas|(log_one|posterior|sqrt)_\w+|denoiser\.sigmas)$"
    r"|^(logvar|lvlb_weights|num_updates)$"
    r"|^(cond_stage_model|conditioner\.embedders\.0)(\.transformer|\.model)?"
    r"\.(text_projection|visual_projection|vision_model)(\.|$)"
)
# And of networks, by their classes: the half of a whole model that is not theirs.
_OTHER_HALF = {
    "CLIPTextModel": r"|(^|\.)(vision_model|visual_projection|text_projection)(\.|$)",
    "CLIPTextModelWithProjection": r"|(^|\.)(vision_model|visual_projection)\.",
    "CLIPVisionModelWithProjection": r"|(^|\.)(text_model|text_projection)\.",
    "UMT5EncoderModel": r"|^(decoder|lm_head)\.",
}
# Beside a weight of 8 bits: its scale, in two spellings, and that of what its layer
# reads, which counts where that is of 8 bits, too.
_MARK = re.compile(r"(.*?)(?:(weight_scale|scale_weight)|input_scale|scale_input)$")
# Types of the numbers of weights, as files name them.
_READ = ("F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2")
# What files say of weights of 8 bits: their format, and that no product is of 8 bits.
_FORMATS = ("float8_e4m3fn", "float8_e5m2")
_PRECISE = "full_precision_matrix_mult"


def is_idle(name: str, kind: str = "") -> bool:
    """Tell whether a weight that a network of a class does not take changes nothing."""
    return bool(re.search(_IDLE + _OTHER_HALF.get(kind, ""), name))


def check_unread(names: Iterable[str], title: str) -> None:
    """Refuse weights that no network takes, by a ModelError with the name of one."""
    for name in sorted(names):
        raise refused(name, title, "which nothing here reads")


def refused(name: str, title: str, why: str) -> ModelError:
    """Return the error of a weight that is not read."""
    said = f"{title} has {shorten(name, 90)}, {why}"
    return ModelError("model", f"{said}. Use another file, or one of 16 bits.")


def read_settled(file: safe_open, title: str) -> Tensors:
    """Read the weights of a file, with their scales multiplied in and without what
    changes nothing.

    Raises:
        ModelError: Weights are of numbers that are not read, or have scales that are
            not known.
    """
    weights, scales = read_scaled(file, title)
    for name, scale in scales.items():
        weights[name] = multiplied(weights[name], scale)
    return weights


def read_scaled(file: safe_open, title: str) -> tuple[Tensors, Tensors]:
    """Read the weights of a file without what changes nothing, and the scales of those
    that have one; errors as `read_settled`."""
    weights = _read(file, title, lambda name: not is_idle(name))
    marks = {name: weights.pop(name) for name in [*weights] if _MARK.fullmatch(name)}
    return weights, _scales(weights, marks, title)


def read_marks(file: safe_open, title: str) -> Tensors:
    """Read what is said beside the weights of a file; errors as `read_settled`."""
    return _read(file, title, _MARK.fullmatch)


def settle(model: nn.Module, marks: Weights, left: Iterable[str], title: str) -> None:
    """Multiply scales into the weights of a network that a library read from a folder.

    Args:
        model: Changed in place.
        marks: See `read_marks`, of all files.
        left: What the library did not take, as it names that.
        title: Of the folder, for messages.
    Raises:
        ModelError: There are scales that are not known, or weights that the network
            does not take.
    """
    unread = {name for name in left if not is_idle(name, type(model).__name__)}
    # transformers 5 has one module less
    less = "" if hasattr(model, "text_model") else "text_model."
    known = {name.removeprefix(less): mark for name, mark in marks.items()}
    check_unread(unread - known.keys(), title)
    weights = dict(model.named_parameters())
    beside = {
        name: mark
        for name, mark in known.items()
        if name in unread or _MARK.sub(r"\1weight", name) in weights
    }
    for name, scale in _scales(weights, beside, title).items():
        weights[name].data = multiplied(weights[name], scale)


def _read(file: safe_open, title: str, is_wanted: Callable[[str], object]) -> Tensors:
    """Read some tensors of a file, by their names; `check_numbers` of its weights,
    wanted or not."""
    names = [*file.keys()]
    metadata = file.metadata() or {}
    formats = json.loads(metadata.get("_quantization_metadata", "{}"))
    layers = formats.get("layers", {})
    for name, said in layers.items():
        _check_format(said, name, title)
    for name in names:
        if name.endswith("comfy_quant"):
            characters = file.get_tensor(name).tolist()
            said = json.loads(bytes(characters))
            _check_format(said, name, title)
        if name.endswith("weight"):
            check_numbers(file, name, title)
    return {name: file.get_tensor(name) for name in names if is_wanted(name)}


def check_numbers(
    file: safe_open, name: str, title: str, may_be_whole: bool = False
) -> None:
    """Refuse a tensor whose numbers are of a type that is not read: whole ones, if they
    may not be, or several packed in a byte."""
    kind = file.get_slice(name).get_dtype()
    if kind not in _READ and not (may_be_whole and kind.startswith(("I", "U"))):
        raise refused(name, title, f"numbers that are not read ({kind})")


def _check_format(said: Mapping[str, object], name: str, title: str) -> None:
    """Refuse a weight that is packed otherwise than as 8 bits that have one scale, or
    one for each row."""
    given = said.get("format", _FORMATS[0])
    if given not in _FORMATS or said.keys() - {"format", _PRECISE}:
        raise refused(name, title, f"which says {shorten(dict(said))}")


def _scales(weights: Weights, marks: Weights, title: str) -> Tensors:
    """Return the scale of each weight that has one."""
    left = dict(weights)
    scales = {}
    # from the end of the alphabet: first those of weights
    for name, mark in sorted(marks.items(), reverse=True):
        ((layer, is_scale),) = _MARK.findall(name)
        of = f"{layer}weight"
        said = refused(name, title, "which is not read in this form")
        with boundary("model", said.message, ModelError):
            if is_scale:
                _check_scale(left.pop(of), mark)
                scales[of] = mark
            elif weights[of] is left.get(of) or mark.numel() > 1:
                raise said
    return scales


def _check_scale(weight: Tensor, scale: Tensor) -> None:
    """Refuse a scale that is not one number, nor one for each row of a weight."""
    is_of_rows = scale.numel() == 1 or scale.numel() == len(scale) == len(weight)
    if not is_of_rows or not scale.is_floating_point():
        raise ValueError(scale)  # of blocks, or the exponents of scales


def multiplied(weight: Tensor, scale: Tensor) -> Tensor:
    """Multiply a weight by its scale; the result of one of 8 bits is float32."""
    product = weight.float() * scale.float().reshape(-1, *[1] * (weight.ndim - 1))
    return product.to(weight.dtype) if weight.itemsize > 1 else product
