"""Measure a graphics card: edits at the true size of Stable Diffusion 1.5, modulated
attention beside plain attention, and a call of a UNet as large as SDXL's and of a video
model as large as Wan 2.1's smaller one.

Weights are random, so nothing is downloaded and results mean nothing. Of each edit of a
clip over which the camera pans, in one window: seconds, in all and of each stage, peak
memory, how often it waits for the device (CUDA), and of its editing alone the share of
what the device's own matrix product of this precision would need for the same
operations. A first run of each edit, which warms up, counts the operations.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.attention import measure
from benchmarks.edit_cost import (
    by_stage,
    full_frame_attention,
    random_model,
    request_for,
)
from regrain.editing import edit, load_backbone
from regrain.editing.attention.layers import install
from regrain.editing.models.backbone import Backbone
from regrain.editing.params.registry import METHODS
from regrain.editing.storage.devices import choose_device, device_name
from regrain.editing.storage.local_models import ASSETS
from regrain.editing.storage.memory import peak_memory, reset_peak
from regrain.editing.storage.packages import installed

UNETS = [name for name in METHODS if "image_unet" in METHODS[name].needs]
_SIDE = 4096  # of the matrices that are multiplied


def wait(device: torch.device) -> None:
    """Wait until a device has done everything."""
    if device.type != "cpu":
        torch.get_device_module(device).synchronize()


def clock(device: torch.device) -> float:
    """Return the time when a device has done everything, in seconds."""
    wait(device)
    return time.perf_counter()


def seconds(device: torch.device, run: Callable[[], object]) -> float:
    """Return the seconds that a call takes on a device."""
    began = clock(device)
    run()
    return clock(device) - began


def speed(device: torch.device, dtype: torch.dtype, side: int = _SIDE) -> float:
    """Return the operations per second of the device's matrix product."""
    one, other = torch.randn(2, side, side, device=device).to(dtype)
    taken = [seconds(device, lambda: one @ other) for _ in range(5)]
    return 2 * side**3 / min(taken)


@contextmanager
def counted_waits(device: torch.device) -> Iterator[list[Any]]:
    """Collect a warning for each wait for a CUDA device; elsewhere there are none."""
    if device.type != "cuda":
        yield []
        return
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as found:
            warnings.simplefilter("always")
            yield found
    finally:
        torch.cuda.set_sync_debug_mode("default")


def edit_row(
    backbone: Backbone,
    folder: str,
    method: str,
    steps: int,
    frames: int,
    size: int,
    most: float,
) -> dict[str, Any]:
    """Measure one edit by the model in a folder; `most` are the operations per second
    of a matrix product."""
    given = {"steps": steps, "preview_every": 0, "cuts": "none"}
    fields = METHODS[method].Params.model_fields
    given |= {"tune_steps": 2} if "tune_steps" in fields else {}
    request = request_for(method, frames, size, "panning")
    request = replace(request, model=folder, params=given)
    # nothing of the first run may be found in the cache by the second
    first = replace(request, source_prompt="a dog and a cat on the grass")
    with FlopCounterMode(display=False) as counter:
        done = by_stage(edit(first, backbone), counter.get_total_flops)
    reset_peak(backbone.device)
    with counted_waits(backbone.device) as found:
        taken = by_stage(edit(request, backbone), lambda: clock(backbone.device))
    return {
        "method": method,
        "seconds": sum(taken.values()),
        **taken,
        "peak GiB": peak_memory(backbone.device) / 2**30,
        "waits": len(found),
        "TFLOP": sum(done.values()) / 1e12,
        "share of the floor": done["editing"] / most / taken["editing"],
    }


def video_call(
    device: torch.device, dtype: torch.dtype, layers: int, heads: int, side: int
) -> dict[str, Any]:
    """Time a call of a network shaped as Wan 2.1 of 1.3 billion weights, for 21 latents
    of a square clip of `side` latents."""
    from diffusers.models.transformers.transformer_wan import WanTransformer3DModel

    sizes = {"num_attention_heads": heads, "attention_head_dim": 128}
    sizes |= {"num_layers": layers, "ffn_dim": 8960 * heads // 12}
    with device:
        network = WanTransformer3DModel(**sizes).to(dtype).eval()
        x = torch.randn(1, 16, 21, side, side).to(dtype)
        text = torch.randn(1, 512, 4096).to(dtype)
        t = torch.full((1,), 500.0)

    return _call_row(device, network, lambda: network(x, t, text, return_dict=False))


def sdxl_call(
    device: torch.device, dtype: torch.dtype, channels: int, frames: int, side: int
) -> dict[str, Any]:
    """Time a call of a UNet shaped as SDXL's, `channels` wide at its finest level, with
    both halves of guidance of a square clip of `side` latents whose frames see each
    other."""
    from diffusers import UNet2DConditionModel

    path = ASSETS / "checkpoints" / "sdxl" / "unet" / "config.json"
    config = json.loads(path.read_text())
    widths = [channels, 2 * channels, 4 * channels]
    config["block_out_channels"] = widths
    config["attention_head_dim"] = [width // 64 for width in widths]  # heads
    rows = 2 * frames
    with device:
        network = UNet2DConditionModel.from_config(config).to(dtype).eval()
        x = torch.randn(rows, 4, side, side).to(dtype)
        text = torch.randn(rows, 77, config["cross_attention_dim"]).to(dtype)
        sizes = torch.full((rows, 6), 8.0 * side).to(dtype)
        pooled = torch.randn(rows, 1280).to(dtype)
        t = torch.full((rows,), 500.0)
    install(network)
    attend = full_frame_attention(frames)

    def run() -> None:
        network(
            x,
            t,
            text,
            added_cond_kwargs={"text_embeds": pooled, "time_ids": sizes},
            cross_attention_kwargs={"attend": attend},
        )

    return _call_row(device, network, run)


def _call_row(
    device: torch.device, network: torch.nn.Module, run: Callable[[], object]
) -> dict[str, Any]:
    """Time a call of a network."""
    with torch.no_grad():
        run()
        reset_peak(device)
        taken = seconds(device, run)
    return {
        "weights": sum(weight.numel() for weight in network.parameters()),
        "seconds": taken,
        "peak GiB": peak_memory(device) / 2**30,
    }


def show(row: dict[str, Any]) -> None:
    """Print a row."""
    cells = []
    for name, value in row.items():
        shown = f"{value:.3g}" if isinstance(value, float) else value
        cells.append(f"{name} {shown}")
    print(", ".join(cells), flush=True)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--methods", nargs="+", default=UNETS, choices=UNETS)
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument(
        "--channels", type=int, default=320, help="of the UNet's finest level"
    )
    parser.add_argument(
        "--tokens", type=int, nargs="+", default=[1024, 4096, 16384, 65536]
    )
    parser.add_argument(
        "--sdxl-channels", type=int, default=320, help="of SDXL's finest level"
    )
    parser.add_argument(
        "--sdxl-side", type=int, default=128, help="of its latents; 128 are 1024 px"
    )
    parser.add_argument("--layers", type=int, default=30, help="of the video model")
    parser.add_argument("--heads", type=int, default=12, help="of the video model")
    parser.add_argument("--side", type=int, default=60, help="of its latents")
    parser.add_argument("--matrix", type=int, default=_SIDE)
    parser.add_argument("--device", default=None)
    parser.add_argument("-o", "--out", type=Path, default=Path("out/gpu"))
    args = parser.parse_args()
    device = choose_device(args.device)
    folder = str(random_model(args.channels))
    backbone = load_backbone(folder, device=device)
    dtype = backbone.dtype
    most = speed(device, dtype, args.matrix)
    facts: dict[str, Any] = {
        "device": device_name(device),
        "dtype": str(dtype),
        "PyTorch": installed("torch"),
        "TFLOP/s of a matrix product": most / 1e12,
    }
    show(facts)
    sizes = (args.steps, args.frames, args.size, most)
    facts["edits"] = []
    for method in args.methods:
        facts["edits"].append(edit_row(backbone, folder, method, *sizes))
        show(facts["edits"][-1])
    facts["attention"] = []
    for tokens in args.tokens:
        with torch.no_grad():
            row = measure(tokens, 40, 1, dtype, 3, str(device))
        facts["attention"].append(row)
        show({name: row[name] for name in ("tokens", "dim", "ours/plain")})
    del backbone  # makes room
    shape = (args.sdxl_channels, args.frames, args.sdxl_side)
    facts["SDXL"] = sdxl_call(device, dtype, *shape)
    show(facts["SDXL"])
    shape = (args.layers, args.heads, args.side)
    facts["video model"] = video_call(device, torch.bfloat16, *shape)
    show(facts["video model"])
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "gpu.json").write_text(json.dumps(facts, indent=2) + "\n")


if __name__ == "__main__":
    main()
