"""The cost of an edit beside the network: `python -m benchmarks.edit_cost`.

Runs one edit on a random UNet with the layers of Stable Diffusion 1.5, or on a given
model. Counts its calls of the UNet and repeats some of each size bare: same rows, same
grid, full-frame attention, nothing else. Prints the half-forwards of the edit over
those of the method's release, and the edit's time over that of its own calls and over
that of as many bare ones. Times are ratios of processor time in one process, since
others may use the machine.

With `--around`: the processor time of each stage of an edit, by a network and an
autoencoder that do nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch

from regrain.editing import ArrayClip, EditRequest, Region, edit, load_backbone
from regrain.editing.attention.backends import attention
from regrain.editing.attention.frames import across_frames
from regrain.editing.attention.layers import AttentionFn, AttentionLayer, Grid, plain
from regrain.editing.cli.commands import parse_settings
from regrain.editing.diffusion.schedule import Answer, Step
from regrain.editing.diffusion.text import PromptEmbedding
from regrain.editing.media.clip import resize
from regrain.editing.models.backbone import Backbone
from regrain.editing.models.intervention import Intervention
from regrain.editing.models.weights.folder import clip_tokenizer
from regrain.editing.params.registry import METHODS, resolve_params
from regrain.editing.recipe.events import Stage
from regrain.editing.storage.local_models import ASSETS

# Per edit of 50 steps. VideoGrain: 49 of inversion, 50 of denoising, both halves of
# guidance. FateZero, if the source's maps cost nothing: inversion without guidance,
# then both halves. vid2vid-zero the same, for source and edit; its null-text inversion
# is not counted.
RELEASED_HALVES = {
    "videograin": 2 * (49 + 50),
    "fatezero": 50 + 2 * 50,
    "vid2vid_zero": 50 + 4 * 50,
}
SD1 = ASSETS / "checkpoints" / "sd1"
_CHANNELS = 320  # of the finest level of Stable Diffusion 1.5


def random_model(channels: int) -> Path:
    """Write random weights with the layers of Stable Diffusion 1.5, `channels` at the
    finest level."""
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    folder = Path(tempfile.mkdtemp())
    unet = config_of("unet")
    unet["block_out_channels"] = [
        channels,
        2 * channels,
        4 * channels,
        4 * channels,
    ]
    text = config_of("text_encoder")
    text["num_hidden_layers"] = 1
    vae = config_of("vae")
    if channels < _CHANNELS:  # for a quick look, the autoencoder is small, too
        vae["block_out_channels"] = [32, 32, 32, 32]
    torch.manual_seed(0)
    UNet2DConditionModel.from_config(unet).save_pretrained(folder / "unet")
    AutoencoderKL.from_config(vae).save_pretrained(folder / "vae")
    CLIPTextModel(CLIPTextConfig(**text)).save_pretrained(folder / "text_encoder")
    clip_tokenizer().save_pretrained(folder / "tokenizer")
    shutil.copytree(SD1 / "scheduler", folder / "scheduler")
    return folder


def config_of(part: str) -> dict[str, Any]:
    """Read how a part of Stable Diffusion 1.5 is built."""
    return json.loads((SD1 / part / "config.json").read_text())


def clip_of(kind: str, frames: int, size: int, seed: int = 0) -> np.ndarray:
    """Draw a clip of "noise", in which cuts are found, or of one over which the camera
    is "panning"."""
    fresh = np.random.default_rng(seed)
    if kind == "noise":
        return fresh.integers(0, 256, (frames, size, size, 3), dtype=np.uint8)
    cells = fresh.integers(0, 256, (size // 16, size // 8, 3), dtype=np.uint8)
    wide = resize(cells[None], (2 * size, size))[0]
    starts = (size * number // (2 * frames) for number in range(frames))
    return np.stack([wide[:, start : start + size] for start in starts])


def request_for(
    method: str, frames: int, size: int, kind: str = "noise"
) -> EditRequest:
    """Return an edit of two regions in a clip, in words the built-in model knows."""
    clip = clip_of(kind, frames, size)
    labels = np.zeros((frames, size, size), np.uint8)
    labels[:, size // 8 : size // 2, size // 8 : size // 2] = 1
    labels[:, size // 2 :, size // 2 :] = 2
    regions = (
        Region("left", 1, "a panda", "a cat"),
        Region("right", 2, "a fox", "a dog"),
    )
    return EditRequest(
        ArrayClip(clip, fps=Fraction(8)),
        labels,
        regions,
        "a cat and a dog on the grass",
        method=method,
        size=size,
    )


@contextmanager
def watched(unet: torch.nn.Module) -> Iterator[tuple[list[tuple], list[float]]]:
    """Collect the inputs of every call of a UNet, and the processor time of each."""
    calls = []
    taken = []

    def begin(_: torch.nn.Module, inputs: tuple, given: Mapping[str, Any]) -> None:
        calls.append((*inputs, given["encoder_hidden_states"]))
        taken.append(-time.process_time())

    def end(*_: object) -> None:
        taken[-1] += time.process_time()

    before = unet.register_forward_pre_hook(begin, with_kwargs=True)
    handles = [before, unet.register_forward_hook(end)]
    try:
        yield calls, taken
    finally:
        for handle in handles:
            handle.remove()


def by_stage(events: Iterable[object], clock: Callable[[], float]) -> dict[str, float]:
    """Follow a run, and return how far a clock went on in each of its stages."""
    taken: Counter[str] = Counter()
    stage = "loading"
    since = clock()
    for event in events:
        if isinstance(event, Stage):
            now = clock()
            taken[stage] += now - since
            since = now
            stage = event.name
    taken[stage] += clock() - since
    return dict(taken)


@contextmanager
def idle(backbone: Backbone, frames: int, size: int) -> Iterator[None]:
    """Let a model answer at once: it draws noise, and of its attention only that to
    words is computed, once in each layer, of one channel."""
    drawn = clip_of("noise", frames, size, seed=1)
    sites = {site.stride: site for site in backbone.sites if site.kind == "cross"}
    vectors = backbone.embed([""]).vectors

    def encode(given: np.ndarray) -> torch.Tensor:
        return torch.zeros(len(given), 4, size // 8, size // 8)

    def decode(latents: torch.Tensor) -> np.ndarray:
        return drawn[: len(latents)]

    def read(prompts: Sequence[str], _: object) -> tuple[torch.Tensor, None]:
        return vectors.repeat(len(prompts), 1, 1), None

    def predict(
        x: torch.Tensor, step: Step, text: PromptEmbedding, change: Intervention
    ) -> Answer:
        # where regions are is found for each size of layers, in the first step
        for site in () if step.index else sites.values():
            tokens = Grid(1, *x.shape[2:]).at(site).tokens
            q = torch.zeros(len(x), 1, tokens, 1)
            k = torch.zeros(len(x), 1, text.vectors.shape[1], 1)
            (change.attend or plain)(q, k, k, site)
        return x, torch.zeros_like(x)

    nothing = {"encode": encode, "decode": decode, "_encode": read, "predict": predict}
    with patch.multiple(backbone, **nothing):
        yield


def around(
    backbone: Backbone,
    method: str,
    kind: str,
    given: Mapping[str, object],
    frames: int,
    size: int,
) -> dict[str, float]:
    """Return the processor time of each stage of an edit, by a network and an
    autoencoder that do nothing; all of them as "around"."""
    request = request_for(method, frames, size, kind)
    request = replace(request, params=dict(given))
    assert backbone.fingerprint  # which a loaded model knows
    taken = {}
    for _ in range(2):  # the first imports what both need
        with idle(backbone, frames, size), empty_cache():
            taken = by_stage(edit(request, backbone), time.process_time)
    return {"around": sum(taken.values()), **taken}


def params_of(backbone: Backbone, method: str, given: Mapping[str, object]) -> Any:
    """Return the parameters of a method on a model."""
    return resolve_params(method, given, backbone.defaults.get(method, {}))[0]


@contextmanager
def empty_cache() -> Iterator[None]:
    """Have a cache that is empty."""
    with (
        tempfile.TemporaryDirectory() as folder,
        patch.dict(os.environ, {"REGRAIN_CACHE": folder}),
    ):
        yield


def edit_afresh(backbone: Backbone, request: EditRequest, params: Any) -> float:
    """Run an edit on an empty cache, and return its processor time."""
    with empty_cache():
        began = time.process_time()
        for _ in METHODS[request.method].run(backbone, request, params):
            pass
        return time.process_time() - began


def full_frame_attention(frames: int) -> AttentionFn:
    """Return plain attention, in which all frames see each other."""

    def attend(
        q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, site: AttentionLayer
    ) -> torch.Tensor:
        if site.kind == "cross":
            return attention(q, k, v)
        return across_frames(q, k, v, frames, "all")

    return attend


def bare_seconds(unet: torch.nn.Module, inputs: tuple, frames: int) -> float:
    """Return the processor time of one call with the same rows and full-frame
    attention."""
    attend = full_frame_attention(frames)
    began = time.process_time()
    with torch.no_grad():
        unet(*inputs, cross_attention_kwargs={"attend": attend})
    return time.process_time() - began


def measure(
    backbone: Backbone, method: str, given: Mapping[str, object], frames: int, size: int
) -> dict[str, Any]:
    """Return one row: an edit, and its calls repeated with nothing around them."""
    request = request_for(method, frames, size)
    params = params_of(backbone, method, given)
    with watched(backbone.unet) as (calls, taken):
        whole = edit_afresh(backbone, request, params)
    bare: dict[int, list[float]] = {}  # seconds of three calls, by rows
    for inputs in calls:
        rows = len(inputs[0])
        known = bare.setdefault(rows, [])
        if len(known) < 3:
            known.append(bare_seconds(backbone.unet, inputs, frames))
    floor = sum(statistics.median(bare[len(inputs[0])]) for inputs in calls)
    halves = sum(len(inputs[0]) for inputs in calls) / frames
    released = RELEASED_HALVES[method] * params.steps / 50
    return {
        "method": method,
        "frames": frames,
        "size": size,
        "steps": params.steps,
        "calls": len(calls),
        "half-forwards": halves,
        "half-forwards / release's": halves / released,
        "edit / its UNet calls": whole / sum(taken),
        "edit / bare UNet calls": whole / floor,
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--model",
        default="",
        help="default: random weights of Stable Diffusion 1.5's shape",
    )
    parser.add_argument(
        "--channels", type=int, default=_CHANNELS, help="of its finest level"
    )
    parser.add_argument(
        "--methods", nargs="+", default=["videograin"], choices=list(METHODS)
    )
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument(
        "--set", dest="settings", action="append", default=[], metavar="KEY=VALUE"
    )
    parser.add_argument(
        "--around",
        choices=["noise", "panning"],
        help="a clip of which only what is around the network is timed",
    )
    parser.add_argument("-o", "--out", type=Path, default=Path("out/edit_cost"))
    args = parser.parse_args()
    backbone = load_backbone(args.model or str(random_model(args.channels)))
    given = {"preview_every": 0} | parse_settings(args.settings)
    sizes = (args.frames, args.size)
    rows: list[dict[str, Any]] = []
    for method in args.methods:
        if args.around:
            rows.append(around(backbone, method, args.around, given, *sizes))
        else:
            rows.append(measure(backbone, method, given, *sizes))
        for name, value in rows[-1].items():
            shown = f"{value:.3g}" if isinstance(value, float) else value
            print(f"{name:28}{shown}", flush=True)
    args.out.mkdir(parents=True, exist_ok=True)
    facts = {"model": args.model or f"random, {args.channels} channels", "rows": rows}
    (args.out / "edit_cost.json").write_text(json.dumps(facts, indent=2) + "\n")


if __name__ == "__main__":
    main()
