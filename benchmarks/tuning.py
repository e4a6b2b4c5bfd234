"""What a step of tuning costs: `python -m benchmarks.tuning`, on the built-in model or `--model ID`.

Prints the time of a step over that of a bare forward pass of the same batch, with and without recomputed
activations, and its peak memory over that of a step that computes the gradient of every weight. Both sides
run in turns in one process. Then it tunes a drawn clip of 8 frames as recommended and prints how long that
took, when the first preview came, and the size of the adapter.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast
from unittest.mock import patch

import torch

from benchmarks.attention import peak_bytes
from benchmarks.edit_cost import random_model, request_for
from benchmarks.tasks import TASKS, true_masks
from regrain.editing import Preview, Tuned, load_backbone, save_adapter, tune
from regrain.editing.diffusion.schedule import Step, add_noise, combine
from regrain.editing.methods.tuning import Learner, Tuning, drawn
from regrain.editing.models.backbone import Backbone
from regrain.editing.params.registry import resolve_params
from regrain.editing.recipe.window import working_clip
from regrain.editing.request.edit_request import EditRequest

Run = Callable[[], Any]


def tuning_of(backbone: Backbone, request: EditRequest) -> Tuning:
    """The tuning of a request."""
    params, _ = resolve_params("tune_a_video", {}, backbone.defaults.get("tune_a_video", {}))
    return Tuning.of(backbone, request, working_clip(backbone, request), cast(Any, params))


def sides(tuning: Tuning) -> dict[str, Run]:
    """A bare forward pass, a step of tuning, one that recomputes, and one with every weight's gradient."""
    learner = Learner.of(tuning.begin(), tuning.params.learning_rate)
    backbone = tuning.backbone
    step, noise = drawn(backbone.schedule, tuning.latents, 0, 0)
    noisy = add_noise(tuning.latents, noise, step)

    def bare() -> None:
        with torch.no_grad():
            backbone.predict(noisy, step, tuning.words)

    def own(recompute: bool) -> Run:
        def run() -> None:
            with patch.object(type(backbone), "activations_fit", lambda *_: not recompute):
                learner.descend(*tuning.gradients(learner))

        return run

    return {
        "bare": bare,
        "tuning": own(False),
        "recomputed": own(True),
        "every weight": lambda: every_weight(tuning, noisy, noise, step),
    }


def every_weight(tuning: Tuning, noisy: torch.Tensor, noise: torch.Tensor, step: Step) -> None:
    """The gradient of the same loss by all weights of the network."""
    backbone = cast(Any, tuning.backbone)
    weights = list(backbone.unet.parameters())
    for weight in weights:
        weight.requires_grad_(True)
    try:
        with torch.enable_grad():
            answer = backbone.predict(noisy, step, tuning.words, tuning.change)
            found = combine(*answer, step, backbone.prediction)
            loss = (found - combine(tuning.latents, noise, step, backbone.prediction)).square().mean()
        torch.autograd.grad(loss, weights)
    finally:
        for weight in weights:
            weight.requires_grad_(False)


def seconds(runs: dict[str, Run], rounds: int) -> dict[str, float]:
    """Median seconds of each side; the sides take turns."""
    took: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            began = time.perf_counter()
            run()
            took[name].append(time.perf_counter() - began)
    return {name: statistics.median(times) for name, times in took.items()}


def whole(backbone: Backbone) -> dict[str, float]:
    """Tune a drawn clip as recommended: seconds, seconds to the first preview, and the adapter's bytes."""
    request = TASKS["shape"](20_000, 128, true_masks(0)).request
    event, began, shown = None, time.perf_counter(), 0.0
    with tempfile.TemporaryDirectory() as folder, patch.dict(os.environ, {"REGRAIN_CACHE": folder}):
        for event in tune(replace(request, method="tune_a_video"), backbone):
            if isinstance(event, Preview) and not shown:
                shown = time.perf_counter() - began
        assert isinstance(event, Tuned)
        took = time.perf_counter() - began
        path = Path(folder) / "adapter.safetensors"
        save_adapter(event.adapter, path)
        size = path.stat().st_size
    figures = {"steps": event.adapter.facts.steps, "seconds": took, "first_preview": shown, "bytes": size}
    quarter = max(1, len(event.losses) // 4)  # levels are drawn at random, so few losses say little
    first, last = (part.mean() for part in (event.losses[:quarter], event.losses[-quarter:]))
    return figures | {"first_losses": first, "last_losses": last}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--model", default="storybook", help="or `random`: the layers of Stable Diffusion 1.5"
    )
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--no-whole", action="store_true", help="only the cost of a step")
    parser.add_argument("-o", "--out", type=Path, default=Path("out/tuning"))
    args = parser.parse_args()
    backbone = load_backbone(str(random_model(64)) if args.model == "random" else args.model)
    request = replace(request_for("tune_a_video", args.frames, args.size), source_prompt="a cat and a dog")
    runs = sides(tuning_of(backbone, replace(request, size=args.size)))
    for run in runs.values():
        run()
    took = seconds(runs, args.rounds)
    peaks = {name: peak_bytes(run, backbone.device.type) for name, run in runs.items()}
    for name in runs:
        slower, larger = took[name] / took["bare"], peaks[name] / peaks["every weight"]
        sys.stdout.write(f"{name:14s}{took[name]:8.3f} s, {slower:5.2f} times a bare forward pass; peak ")
        sys.stdout.write(f"{peaks[name] / 2**20:6.0f} MiB, {larger:5.2f} times every weight's\n")
    found: dict[str, Any] = {"seconds": took, "peak_bytes": peaks}
    if not args.no_whole:
        found["whole"] = figures = {k: float(v) for k, v in whole(backbone).items()}
        sys.stdout.write(
            f"{figures['steps']:.0f} steps on 8 frames: {figures['seconds']:.0f} s, first preview after "
            f"{figures['first_preview']:.1f} s, loss {figures['first_losses']:.3f} to "
            f"{figures['last_losses']:.3f}, adapter {figures['bytes'] / 1e6:.2f} MB\n"
        )
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "tuning.json").write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
