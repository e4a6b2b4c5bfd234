"""Hostile models: folders, single files, LoRA, adapters, and a cache that lies."""

from __future__ import annotations

import json
import os
import shutil
import struct
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from regrain.editing.storage.local_models import ASSETS
from tests.hostile import base
from tests.hostile.cases import Case, Expected
from tests.hostile.faults import (
    CONTENT,
    SPECIAL,
    VALUES,
    damage,
    damage_file,
    put,
    replace_file,
)

Make = Callable[[], bytes]
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
    "scheduler/scheduler_config.json": "num_train_timesteps beta_start beta_end beta_schedule "
    "prediction_type steps_offset set_alpha_to_one rescale_betas_zero_snr _class_name "
    "timestep_spacing trained_betas thresholding timestep_type",
    "vae/config.json": "scaling_factor latent_channels _class_name shift_factor in_channels "
    "latents_mean latents_std",
    "unet/config.json": "in_channels cross_attention_dim attention_head_dim block_out_channels "
    "layers_per_block down_block_types sample_size addition_embed_type time_cond_proj_dim "
    "_class_name class_embed_type num_class_embeds encoder_hid_dim mid_block_type "
    "transformer_layers_per_block only_cross_attention attention_type",
    "text_encoder/config.json": "hidden_size num_hidden_layers num_attention_heads "
    "max_position_embeddings vocab_size",
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
_TEXTS = {
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


def _run(model: str, *more: str) -> list[str]:
    return [
        "editing",
        "run",
        "project",
        "-o",
        "out",
        "--set=steps=1",
        f"--model={model}",
        *more,
    ]


def _with_model(
    name: str, file: str, expected: Expected, change: base.Change, *given: Any
) -> Case:
    """A run with a copy of the built-in model, all of it links, in which a file
    changes."""

    def write(folder: Path) -> None:
        base.write_project(folder / "project")
        shutil.copytree(
            ASSETS / "storybook", folder / "model", copy_function=os.symlink
        )
        change(folder / "model" / file, *given)

    return Case("weights", name, _run("model"), write, expected, slow=True)


def _with_file(
    kind: str,
    name: str,
    make: Make,
    file: str,
    option: str = "",
    expected: Expected = "refuse",
) -> Case:
    """A run with a file, which is the model unless an option takes it."""
    command = _run("storybook", option + file) if option else _run(file)
    return Case(
        kind,
        name,
        command,
        base.with_project(_fill, make, at=file),
        expected,
        slow=bool(option),
    )


def _fill(file: Path, make: Make) -> None:
    replace_file(file, make())


def cases() -> Iterator[Case]:
    """All of them."""
    yield from chain(_configs(), _keys(), _tensors(), _loras(), _singles())
    yield from _caches()


def _configs() -> Iterator[Case]:
    for file in _FILES:
        for name, text in _TEXTS.items():
            soft = (
                name == "an object of nothing"
                or "words" in file
                or "tokenizer_config" in file
            )
            expected: Expected = "either" if soft else "refuse"
            yield _with_model(
                f"{file} is {name}",
                file,
                expected,
                replace_file,
                text.encode("latin-1"),
            )
        for name in (
            "a pipe",
            "a folder",
            "a link to itself",
            "a link to endless zeros",
            "missing",
        ):
            soft = (
                name == "missing" or "tokenizer_config" in file
            )  # not a file is as good as missing
            yield _with_model(
                f"{file} is {name}", file, "either" if soft else "refuse", put, name
            )


def _keys() -> Iterator[Case]:
    for file, keys in _KEYS.items():
        for key in keys.split():
            for name in _FEW:
                yield _with_model(
                    f"{file}: {key} is {name}", file, "either", _set, key, VALUES[name]
                )


def _set(file: Path, key: str, value) -> None:
    replace_file(file, json.dumps(json.loads(file.read_text()) | {key: value}).encode())


def header(entries) -> bytes:
    """The head of a safetensors file."""
    text = json.dumps(entries).encode() if not isinstance(entries, bytes) else entries
    return struct.pack("<Q", len(text)) + text


def _entry(length: int, start: int, stop: int, dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": [length], "data_offsets": [start, stop]}


_HEADS: dict[str, Make] = {
    "a head of 90 MB": lambda: header(b" " * 90_000_000),
    "a million tensors": lambda: header(
        {f"t{i}": _entry(0, 0, 0) for i in range(1_000_000)}
    ),
    "a long head that is not there": lambda: struct.pack("<Q", 2**40),
    "offsets beyond the file": lambda: header({"a": _entry(9, 0, 36)}),
    "a negative shape": lambda: header({"a": _entry(-1, 0, 4)}) + bytes(4),
    "an unknown type": lambda: header({"a": _entry(1, 0, 4, "X9")}) + bytes(4),
    "a list for a head": lambda: header([]),
    "deep metadata": lambda: header(
        b'{"__metadata__":' + b'{"a":' * 10_000 + b"1" + b"}" * 10_001
    ),
    "no tensors": lambda: header({}),
}


def _soft(name: str) -> Expected:
    """Weights with a few wrong numbers are still weights."""
    return (
        "either"
        if any(word in name for word in ("flipped", "middle", "tail"))
        else "refuse"
    )


def _tensors() -> Iterator[Case]:
    for name in CONTENT:
        for file in (
            "text_encoder/model.safetensors",
            "vae/diffusion_pytorch_model.safetensors",
        ):
            yield _with_model(f"{file}, {name}", file, _soft(name), damage_file, name)
    nowhere = "a link to nothing"
    for file in ("tokenizer/tokenizer_config.json", "vae/config.json", "words.json"):
        yield _with_model(f"{file}, {nowhere}", file, "refuse", put, nowhere)
    for name, make in _HEADS.items():
        file = "vae/diffusion_pytorch_model.safetensors"
        yield _with_model(f"vae, {name}", file, "refuse", _fill, make)


_NAMES = (
    "model.diffusion_model.input_blocks.0.0.weight",
    "model.diffusion_model.time_embed.0.weight",
    "first_stage_model.encoder.conv_in.weight",
    "cond_stage_model.transformer.text_model.embeddings.token_embedding.weight",
    "cond_stage_model.model.token_embedding.weight",
    "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight",
)


def _misshaped(name: str, shape: list[int]) -> bytes:
    """A file of all these tensors, one number each, but for one."""
    size = 4 * int(np.prod(shape)) if shape else 4
    others = enumerate(other for other in _NAMES if other != name)
    head = {other: _entry(1, size + 4 * i, size + 4 * i + 4) for i, other in others}
    head[name] = {"dtype": "F32", "shape": shape, "data_offsets": [0, size]}
    return header(head) + bytes(size + 4 * len(_NAMES) - 4)


def _singles() -> Iterator[Case]:
    kind = "single file"
    file = "model.safetensors"
    for name, make in _HEADS.items():
        yield _with_file(kind, name, make, file)
    for name in _NAMES:
        for shape in ([], [1], [0, 0], [1, 1, 1, 1, 1], [2**40, 0], [320, 4]):
            title = f"{'.'.join(name.split('.')[1:-1])} of shape {shape}"
            yield _with_file(kind, title, partial(_misshaped, name, shape), file)
    for name in CONTENT:
        sound = partial(
            _damaged, "storybook/text_encoder/model.safetensors", 200_000, name
        )
        yield _with_file(kind, name, sound, file)


def _damaged(asset: str, most: int, fault: str) -> bytes:
    return damage((ASSETS / asset).read_bytes()[:most], fault)


_LAYER = "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"


def _lora(**parts: np.ndarray) -> bytes:
    from safetensors.numpy import save

    named = (
        (f"{_LAYER}.{name.replace('__', '.')}", value) for name, value in parts.items()
    )
    return save({name: np.ascontiguousarray(value) for name, value in named})


def _halves(a: tuple[int, ...], b: tuple[int, ...], **more: np.ndarray) -> bytes:
    one, other = (np.zeros(shape, np.float32) for shape in (a, b))
    return _lora(lora_A__weight=one, lora_B__weight=other, **more)


_LORAS: dict[str, Make] = {
    "rank 0": lambda: _halves((0, 96), (96, 0)),
    "halves of no dimension": lambda: _halves((), ()),
    "one dimension": lambda: _halves((4,), (4,)),
    "ranks that differ": lambda: _halves((4, 96), (96, 5)),
    "alpha of two numbers": lambda: _halves(
        (4, 96), (96, 4), alpha=np.zeros(2, np.float32)
    ),
    "alpha of NaN": lambda: _halves(
        (4, 96), (96, 4), alpha=np.array(np.nan, np.float32)
    ),
    "five dimensions": lambda: _halves((4, 96, 1, 1, 1), (96, 4, 1, 1, 1)),
    "norms that are NaN": lambda: _halves(
        (4, 96), (96, 4), lora_magnitude_vector=np.full(96, np.nan, np.float32)
    ),
    "a bias where there is none": lambda: _halves(
        (4, 96), (96, 4), lora_B__bias=np.zeros(96, np.float32)
    ),
    "a table where there is none": lambda: _lora(diff_m=np.zeros((1, 6), np.float32)),
    "an alpha of no number": lambda: _halves(
        (4, 96), (96, 4), alpha=np.zeros(0, np.int64)
    ),
}
_WRITTEN = (
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
    "owner/name.git",
    "owner/a--b@1",
)


def _loras() -> Iterator[Case]:
    for name, make in _LORAS.items():
        yield _with_file("lora", name, make, "lora.safetensors", "--lora=")
    file = "file.safetensors"
    for kind in ("lora", "adapter"):
        option = f"--{kind}="
        for name, make in _HEADS.items():
            yield _with_file(kind, f"head, {name}", make, file, option)
        for name in CONTENT:
            damaged = partial(
                _damaged,
                "examples/13_by_a_tuned_model/adapter.safetensors",
                2**30,
                name,
            )
            expected = _soft(name) if kind == "adapter" else "refuse"
            yield _with_file(kind, name, damaged, file, option, expected)
        for name in SPECIAL:
            write = base.with_project(put, name, at=file)
            yield Case(
                kind, f"is {name}", _run("storybook", option + file), write, slow=True
            )
    for text in _WRITTEN:
        name = f"written {text[:12]!r} ({len(text)})"
        yield Case(
            "lora", name, _run("storybook", f"--lora={text}"), base.with_project()
        )


def _caches() -> Iterator[Case]:
    special = (
        "a pipe",
        "a folder",
        "a link to itself",
        "a link to endless zeros",
        "a link to nothing",
    )
    for name in (*CONTENT, *special):
        title = f"entries{' are' if name in special else ','} {name}"
        command = ["twice_with_broken_cache", name]
        yield Case("cache", title, command, base.with_project(), "accept", slow=True)
    for name in (
        "a file",
        "a pipe",
        "a link to itself",
        "below a file",
        "a full device",
    ):

        def spoil(folder: Path, name=name) -> None:
            root = folder.parent / "cache"
            if name == "below a file":
                os.environ["REGRAIN_CACHE"] = str(root / "deeper")
            if name in ("a file", "below a file"):
                root.write_text("x")
            else:
                SPECIAL["a link to a full device" if name == "a full device" else name](
                    root
                )

        write = base.with_project(spoil)
        yield Case(
            "cache",
            f"the folder is {name}",
            _run("storybook"),
            write,
            "accept",
            slow=True,
        )
