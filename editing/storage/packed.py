"""Files of packed weights (GGUF): several numbers in a byte, and a scale for each few of
them."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regrain.editing.boundary import boundary, check_regular
from regrain.editing.errors import ModelError, shorten
from regrain.editing.storage.ready import check_weights

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray
    from torch import Tensor

ENDING = ".gguf"
# Types of packed numbers that are read, and where in a block their scales are, numbers
# of 16 bits.
_SCALES: Mapping[str, tuple[int, ...]] = {
    "Q4_0": (0,),
    "Q4_1": (0, 2),
    "Q5_0": (0,),
    "Q5_1": (0, 2),
    "Q8_0": (0,),
    "Q2_K": (80, 82),
    "Q3_K": (108,),
    "Q4_K": (0, 2),
    "Q5_K": (0, 2),
    "Q6_K": (208,),
    "IQ4_NL": (0,),
    "IQ4_XS": (0,),
}
_PLAIN = ("F32", "F16", "BF16")
OF_PARTS: Mapping[str, tuple[str, ...]] = {
    "unet": ("sd1", "sdxl"),
    "transformer": ("wan",),
    "transformer_2": ("wan",),
    "text_encoder": ("t5encoder",),
}
"""Of the folders of parts that may be packed: what their files say that they are of."""
_AT_ONCE = 1 << 22  # numbers that are unpacked together
_MAX_HEAD = 16_000_000  # bytes, of a tokenizer of 256,000 tokens half of it
_MAX_VALUES = 1_500_000  # in a head; that tokenizer has two thirds of it
# Of a tensor of more than four axes: its shape.
_SHAPE = "comfy.gguf.orig_shape."
# What is said of a file without changing what its numbers mean.
_ABOUT = re.compile(
    r"GGUF\.\w+|tokenizer\..*|general\.(architecture|alignment|type|name|author|version|"
    r"organization|basename|finetune|description|quantized_by|size_label|license.*|"
    r"\w*url|doi|uuid|repo_url|tags|languages|datasets|base_model.*|source.*|file_type|"
    r"quantization_version)|" + re.escape(_SHAPE) + ".*"
)


@dataclass(frozen=True, eq=False)
class PackedTensor:
    """A tensor of a file.

    Attributes:
        kind: Of its numbers, as the format names it.
        shape: Of its numbers.
        content: As stored: bytes (rows, bytes of a row) if they are packed.
    """

    kind: str
    shape: tuple[int, ...]
    content: NDArray[Any]

    @property
    def is_packed(self) -> bool:
        """True if several numbers share a scale."""
        return self.kind in _SCALES

    def stored(self) -> Tensor:
        """Return the bytes of packed numbers, else the numbers; mapped from the
        file."""
        import torch

        found = torch.from_numpy(self.content)
        if self.is_packed:
            return found.view(torch.int8)
        if self.kind == "BF16":
            found = found.view(torch.bfloat16)
        return found.reshape(self.shape)

    def unpacked(self, dtype: torch.dtype) -> Tensor:
        """Return its numbers."""
        found = self.stored()
        if self.is_packed:
            found = unpack(found, self.kind, dtype).reshape(self.shape)
        return found.to(dtype)


def check_scales(tensor: PackedTensor, name: str, title: str) -> None:
    """Refuse packed numbers of which one is NaN or Inf, by the numbers by which they
    are multiplied, or that are added to them; see `check_weights`."""
    import torch

    if not tensor.is_packed:
        return
    _, size = _sizes(tensor.kind)
    blocks = tensor.stored().reshape(-1, size)
    for at in _SCALES[tensor.kind]:
        scales = blocks[:, at : at + 2].contiguous().view(torch.float16)
        check_weights({f"{name}, byte {at} of a block": scales.float()}, title)


def unpack(stored: Tensor, kind: str, dtype: torch.dtype) -> Tensor:
    """Return packed numbers (rows, columns): each the float32 product that the format
    defines, then in `dtype`.

    Args:
        stored: Bytes (rows, bytes of a row), as int8.
        kind: A type of packed numbers that is read.
    """
    import torch
    from diffusers.quantizers.gguf.utils import dequantize_functions
    from gguf import GGMLQuantizationType

    function = dequantize_functions[GGMLQuantizationType[kind]]
    numbers, size = _sizes(kind)
    blocks = stored.view(torch.uint8).reshape(-1, size)
    found = stored.new_empty(len(blocks), numbers, dtype=dtype)
    # a piece at a time, since what is made on the way is several times as large
    step = _AT_ONCE // numbers
    for start in range(0, len(blocks), step):
        piece = blocks[start : start + step]
        found[start : start + step] = function(piece, numbers, size, torch.float32)
    return found.reshape(len(stored), -1)


@cache
def _sizes(kind: str) -> tuple[int, int]:
    """Return how many numbers a block has, and how many bytes."""
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

    return GGML_QUANT_SIZES[GGMLQuantizationType[kind]]


def is_packed(path: Path) -> bool:
    """Tell whether a file is of packed weights by its name, as in lists."""
    return path.suffix.lower() == ENDING


def read_packed(
    path: Path, part: str, settings: Collection[str] = ()
) -> tuple[dict[str, PackedTensor], dict[str, str]]:
    """Read the head of a file; its numbers stay on disk until they are asked for.

    Args:
        part: What it must be of, of `OF_PARTS`.
        settings: What it may say of its network, which the caller compares.
    Returns:
        Its tensors by name, and its texts by key.
    Raises:
        ModelError: It is damaged, of something else, or says what is not known.
    """
    title = shorten(path.name)
    check_regular(path, "model", ModelError)
    said = f"{title} is damaged or not a GGUF file. Download it again."
    with boundary("model", said, ModelError):
        reader = _reader(path)
        texts = {}
        for key, field in reader.fields.items():
            is_long = key.startswith("tokenizer.")
            texts[key] = "" if is_long else str(field.contents())
        _check_texts(texts, OF_PARTS[part], settings, title)
        tensors = {}
        shaped = {key.removeprefix(_SHAPE) for key in texts if key.startswith(_SHAPE)}
        for one in reader.tensors:
            shape = one.shape.tolist()[::-1]
            if one.name in shaped:
                shape = reader.fields[f"{_SHAPE}{one.name}"].contents()
            if prod(shape) != one.n_elements:
                raise ValueError(one.name)
            kind = one.tensor_type.name
            if kind not in (*_PLAIN, *_SCALES):
                raise ModelError(
                    "model",
                    f"{title} has {shorten(one.name, 90)} of {kind}, which is not read. "
                    "Use a file of Q8_0, or of another type.",
                )
            tensors[one.name] = PackedTensor(kind, tuple(shape), one.data)
        if not tensors or not tensors.keys() >= shaped:
            raise ValueError(path)
    return tensors, texts


def _check_texts(
    texts: Mapping[str, str],
    architectures: Collection[str],
    settings: Collection[str],
    title: str,
) -> None:
    """Refuse a file of something else, or that says what may change what its numbers
    mean."""
    said = ""
    own = texts.get("general.architecture", "")
    version = texts.get("general.quantization_version", "2")
    odd = [key for key in texts.keys() - {*settings} if not _ABOUT.fullmatch(key)]
    if own not in architectures:
        said = f"that it is of {shorten(own)}, not of {' or '.join(architectures)}"
    elif version != "2":
        said = f"quantization_version {version}, which is not known"
    elif odd:
        said = f"{shorten(min(odd), 90)}, which is not known"
    if said:
        raise ModelError("model", f"{title} says {said}. Use another file.")


def _reader(path: Path) -> Any:
    """Open a file; an exception if a length in its head leads out of it, or it has too
    many values."""
    from gguf import GGUFReader

    class BoundedReader(GGUFReader):
        """One that ends: `gguf` loops over whatever number a head says."""

        read = 0

        def _get(self, offset: int, dtype: Any, *args: Any, **kwargs: Any) -> Any:
            found = super()._get(offset, dtype, *args, **kwargs)
            count = int(args[0]) if args else 1
            self.read += 1
            is_head = not hasattr(self, "data_offset")
            if len(found) != count or self.read > _MAX_VALUES:
                raise EOFError(path)
            if is_head and offset > _MAX_HEAD:
                raise EOFError(path)
            return found

    return BoundedReader(path, "c")
