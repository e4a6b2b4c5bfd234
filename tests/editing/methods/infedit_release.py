"""Numbers of the authors' InfEdit on a tiny random model, with which ours are compared.

`python tests/editing/methods/infedit_release.py FOLDER` runs the code of
https://github.com/sled-group/InfEdit (as in commit 0ed3382) in FOLDER, which is no part of
this project, and writes `infedit_release.json`. Latents are given, texts are rounded to
single precision, as ours are, and noise is that of `infedit_noise.safetensors`:
processors draw it with other last bits.
"""

from __future__ import annotations

import abc
import ast
import contextlib
import copy
import inspect
import json
import sys
import typing
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from regrain.editing.diffusion.schedule import generator

NUMBERS = Path(__file__).with_suffix(".json")
NOISE = load_file(Path(__file__).with_name("infedit_noise.safetensors"))["noise"]
SEED = 5
SIZE = (16, 24)  # of latents; their attention is read at a quarter of it
EVERY = 13  # of the values are kept, beginning with the first
CAT = "a cat and a fox on the grass"
POSE = "a cat sitting on the grass"


@dataclass(frozen=True)
class Release:
    """An edit.

    Attributes:
        source, prompt: Prompts.
        edited, kept: Words that mark what is edited, and what is kept.
        steps, strength, guidance, cross, own: Parameters; the last are the shares that
            take the source's attention to words, and self-attention.
        least: Threshold of both kinds of words.
    """

    source: str
    prompt: str
    edited: str = ""
    kept: str = ""
    steps: int = 4
    strength: float = 1.0
    guidance: float = 2.0
    source_guidance: float = 1.0
    cross: float = 0.7
    own: float = 0.3
    least: float = 0.6


CASES = {
    "a word in another's place": Release(CAT, "a dog and a fox on the grass"),
    "the nearest of several words": Release(
        CAT, "a very old dog and a fox on the grass"
    ),
    "edited in place of an edited word": Release(
        CAT, "a horse and a cat on the grass", "cat", least=0.8
    ),
    "a word of both lists": Release(
        POSE, "a cat standing on the grass", "cat standing", "cat", 3, least=0.25
    ),
    "less strength": Release(
        CAT, "a dog and a fox on the grass", "dog", "grass", 6, 0.5, least=0.9
    ),
}


def write_tiny(folder: Path) -> Path:
    """Write a model with Stable Diffusion's blocks of cross-attention that the code
    reads, and weights that no library draws."""
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from made_models import autoencoder_blocks, save_parts
    from transformers import CLIPTextModel

    unet = UNet2DConditionModel(
        sample_size=16,
        block_out_channels=(8, 16, 16, 16),
        layers_per_block=2,
        attention_head_dim=2,
        norm_num_groups=4,
        cross_attention_dim=32,
        down_block_types=("DownBlock2D", *2 * ["CrossAttnDownBlock2D"], "DownBlock2D"),
        up_block_types=("UpBlock2D", *2 * ["CrossAttnUpBlock2D"], "UpBlock2D"),
    )
    autoencoder = AutoencoderKL(
        **autoencoder_blocks(2), block_out_channels=(8, 8), norm_num_groups=4
    )
    fill(unet)
    save_parts(folder, unet, autoencoder)
    texts = CLIPTextModel.from_pretrained(folder / "text_encoder")
    fill(texts)
    texts.save_pretrained(folder / "text_encoder")
    return folder


def fill(model: nn.Module) -> None:
    """Draw a model's weights by its own names. NumPy's old generator never changes."""
    for name, weight in sorted(model.named_parameters()):
        fresh = np.random.RandomState(list(name.removeprefix("text_model.").encode()))  # noqa: NPY002
        drawn = torch.from_numpy(fresh.standard_normal(weight.shape))
        spread = 1.0 if "embedding" in name else weight[0].numel() ** -0.5
        if name.endswith(("to_q.weight", "to_k.weight")):
            spread *= 3  # attention looks somewhere
        if weight.ndim == 1:
            spread = 0.1
        weight.data = (spread * drawn + ("norm" in name and name.endswith("t"))).to(
            weight
        )


def latents() -> Tensor:
    """The clean latents of every edit."""
    fresh = np.random.RandomState(SEED)  # noqa: NPY002
    return torch.from_numpy(fresh.standard_normal((1, 4, *SIZE)))


def drawn(shape: Sequence[int], generator: torch.Generator) -> Tensor:
    """The noise of a draw, which a generator of the seed and the number of the draw
    names."""
    (number,) = (n for n in range(len(NOISE)) if is_of(generator, n))
    return NOISE[number].reshape(shape)


def is_of(fresh: torch.Generator, number: int) -> bool:
    return fresh.initial_seed() == generator(SEED, number).initial_seed()


def kept(found: Tensor) -> Tensor:
    """The values that are kept of an edit."""
    return found.flatten()[::EVERY]


# --- The authors' code


def named(folder: Path, file: str, scope: dict[str, object], *names: str) -> None:
    """Define some functions and classes of a file in a scope. The rest of it loads
    models and makes a page."""
    tree = ast.parse((folder / file).read_text())
    known = [x for x in tree.body if isinstance(x, ast.FunctionDef | ast.ClassDef)]
    chosen = [part for part in known if part.name in names]
    assert {part.name for part in chosen} == set(names), file
    # Annotations stay text, as they do in this file.
    exec(compile(ast.Module(chosen, []), file, "exec"), scope)


class Draws(ModuleType):
    """torch, with the noise that is given."""

    def __init__(self) -> None:
        super().__init__("torch")
        self.numbers = iter(range(1000))

    def __getattr__(self, name: str) -> object:
        return getattr(torch, name)

    def randn(self, *_: object, **__: object) -> Tensor:
        return NOISE[next(self.numbers)].double()[None]


class Projection(nn.Linear):
    """A layer as it was in the diffusers of the code, which gave it a scale."""

    def forward(self, input: Tensor, scale: float = 1.0) -> Tensor:
        assert scale == 1
        return super().forward(input)


class Pipeline:
    """What the code takes of diffusers' pipelines."""

    _execution_device = "cpu"

    def progress_bar(self, total: int) -> object:
        return contextlib.nullcontext(SimpleNamespace(update=lambda: None))


class Encoder:
    """A text encoder in double precision, whose vectors are rounded."""

    dtype = torch.float64

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.config = model.config

    def __call__(self, ids: Tensor, attention_mask: Tensor | None = None) -> tuple:
        return (self.model(ids).last_hidden_state.float().double(),)


def run(folder: Path, model: Path, case: Release) -> Tensor:
    """The last estimate of the edit by the authors' code."""
    from diffusers import LCMScheduler, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTokenizer

    draws = Draws()
    parts = {
        part: kind.from_pretrained(model / part)
        for part, kind in (
            ("unet", UNet2DConditionModel),
            ("text_encoder", CLIPTextModel),
            ("tokenizer", CLIPTokenizer),
            ("scheduler", LCMScheduler),
        )
    }
    unet = parts["unet"].double().eval()
    for part in unet.modules():
        if type(part).__name__ == "Attention":
            part.to_out[0].__class__ = Projection
    levels = parts["scheduler"]
    roots = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64)
    levels.alphas_cumprod = (1 - roots**2).cumprod(0)
    parts["text_encoder"] = Encoder(parts["text_encoder"].double().eval())
    scope: dict[str, object] = vars(typing) | {
        "torch": draws,
        "np": np,
        "F": F,
        "nnf": F,
        "abc": abc,
        "copy": copy,
        "inspect": inspect,
        "LOW_RESOURCE": False,
        "MAX_NUM_WORDS": 77,
        "device": "cpu",
        "torch_dtype": torch.float64,
        "tokenizer": parts["tokenizer"],
        "encoder": parts["text_encoder"],
        "DiffusionPipeline": Pipeline,
        "TextualInversionLoaderMixin": type("Inversion", (), {}),
        "LoraLoaderMixin": type("Lora", (), {}),
        "StableDiffusionPipelineOutput": SimpleNamespace,
        "randn_tensor": draws.randn,
    }
    aligner = "ScoreParams get_matrix get_traceback_matrix global_align get_aligned_sequences get_mapper"
    named(folder, "seq_aligner.py", scope, *aligner.split(), "get_refinement_mapper")
    scope["seq_aligner"] = SimpleNamespace(**scope)
    named(folder, "ptp_utils.py", scope, "register_attention_control")
    controls = "LocalBlend AttentionControl AttentionStore AttentionControlEdit AttentionRefine"
    named(folder, "app_infedit.py", scope, *controls.split())
    named(folder, "pipeline_ead.py", scope, "ddcm_sampler", "EditPipeline")

    # As `inference` of app_infedit.py.
    begun = case.steps - int(case.steps * case.strength)
    control = scope["AttentionRefine"](
        [case.source, case.prompt],
        [[case.edited, case.kept]],
        case.steps,
        begun,
        cross_replace_steps=case.cross,
        self_replace_steps=case.own,
        local_blend=scope["LocalBlend"](thresh_e=case.least, thresh_m=case.least),
    )
    made = scope["EditPipeline"]
    pipeline = made.__new__(made)
    # A text encoder that says nothing of inversion: the code asks for `maybe_convert_prompt`.
    pipeline.maybe_convert_prompt = lambda prompt, _: prompt
    pipeline.image_processor = SimpleNamespace(
        preprocess=lambda image: image, postprocess=lambda image, **_: image
    )
    vars(pipeline).update(parts)
    scope["register_attention_control"](pipeline, control)
    return pipeline(
        prompt=case.prompt,
        source_prompt=case.source,
        positive_prompt="",
        negative_prompt="",
        image=latents(),
        num_inference_steps=case.steps,
        eta=1,
        strength=case.strength,
        guidance_scale=case.guidance,
        source_guidance_scale=case.source_guidance,
        denoise_model=case.strength < 1,
        callback=control.step_callback,
        output_type="latent",
    ).images


if __name__ == "__main__":
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as place:
        tiny = write_tiny(Path(place))
        found = {
            name: kept(run(Path(sys.argv[1]), tiny, case))
            for name, case in CASES.items()
        }
    rounded = {
        name: [float(f"{value:.9g}") for value in values.tolist()]
        for name, values in found.items()
    }
    NUMBERS.write_text(json.dumps(rounded, separators=(",", ":")) + "\n")
