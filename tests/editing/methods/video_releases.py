"""Numbers of the authors' Tune-A-Video, vid2vid-zero and FRESCO on tiny random models,
with which ours are compared.

`python tests/editing/methods/video_releases.py FOLDER` runs their code, which is no
part of this project, and writes `video_releases.json`. FOLDER holds

- `tune_a_video`: https://github.com/showlab/Tune-A-Video, commit f0c5d9b; its
  `unet_blocks.py` as in https://github.com/dguo98/Tune-A-Video, commit 7080426, which
  only adds an input that is not given
- `vid2vid_zero`: https://github.com/baaivision/vid2vid-zero, commit 23141fe; for its
  `resnet_2d.py` that of Tune-A-Video, with the classes renamed
- `fresco`: https://github.com/williamyang1991/FRESCO, commit 315fb69
- `gmflow`: its `geometry.py`, as in https://github.com/Fanke-max/gmflow, commit d708744
- `diffusers`: the package in version 0.11.1, whose layers the first two use

All is in double precision, also where the code asks for single.
"""

from __future__ import annotations

import abc
import ast
import contextlib
import gc
import inspect
import json
import sys
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MethodType, ModuleType, SimpleNamespace

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from infedit_release import CAT, SIZE, fill, latents, normal, write_tiny
from torch import Tensor, nn

NUMBERS = Path(__file__).with_suffix(".json")
FRAMES = 3
STEPS, GUIDANCE = 2, 4.0
LEVEL = 481  # of a step of tuning
TRIES = 2  # of vid2vid-zero to learn a text
PROMPTS = {
    "replaced": "a dog and a fox on the grass",
    "refined": "a very old dog and a fox on the grass",
}
# Of FRESCO; rounds are Adam's.
LAYER = "up_blocks.3.attentions.0.transformer_blocks.0.attn1"
PIXELS, TOKENS, CHANNELS, ROUNDS = (64, 96), (8, 12), 8, 5


def noise() -> Tensor:
    """The noise of a step of tuning."""
    return normal(FRAMES, 4, *SIZE, seed=6)


def pixels() -> np.ndarray:
    """Frames that are much alike."""
    drawn = 120 + 25 * normal(FRAMES, *PIXELS, 3, seed=7)
    return drawn.byte().numpy()


def flows() -> tuple[Tensor, Tensor]:
    """From each frame to the next, and back; in some columns they do not cancel."""
    there = (5 * normal(FRAMES, 2, 1, 1, seed=8)).expand(-1, -1, *PIXELS)
    back = 0.1 * normal(FRAMES, 2, *PIXELS, seed=9) - there
    back[..., 40:60] += 3
    return there, back


def features(seed: int) -> Tensor:
    """Of the tokens of both halves of guidance."""
    return normal(2 * FRAMES, CHANNELS, *TOKENS, seed=seed)


def background() -> Tensor:
    """How much of each token is background."""
    return normal(FRAMES, 1, *TOKENS, seed=13).sigmoid()


def joined(weights: Mapping[str, Tensor]) -> Tensor:
    """All values, in the order of the names."""
    return torch.cat([weights[name].detach().flatten() for name in sorted(weights)])


def kept(found: Tensor) -> Tensor:
    """About a hundred of the values."""
    return found.flatten()[:: found.numel() // 100 | 1]


# --- The authors' code


def named(
    path: Path, scope: dict[str, object], *names: str, change: Callable = str
) -> None:
    """Define some functions and classes of a file in a scope; all if none is named. The
    rest loads models and makes pages."""
    tree = ast.parse(change(path.read_text()))
    known = [x for x in tree.body if isinstance(x, ast.FunctionDef | ast.ClassDef)]
    chosen = [part for part in known if not names or part.name in names]
    assert {part.name for part in chosen} >= set(names), path
    # Annotations stay text, as they do in this file.
    exec(compile(ast.Module(chosen, []), str(path), "exec"), scope)


class Double(ModuleType):
    """torch, with double precision in place of single, and the level and noise of a
    step of tuning."""

    float32 = torch.float64

    def __getattr__(self, name: str) -> object:
        return getattr(torch, name)

    def randn_like(self, like: Tensor) -> Tensor:
        return as_clip(noise())

    def randint(self, *_: object, **__: object) -> Tensor:
        return torch.tensor([LEVEL])


class Pipeline:
    """What the code takes of diffusers' pipelines."""

    _execution_device = "cpu"
    device = "cpu"
    vae_scale_factor = 2

    def progress_bar(self, total: int) -> object:
        return contextlib.nullcontext(SimpleNamespace(update=lambda: None))


def encoded(
    pipeline: typing.Any, prompt: str | list[str], _: str, __: int, guided: bool, *___
) -> Tensor:
    """The vectors of prompts, with guidance also of as many empty ones."""
    prompts = [prompt] if isinstance(prompt, str) else prompt
    if guided:
        prompts = [""] * len(prompts) + prompts
    ids = pipeline.tokenizer(prompts, padding="max_length", return_tensors="pt")
    return pipeline.text_encoder(ids.input_ids)[0]


class Pieces:
    """The authors' code of a method on a model.

    Attributes:
        own: Folder of the code.
        scope: What its files import, and define.
    """

    def __init__(self, folder: Path, method: str, model: Path) -> None:
        from diffusers import ConfigMixin, ModelMixin
        from diffusers.configuration_utils import register_to_config
        from diffusers.models.embeddings import TimestepEmbedding, Timesteps
        from diffusers.models.unets.unet_2d_condition import UNet2DConditionOutput
        from transformers import CLIPTextModel, CLIPTokenizer

        self.own = folder / method
        self.model = model
        texts = CLIPTextModel.from_pretrained(model / "text_encoder").double().eval()
        bar = SimpleNamespace(update=lambda: None, close=lambda: None)
        self.scope: dict[str, typing.Any] = vars(typing) | {
            "torch": Double("torch"),
            "nn": nn,
            "np": np,
            "F": F,
            "nnf": F,
            "abc": abc,
            "inspect": inspect,
            "rearrange": rearrange,
            "repeat": repeat,
            "Adam": torch.optim.Adam,
            "tqdm": lambda steps=None, total=0: bar if steps is None else steps,
            "ModelMixin": ModelMixin,
            "ConfigMixin": ConfigMixin,
            "register_to_config": register_to_config,
            "Timesteps": Timesteps,
            "TimestepEmbedding": TimestepEmbedding,
            "UNet2DConditionOutput": UNet2DConditionOutput,
            "UNet3DConditionOutput": UNet2DConditionOutput,
            "Transformer2DModelOutput": UNet2DConditionOutput,
            "Transformer3DModelOutput": UNet2DConditionOutput,
            "TuneAVideoPipelineOutput": SimpleNamespace,
            "Vid2VidZeroPipelineOutput": SimpleNamespace,
            "DiffusionPipeline": Pipeline,
            "LOW_RESOURCE": False,
            "NUM_DDIM_STEPS": STEPS,
            "device": "cpu",
            "tokenizer": CLIPTokenizer.from_pretrained(model / "tokenizer"),
            "text_encoder": lambda ids: (texts(ids).last_hidden_state,),
        }
        layers = ("CrossAttention", "FeedForward", "GEGLU", "AdaLayerNorm")
        named(folder / "diffusers/diffusers/models/attention.py", self.scope, *layers)

    def define(self, file: str, *names: str, change: Callable = str) -> None:
        named(self.own / file, self.scope, *names, change=change)

    def levels(self, kind: typing.Any) -> typing.Any:
        """A scheduler in double precision."""
        found = kind.from_pretrained(self.model / "scheduler")
        roots = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64)
        found.alphas_cumprod = (1 - roots**2).cumprod(0)
        found.final_alpha_cumprod = found.alphas_cumprod[0]
        return found

    def pipeline(self, name: str, network: str, **more: object) -> typing.Any:
        """A pipeline of the authors' network with our weights; norms that ours lacks
        are neutral."""
        from diffusers import DDIMScheduler, UNet2DConditionModel

        ours = UNet2DConditionModel.from_pretrained(self.model / "unet")
        sizes = "block_out_channels layers_per_block attention_head_dim"
        sizes += " norm_num_groups cross_attention_dim sample_size"
        config = {size: ours.config[size] for size in sizes.split()}
        unet = self.scope[network](**config, **more)
        fill(dict(unet.named_parameters()))
        for part, weight in ours.state_dict().items():
            assert torch.equal(weight, unet.state_dict()[part]), part
        for part, weight in unet.named_parameters():
            if "norm_temp" in part:
                nn.init.constant_(weight, float(part.endswith("weight")))
        kind = self.scope[name]
        made = kind.__new__(kind)
        made.unet = unet.double().eval().requires_grad_(False)
        made.scheduler = self.levels(DDIMScheduler)
        made.scheduler.set_timesteps(STEPS)
        made.tokenizer = self.scope["tokenizer"]
        made.text_encoder = self.scope["text_encoder"]
        made._encode_prompt = MethodType(encoded, made)
        made.decode_latents = lambda x: x.numpy()
        return made


def as_clip(x: Tensor) -> Tensor:
    """Frames as the authors' networks take them."""
    return rearrange(x, "f c h w -> 1 c f h w")


def of_clip(x: Tensor) -> Tensor:
    return rearrange(x, "c f h w -> f c h w")


HOW = {
    "video_length": FRAMES,
    "height": 2 * SIZE[0],
    "width": 2 * SIZE[1],
    "num_inference_steps": STEPS,
    "guidance_scale": GUIDANCE,
}


def tune_a_video(folder: Path, model: Path) -> dict[str, Tensor]:
    """An edit; loss and gradients of a step of tuning."""
    from diffusers import DDPMScheduler

    pieces = Pieces(folder, "tune_a_video", model)
    for part in ("resnet", "attention", "unet_blocks", "unet"):
        pieces.define(f"tuneavideo/models/{part}.py")
    inversion = "init_prompt next_step get_noise_pred_single ddim_loop ddim_inversion"
    pieces.define("tuneavideo/util.py", *inversion.split())
    name = "TuneAVideoPipeline"
    pieces.define("tuneavideo/pipelines/pipeline_tuneavideo.py", name)
    pipeline = pieces.pipeline(name, "UNet3DConditionModel")
    invert = pieces.scope["ddim_inversion"]
    noisy = invert(pipeline, pipeline.scheduler, as_clip(latents(FRAMES)), STEPS)[-1]
    found = pipeline(PROMPTS["replaced"], latents=noisy, **HOW).videos

    tuned = {
        f"{name}.{own}": weight.requires_grad_()
        for name, module in pipeline.unet.named_modules()
        if name.endswith(("attn1.to_q", "attn2.to_q", "attn_temp"))
        for own, weight in module.named_parameters()
    }
    gradients = []

    def clip(weights: object, largest: float) -> None:
        of = {name: weight.grad for name, weight in tuned.items()}
        gradients.append(joined(of))
        torch.nn.utils.clip_grad_norm_(weights, largest)

    ids = pieces.scope["tokenizer"]([CAT], padding="max_length", return_tensors="pt")
    drawn = SimpleNamespace(sample=lambda: latents(FRAMES) / 0.18215)
    scope = pieces.scope | {
        "unet": pipeline.unet,
        "vae": SimpleNamespace(encode=lambda _: SimpleNamespace(latent_dist=drawn)),
        "batch": {
            "pixel_values": torch.zeros(1, FRAMES, 3, 8, 8),
            "prompt_ids": ids.input_ids,
        },
        "weight_dtype": torch.float64,
        "noise_scheduler": pieces.levels(DDPMScheduler),
        "train_batch_size": 1,
        "train_loss": 0.0,
        "gradient_accumulation_steps": 1,
        "max_grad_norm": 1.0,
        "accelerator": SimpleNamespace(
            gather=lambda x: x,
            backward=Tensor.backward,
            sync_gradients=True,
            clip_grad_norm_=clip,
        ),
        # As `main` makes it, by its own defaults.
        "optimizer": torch.optim.AdamW(
            pipeline.unet.parameters(), 3e-5, (0.9, 0.999), 1e-8, 1e-2
        ),
        "lr_scheduler": SimpleNamespace(step=lambda: None),
    }
    tree = ast.parse((pieces.own / "train_tuneavideo.py").read_text())
    (step,) = (
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.With) and "accumulate" in ast.unparse(node.items[0])
    )
    exec(compile(ast.Module(step.body, []), "train_tuneavideo.py", "exec"), scope)
    return {
        "tuned": of_clip(found[0]),
        "loss": torch.tensor([scope["train_loss"]]),
        "gradients": gradients[0],
    }


def vid2vid_zero(folder: Path, model: Path) -> dict[str, Tensor]:
    """An edit in which a word takes another's place, and one to which words are
    added."""
    pieces = Pieces(folder, "vid2vid_zero", model)
    for part in ("resnet_2d", "attention_2d", "unet_2d_blocks", "unet_2d_condition"):
        pieces.define(f"vid2vid_zero/models/{part}.py")
    aligner = "ScoreParams get_matrix get_traceback_matrix global_align"
    aligner += " get_aligned_sequences get_mapper get_refinement_mapper get_word_inds"
    aligner += " get_replacement_mapper_ get_replacement_mapper"
    utilities = "register_attention_control get_word_inds update_alpha_time_word"
    utilities += " get_time_words_attention_alpha"
    for part, names in (("seq_aligner", aligner), ("ptp_utils", utilities)):
        pieces.define(f"vid2vid_zero/p2p/{part}.py", *names.split())
        pieces.scope[part] = SimpleNamespace(**pieces.scope)
    controls = "AttentionControl AttentionStore AttentionControlEdit AttentionReplace"
    controls += " AttentionRefine"
    pieces.define("vid2vid_zero/p2p/p2p_stable.py", *controls.split())

    def of_steps(code: str) -> str:
        """Write constants for 50 steps as shares of the schedule."""
        rate, enough = "i / 100.", "i * 2e-5"
        assert code.count(rate) == code.count(enough) == 1
        code = code.replace(rate, f"i / {2 * STEPS}")
        return code.replace(enough, f"i * {1e-3 / STEPS}")

    text = "vid2vid_zero/p2p/null_text_w_ptp.py"
    pieces.define(text, "NullInversion", change=of_steps)
    name = "Vid2VidZeroPipeline"
    pieces.define("vid2vid_zero/pipelines/pipeline_vid2vid_zero.py", name)
    pieces.define("test_vid2vid_zero.py", "prepare_control")
    across = {"use_sc_attn": True, "use_st_attn": True, "st_attn_idx": 0}
    pipeline = pieces.pipeline(name, "UNet2DConditionModel", **across)
    inversion = pieces.scope["NullInversion"](
        pipeline, GUIDANCE, null_inv_with_prompt=False
    )
    noisy, learned = inversion.invert(
        as_clip(latents(FRAMES)), CAT, null_inner_steps=TRIES
    )
    found = {}
    register = pieces.scope["register_attention_control"]

    def registered(unet: nn.Module, control: typing.Any) -> None:
        if hasattr(control, "mapper") and control.mapper.is_floating_point():
            control.mapper = control.mapper.double()
        register(unet, control)

    pieces.scope["register_attention_control"] = registered
    for name, prompt in PROMPTS.items():
        prompts = [CAT, prompt]
        steps = {"num_inference_steps": STEPS}
        pieces.scope["prepare_control"](pipeline.unet, prompts, steps)
        both = pipeline(
            prompts,
            latents=noisy.repeat(2, 1, 1, 1, 1),
            uncond_embeddings=learned,
            null_uncond_ratio=-0.5,
            **HOW,
        )
        found[name] = of_clip(both.images[1])
    return found


def fresco(folder: Path, model: Path) -> dict[str, Tensor]:
    """Optimised features, smoothed ones, and what a guided layer answers."""
    from diffusers import UNet2DConditionModel

    scope: dict[str, typing.Any] = {
        "torch": Double("torch"),
        "F": F,
        "gc": gc,
        "rearrange": rearrange,
        "repeat": repeat,
    }
    warping = "coords_grid bilinear_sample flow_warp forward_backward_consistency_check"
    named(folder / "gmflow/gmflow/geometry.py", scope, *warping.split())
    utilities = "numpy2tensor calc_mean_std adaptive_instance_normalization Dilate"
    named(folder / "fresco/src/utils.py", scope, *utilities.split())
    named(folder / "fresco/src/flow_utils.py", scope)
    hacked = "AttentionControl FRESCOAttnProcessor2_0 optimize_feature"
    hacked += " get_flow_and_interframe_paras"
    named(folder / "fresco/src/diffusion_hacked.py", scope, *hacked.split())

    def estimated(*_: object, **__: object) -> dict[str, list[Tensor]]:
        return {"flow_preds": [torch.cat(flows())]}

    motion = scope["get_flow_and_interframe_paras"](estimated, pixels())
    flow, occluded, shared, tracks = motion
    now, source = features(14), features(15)
    unit = F.normalize(source.flatten(2), dim=1)
    alike = [unit.mT @ unit]
    optimised = scope["optimize_feature"](now, flow, occluded, alike, iters=ROUNDS)
    # It changes what it is given.
    smoothed = scope["warp_tensor"](now.clone(), flow, occluded, background(), 2)
    layer = UNet2DConditionModel.from_pretrained(model / "unet").get_submodule(LAYER)
    layer.double()
    control = scope["AttentionControl"]()
    process = scope["FRESCOAttnProcessor2_0"](2, control)
    control.enable_store()
    process(layer, source.flatten(2).mT)
    control.enable_controller(tracks, shared)
    attended = process(layer, now.flatten(2).mT)
    return {"optimised": optimised, "smoothed": smoothed[:FRAMES], "attended": attended}


if __name__ == "__main__":
    from tempfile import TemporaryDirectory

    given = Path(sys.argv[1])
    with TemporaryDirectory() as place:
        tiny = write_tiny(Path(place), "CrossAttn")
        Tensor.float = Tensor.double
        Tensor.cuda = lambda x: x
        found = (
            tune_a_video(given, tiny) | vid2vid_zero(given, tiny) | fresco(given, tiny)
        )
    rounded = {
        name: [float(f"{value:.9g}") for value in kept(torch.as_tensor(x)).tolist()]
        for name, x in found.items()
    }
    NUMBERS.write_text(json.dumps(rounded, separators=(",", ":")) + "\n")
