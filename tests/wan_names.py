"""Names that Wan's authors gave to weights, and files with them."""

from pathlib import Path

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, GGUFWriter, quants
from json_files import read_json

TABLES = read_json(Path(__file__).with_name("editing") / "models/wan/published.json")
"""Of published files: width, hidden width, layers and control blocks; and of each piece
of a name of diffusers', that of the authors; the first that fits counts."""
# Where in a block of packed numbers their scales are, if not at its start.
SCALES = {
    **dict.fromkeys(("Q4_1", "Q5_1", "Q4_K", "Q5_K"), (0, 2)),
    "Q2_K": (80, 82),
    "Q3_K": (108,),
    "Q6_K": (208,),
}


def original(name):
    """The authors' name of a weight."""
    for ours, theirs in TABLES["names"].items():
        if ours in name:
            return name.replace(ours, theirs)
    is_control = name.startswith("vace_")
    name = name.replace("proj_out", "after_proj" if is_control else "head.head")
    end = "modulation" if "." in name else "head.modulation"
    return name.replace("scale_shift_table", end)


def packed_numbers(weight, kind):
    """A weight (rows, columns) in blocks of a type: packed by the library, or at random
    where it only unpacks."""
    number = GGMLQuantizationType[kind]
    try:
        return quants.quantize(weight, number)
    except NotImplementedError:
        pass
    numbers, size = GGML_QUANT_SIZES[number]
    rows, columns = weight.shape
    random = np.random.default_rng(columns)
    blocks = random.integers(0, 256, (weight.size // numbers, size), np.uint8)
    small = np.frombuffer(np.float16(2e-4).tobytes(), np.uint8)
    for at in SCALES.get(kind, (0,)):
        blocks[:, at : at + 2] = small
    return blocks.reshape(rows, columns // numbers * size)


def write_packed(
    weights,
    path,
    kind="Q8_0",
    architecture="wan",
    texts=(),
    start="",
    named=original,
):
    """Write a GGUF: linear weights of blocks are packed, others are not. Returns all
    weights as numpy unpacks them, by the names of diffusers."""
    number = GGMLQuantizationType[kind]
    writer = GGUFWriter(path, architecture)
    for key, value in dict(texts).items():
        writer.add_string(key, value)
    whole = {}
    for name, weight in weights.items():
        theirs = start + named(name)
        array = weight.float().numpy()
        is_linear = array.ndim == 2 and name.endswith("weight") and "block" in name
        if is_linear and kind not in ("F16", "BF16", "F32"):
            packed = packed_numbers(array, kind)
            writer.add_tensor(theirs, packed, raw_dtype=number)
            whole[name] = quants.dequantize(packed, number)
            continue
        if array.ndim > 4:  # as is usual, since the format has no more axes
            writer.add_array(f"comfy.gguf.orig_shape.{theirs}", [*array.shape])
            array = array.reshape(array.shape[0], -1)
        if kind in ("F16", "BF16") and array.ndim == 2:
            packed = quants.quantize(array, number)
            writer.add_tensor(theirs, packed, raw_dtype=number)
            array = quants.dequantize(packed, number)
        else:
            writer.add_tensor(theirs, array)
        whole[name] = array.reshape(weight.shape)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return whole
