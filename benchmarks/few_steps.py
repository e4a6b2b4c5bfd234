"""InfEdit in few steps beside VideoGrain, at the size of Stable Diffusion 1.5: `python -m
benchmarks.few_steps`.

Both edit two regions of a clip on random weights with the layers of Stable Diffusion
1.5, VideoGrain as published. Counts the frames that the UNet sees in a whole edit, with
a stub in its place. Then measures the peak memory of the first denoising step of each,
for which the UNet is called: VideoGrain's is its largest, since it keeps the source's
features, too. Guidance of 1 is that of few-step models, 2 the paper's.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

from benchmarks.attention import peak_bytes
from benchmarks.edit_cost import params_of, random_model, request_for
from regrain.editing import load_backbone
from regrain.editing.models.backbone import Backbone
from regrain.editing.params.registry import METHODS
from regrain.editing.recipe.attention_recorder import AttentionRecorder
from regrain.editing.recipe.events import Event, Progress, Stage

ROWS: dict[str, tuple[str, dict[str, object]]] = {
    "VideoGrain, 50 steps": ("videograin", {"steps": 50}),
    "InfEdit, 8 steps, guidance 1": ("infedit", {"steps": 8, "guidance_scale": 1.0}),
    "InfEdit, 8 steps, guidance 2": ("infedit", {"steps": 8, "guidance_scale": 2.0}),
}
_BASE = next(iter(ROWS))


@contextmanager
def unasked(backbone: Backbone) -> Iterator[list[int]]:
    """Put a stub in the place of the UNet and the encoder; collect the rows of its
    calls."""
    rows: list[int] = []

    def predict(x: Tensor, *_: object, **__: object) -> tuple[Tensor, Tensor]:
        rows.append(len(x))
        return x, x

    def encode(frames: Any) -> Tensor:
        _, height, width = backbone.grid(*frames.shape[:3])
        return torch.zeros(len(frames), 4, height, width, device=backbone.device)

    with ExitStack() as stack:
        cache = stack.enter_context(TemporaryDirectory())
        stack.enter_context(patch.dict(os.environ, {"REGRAIN_CACHE": cache}))
        stack.enter_context(patch.object(backbone, "encode", encode))
        stack.enter_context(patch.object(backbone, "predict", predict))
        # without calls, attention has no maps
        stack.enter_context(patch.object(AttentionRecorder, "maps", lambda *_: {}))
        yield rows


def edit_events(
    backbone: Backbone, row: str, frames: int, size: int
) -> Iterator[Event]:
    """Begin an edit by a row."""
    method, given = ROWS[row]
    params = params_of(backbone, method, given | {"preview_every": 0})
    return METHODS[method].run(backbone, request_for(method, frames, size), params)


def rows_seen(backbone: Backbone, row: str, frames: int, size: int) -> int:
    """Count the frames that the UNet sees in a whole edit."""
    with unasked(backbone) as rows:
        for _ in edit_events(backbone, row, frames, size):
            pass
    return sum(rows)


def step_bytes(backbone: Backbone, row: str, frames: int, size: int) -> int:
    """Measure the peak memory of the first denoising step, beyond the weights."""
    network = backbone.predict
    with unasked(backbone):
        events = edit_events(backbone, row, frames, size)
        for event in events:
            if isinstance(event, Stage) and event.name == "editing":
                break

        def step() -> None:
            for event in events:
                if isinstance(event, Progress):
                    return

        with patch.object(backbone, "predict", network):
            return peak_bytes(step, backbone.device.type)


def line(row: str, found: dict[str, int], base: dict[str, int]) -> str:
    """Return one line of the table; shares are of VideoGrain's."""
    seen = found["frames seen"]
    peak = found["peak bytes"]
    passes = f"{seen:7d} frames seen ({seen / base['frames seen']:.3f})"
    memory = f"{peak / 2**20:9.0f} MiB ({peak / base['peak bytes']:.3f})"
    return f"{row:30s}{passes}{memory}"


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument(
        "--measured",
        type=int,
        default=0,
        help="frames of the step whose memory is measured; default: all",
    )
    parser.add_argument(
        "--channels", type=int, default=320, help="channels of the finest level"
    )
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("-o", "--out", type=Path, default=Path("out/few_steps"))
    args = parser.parse_args()
    folder = str(random_model(args.channels))
    backbone = load_backbone(folder, dtype=getattr(torch, args.dtype))
    measured = args.measured or args.frames
    found = {}
    for row in ROWS:
        seen = rows_seen(backbone, row, args.frames, args.size)
        peak = step_bytes(backbone, row, measured, args.size)
        found[row] = {"frames seen": seen, "peak bytes": peak}
        print(line(row, found[row], found[_BASE]), flush=True)
    facts = {
        "frames": args.frames,
        "size": args.size,
        "measured": measured,
        "channels": args.channels,
        "dtype": args.dtype,
        "device": backbone.device.type,
        "rows": found,
    }
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "few_steps.json").write_text(json.dumps(facts, indent=2) + "\n")


if __name__ == "__main__":
    main()
