"""Hostile models: folders, single files, LoRA, adapters, and a cache that lies."""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from regrain.editing.storage.local_models import ASSETS
from tests.hostile import base
from tests.hostile.cases import Case
from tests.hostile.faults import CONTENT, SPECIAL, VALUES

_FILES = (
    "unet/config.json",
    "vae/config.json",
    "text_encoder/config.json",
    "scheduler/scheduler_config.json",
    "tokenizer/vocab.json",
    "tokenizer/tokenizer_config.json",
    "words.json",
    "defaults.json",
    "unet/diffusion_pytorch_model.safetensors.index.json",
)
_KEYS = {
    "scheduler/scheduler_config.json": (
        "num_train_timesteps",
        "beta_start",
        "beta_end",
        "beta_schedule",
        "prediction_type",
        "steps_offset",
        "set_alpha_to_one",
        "rescale_betas_zero_snr",
    ),
    "vae/config.json": ("scaling_factor", "latent_channels", "_class_name", "shift_factor", "in_channels"),
    "unet/config.json": (
        "in_channels",
        "cross_attention_dim",
        "attention_head_dim",
        "block_out_channels",
        "layers_per_block",
        "down_block_types",
        "sample_size",
        "addition_embed_type",
        "time_cond_proj_dim",
    ),
    "text_encoder/config.json": (
        "hidden_size",
        "num_hidden_layers",
        "num_attention_heads",
        "max_position_embeddings",
        "vocab_size",
    ),
}
_FEW = (
    "null",
    "true",
    "zero",
    "minus one",
    "10**30",
    "1e308",
    "a list",
    "an object",
    "text: empty",
    "text: control characters",
    "one and a half",
    "10,000 entries",
)


def _run(model: str, *more: str) -> list[str]:
    return ["editing", "run", "project", "-o", "out", "--set=steps=1", f"--model={model}", *more]


def _project(folder: Path) -> None:
    base.write_project(folder / "project")


def cases() -> Iterator[Case]:
    """All of them."""
    yield from _configs()
    yield from _keys()
    yield from _tensors()
    yield from _loras()
    yield from _singles()
    yield from _caches()


def _configs() -> Iterator[Case]:
    texts = {
        "a list": "[]",
        "a number": "3",
        "null": "null",
        "text": '"x"',
        "deep": "[" * 100_000,
        "empty": "",
        "not JSON": "{",
        "not UTF-8": "\xff\xfe",
        "an object of nothing": "{}",
    }
    for file in _FILES:
        for name, text in texts.items():

            def prepare(folder: Path, file=file, text=text) -> list[str]:
                _project(folder)
                model = base.linked_model(folder / "model", ASSETS / "storybook")
                base.replace_file(model / file, text.encode("latin-1"))
                return _run("model")

            expected = (
                "either"
                if name == "an object of nothing" or "words" in file or "tokenizer_config" in file
                else "refuse"
            )
            yield Case("weights", f"{file} is {name}", prepare, expected, slow=True)
        for name in ("a pipe", "a folder", "a link to itself", "a link to endless zeros", "missing"):

            def prepare_special(folder: Path, file=file, name=name) -> list[str]:
                _project(folder)
                model = base.linked_model(folder / "model", ASSETS / "storybook")
                (model / file).unlink(missing_ok=True)
                os.chdir((model / file).parent)
                SPECIAL[name](model / file)
                os.chdir(folder)
                return _run("model")

            optional = name == "missing" or "tokenizer_config" in file  # not a file is as good as missing
            expected = "either" if optional else "refuse"
            yield Case("weights", f"{file} is {name}", prepare_special, expected, slow=True)


def _keys() -> Iterator[Case]:
    for file, keys in _KEYS.items():
        for key in keys:
            for name in _FEW:

                def prepare(folder: Path, file=file, key=key, value=VALUES[name]) -> list[str]:
                    _project(folder)
                    model = base.linked_model(folder / "model", ASSETS / "storybook")
                    content = json.loads((model / file).read_text())
                    content[key] = value
                    base.replace_file(model / file, json.dumps(content).encode())
                    return _run("model")

                yield Case("weights", f"{file}: {key} is {name}", prepare, "either", slow=True)


def header(entries: Any) -> bytes:
    """The head of a safetensors file."""
    text = json.dumps(entries).encode() if not isinstance(entries, bytes) else entries
    return struct.pack("<Q", len(text)) + text


_HEADS = {
    "a head of 90 MB": lambda: header(b" " * 90_000_000),
    "a million tensors": lambda: header(
        {f"t{i}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for i in range(1_000_000)}
    ),
    "a long head that is not there": lambda: struct.pack("<Q", 2**40),
    "offsets beyond the file": lambda: header({"a": {"dtype": "F32", "shape": [9], "data_offsets": [0, 36]}}),
    "a negative shape": lambda: (
        header({"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}) + bytes(4)
    ),
    "an unknown type": lambda: (
        header({"a": {"dtype": "X9", "shape": [1], "data_offsets": [0, 4]}}) + bytes(4)
    ),
    "a list for a head": lambda: header([]),
    "deep metadata": lambda: header(b'{"__metadata__":' + b'{"a":' * 10_000 + b"1" + b"}" * 10_001),
    "no tensors": lambda: header({}),
}


def _tensors() -> Iterator[Case]:
    for name, fault in CONTENT.items():
        for file in ("text_encoder/model.safetensors", "vae/diffusion_pytorch_model.safetensors"):

            def prepare(folder: Path, fault=fault, file=file, name=name) -> list[str]:
                _project(folder)
                model = base.linked_model(folder / "model", ASSETS / "storybook")
                data = (ASSETS / "storybook" / file).read_bytes()
                base.replace_file(model / file, fault(data, np.random.default_rng(zlib.crc32(name.encode()))))
                return _run("model")

            soft = any(word in name for word in ("flipped", "middle", "tail"))
            yield Case("weights", f"{file}, {name}", prepare, "either" if soft else "refuse", slow=True)
    for name, make in _HEADS.items():

        def prepare_head(folder: Path, make=make) -> list[str]:
            _project(folder)
            model = base.linked_model(folder / "model", ASSETS / "storybook")
            base.replace_file(model / "vae/diffusion_pytorch_model.safetensors", make())
            return _run("model")

        yield Case("weights", f"vae, {name}", prepare_head, slow=True)


def _singles() -> Iterator[Case]:
    for name, make in _HEADS.items():

        def prepare(folder: Path, make=make) -> list[str]:
            _project(folder)
            (folder / "model.safetensors").write_bytes(make())
            return _run("model.safetensors")

        yield Case("single file", name, prepare)
    names = (
        "model.diffusion_model.input_blocks.0.0.weight",
        "model.diffusion_model.time_embed.0.weight",
        "first_stage_model.encoder.conv_in.weight",
        "cond_stage_model.transformer.text_model.embeddings.token_embedding.weight",
        "cond_stage_model.model.token_embedding.weight",
        "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight",
    )
    for name in names:
        for shape in ([], [1], [0, 0], [1, 1, 1, 1, 1], [2**40, 0], [320, 4]):

            def prepare_shape(folder: Path, name=name, shape=shape) -> list[str]:
                _project(folder)
                size = 4 * int(np.prod(shape)) if shape else 4
                head = {
                    other: {"dtype": "F32", "shape": [1], "data_offsets": [size + 4 * i, size + 4 * i + 4]}
                    for i, other in enumerate(n for n in names if n != name)
                }
                head[name] = {"dtype": "F32", "shape": shape, "data_offsets": [0, size]}
                (folder / "model.safetensors").write_bytes(header(head) + bytes(size + 4 * len(names) - 4))
                return _run("model.safetensors")

            yield Case("single file", f"{'.'.join(name.split('.')[1:-1])} of shape {shape}", prepare_shape)
    for name, fault in CONTENT.items():

        def prepare_bytes(folder: Path, fault=fault, name=name) -> list[str]:
            _project(folder)
            data = (ASSETS / "storybook/text_encoder/model.safetensors").read_bytes()[:200_000]
            (folder / "model.safetensors").write_bytes(
                fault(data, np.random.default_rng(zlib.crc32(name.encode())))
            )
            return _run("model.safetensors")

        yield Case("single file", name, prepare_bytes)


_LAYER = "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"


def _lora(**parts: np.ndarray) -> bytes:
    from safetensors.numpy import save

    return save(
        {f"{_LAYER}.{name.replace('__', '.')}": np.ascontiguousarray(value) for name, value in parts.items()}
    )


def _loras() -> Iterator[Case]:
    f = np.float32
    made = {
        "rank 0": {"lora_A__weight": np.zeros((0, 96), f), "lora_B__weight": np.zeros((96, 0), f)},
        "halves of no dimension": {"lora_A__weight": np.zeros((), f), "lora_B__weight": np.zeros((), f)},
        "one dimension": {"lora_A__weight": np.zeros(4, f), "lora_B__weight": np.zeros(4, f)},
        "ranks that differ": {"lora_A__weight": np.zeros((4, 96), f), "lora_B__weight": np.zeros((96, 5), f)},
        "widths that differ": {"lora_A__weight": np.zeros((4, 7), f), "lora_B__weight": np.zeros((9, 4), f)},
        "one half": {"lora_A__weight": np.zeros((4, 96), f)},
        "NaN": {"lora_A__weight": np.full((4, 96), np.nan, f), "lora_B__weight": np.full((96, 4), np.nan, f)},
        "alpha of two numbers": {
            "lora_A__weight": np.zeros((4, 96), f),
            "lora_B__weight": np.zeros((96, 4), f),
            "alpha": np.zeros(2, f),
        },
        "alpha of NaN": {
            "lora_A__weight": np.zeros((4, 96), f),
            "lora_B__weight": np.zeros((96, 4), f),
            "alpha": np.array(np.nan, f),
        },
        "whole numbers": {
            "lora_A__weight": np.zeros((4, 96), np.int64),
            "lora_B__weight": np.zeros((96, 4), np.int64),
        },
        "five dimensions": {
            "lora_A__weight": np.zeros((4, 96, 1, 1, 1), f),
            "lora_B__weight": np.zeros((96, 4, 1, 1, 1), f),
        },
        "an odd name": {"foo__bar": np.zeros((4, 96), f)},
    }
    for name, parts in made.items():

        def prepare(folder: Path, parts=parts) -> list[str]:
            _project(folder)
            (folder / "lora.safetensors").write_bytes(_lora(**parts))
            return _run("storybook", "--lora=lora.safetensors")

        yield Case("lora", name, prepare, slow=True)
    for kind, option in (("lora", "--lora"), ("adapter", "--adapter")):
        for name, make in _HEADS.items():

            def prepare_head(folder: Path, make=make, option=option) -> list[str]:
                _project(folder)
                (folder / "file.safetensors").write_bytes(make())
                return _run("storybook", f"{option}=file.safetensors")

            yield Case(kind, f"head, {name}", prepare_head, slow=True)
        for name, fault in CONTENT.items():

            def prepare_bytes(folder: Path, fault=fault, option=option, name=name) -> list[str]:
                _project(folder)
                data = (ASSETS / "examples/13_tuned_actor/adapter.safetensors").read_bytes()
                rng = np.random.default_rng(zlib.crc32(name.encode()))
                (folder / "file.safetensors").write_bytes(fault(data, rng))
                return _run("storybook", f"{option}=file.safetensors")

            soft = kind == "adapter" and any(word in name for word in ("flipped", "middle", "tail"))
            yield Case(kind, name, prepare_bytes, "either" if soft else "refuse", slow=True)
        for name in SPECIAL:

            def prepare_special(folder: Path, option=option, name=name) -> list[str]:
                _project(folder)
                SPECIAL[name](folder / "file.safetensors")
                return _run("storybook", f"{option}=file.safetensors")

            yield Case(kind, f"is {name}", prepare_special, slow=True)
    for text in (
        "@",
        "x@",
        "x@nan",
        "x@1e999",
        "x@-1",
        "@1",
        "x@@1",
        "a" * 5000,
        "file@" + "1" * 5000,
        " " * 20_000 + "@1",
    ):
        yield Case(
            "lora",
            f"written {text[:12]!r} ({len(text)})",
            lambda folder, text=text: (_project(folder), _run("storybook", f"--lora={text}"))[1],
        )


def _caches() -> Iterator[Case]:
    for name, fault in CONTENT.items():

        def prepare(folder: Path, fault=fault, name=name) -> list[str]:
            _project(folder)
            return ["twice_with_broken_cache", name]

        yield Case("cache", f"entries, {name}", prepare, "accept", slow=True)
    for name in ("a pipe", "a folder", "a link to itself", "a link to endless zeros", "a link to nothing"):

        def prepare_special(folder: Path, name=name) -> list[str]:
            _project(folder)
            return ["twice_with_broken_cache", name]

        yield Case("cache", f"entries are {name}", prepare_special, "accept", slow=True)
    for name in ("a file", "a pipe", "a link to itself", "below a file", "a full device"):

        def prepare_root(folder: Path, name=name) -> list[str]:
            _project(folder)
            root = folder.parent / "cache"
            if name == "below a file":
                root.write_text("x")
                os.environ["REGRAIN_CACHE"] = str(root / "deeper")
            elif name == "a file":
                root.write_text("x")
            elif name == "a full device":
                root.symlink_to("/dev/full")
            else:
                os.chdir(folder.parent)
                SPECIAL[name](root)
                os.chdir(folder)
            return _run("storybook")

        yield Case("cache", f"the folder is {name}", prepare_root, "accept", slow=True)
