"""Does a real checkpoint work? `python -m benchmarks.real_checkpoint --model ID --clip FILE --prompt ...`.

For those who have one: loads it, inverts the clip, reconstructs it, edits it, and reports on each step.

- round trip: PSNR of the autoencoder alone, the upper limit of everything after it.
- reconstruction: PSNR of inversion and sampling with the source prompt, guidance 1, no modulation, against
  the round trip. Below 25 dB something is wrong, such as the prediction type or an unusual noise schedule.
- edit: PSNR outside the regions before compositing, against the clip, and the report of an ordinary run.

Without masks, the region is the middle third of the frame.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from regrain.editing import EditRequest, EditResult, Finished, Region, edit, load_backbone, open_clip
from regrain.editing.cli.commands import parse_settings
from regrain.editing.errors import EditingError
from regrain.editing.media.clip import resize
from regrain.editing.media.labels import read_labels
from regrain.editing.models.backbone import Backbone
from regrain.editing.pipeline.metrics import psnr
from regrain.editing.storage.memory import peak_memory

UNTOUCHED = {
    "guidance_scale": 1.0,
    "blend": False,
    "cross_strength": 0.0,
    "self_strength": 0.0,
    "inject_until": 0.0,
    "preview_every": 0,
}
LEAST_PSNR = 25.0


def run(request: EditRequest, backbone: Backbone) -> tuple[EditResult, dict]:
    """The result and the report of one edit."""
    return next((e.result, e.report) for e in edit(request, backbone) if isinstance(e, Finished))


def request_from(args: argparse.Namespace) -> EditRequest:
    """The edit that the command line describes."""
    clip = open_clip(args.clip, 0, args.stride, args.frames)
    width, height = clip.size
    if args.masks:
        labels = (read_labels(args.masks, len(clip), clip.size, [1]) > 0).astype(np.uint8)
    else:
        labels = np.zeros((len(clip), height, width), np.uint8)
        labels[:, height // 3 : height * 2 // 3, width // 3 : width * 2 // 3] = 1
    region = Region("region", 1, prompt=args.prompt, source=args.source)
    settings = {"steps": args.steps} | parse_settings(args.settings)
    return EditRequest(
        clip,
        labels,
        (region,),
        args.source_prompt or args.source,
        params=settings,
        model=args.model,
        size=args.size,
    )


def unchanged(request: EditRequest) -> EditRequest:
    """A request whose result should be the clip itself: it keeps the words of the inversion."""
    # The whole prompt: a phrase of it would be encoded alone and so be a different text.
    words = request.source_prompt
    region = replace(request.regions[0], prompt=words, source=words)
    return replace(request, prompt="", regions=(region,), params={**request.params, **UNTOUCHED})


def verify(request: EditRequest, backbone: Backbone) -> tuple[dict[str, object], np.ndarray]:
    """All figures, and a sheet: rows are source, round trip, reconstruction and edit, columns frames."""
    source = request.clip.read(0, len(request.clip))
    small = resize(source, backbone.fit(*request.clip.size, request.size))
    everywhere = np.ones(small.shape[:3], bool)
    round_trip = backbone.decode(backbone.encode(small))

    size = small.shape[2:0:-1]
    reconstruction = resize(np.asarray(run(unchanged(request), backbone)[0].uncomposited), size)
    result, report = run(request, backbone)
    figures = {
        "size": list(size),
        "frames": len(small),
        "round trip dB": psnr(small, round_trip, everywhere),
        "reconstruction dB": psnr(round_trip, reconstruction, everywhere),
        "edit outside dB": report["metrics"]["outside_psnr_uncomposited"],
        "peak memory GB": peak_memory(backbone.device) / 1e9,
        "seconds": report["seconds"],
        "params": report["params"],
    }
    shown = np.linspace(0, len(small) - 1, min(len(small), 6)).round().astype(int)
    rows = (small, round_trip, reconstruction, resize(np.asarray(result.frames), size))
    return figures, np.concatenate([np.concatenate(list(row[shown]), 1) for row in rows])


def main(arguments: list[str] | None = None) -> int:
    """Command line; 0 if the reconstruction is good, 1 if not, 2 for a user error."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", required=True, help="hub id, diffusers folder or .safetensors file")
    parser.add_argument("--clip", type=Path, required=True)
    parser.add_argument("--source", required=True, help="what the region is, in words")
    parser.add_argument("--prompt", required=True, help="what it should become")
    parser.add_argument("--source-prompt", default="", help="what the whole clip shows; default: --source")
    parser.add_argument("--masks", type=Path, help="folder of masks; any label is the region")
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--stride", type=int, default=1)
    parser.add_argument("--size", type=int)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--set", dest="settings", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("-o", "--out", type=Path, default=Path("out/real_checkpoint"))
    args = parser.parse_args(arguments)
    try:
        request, began = request_from(args), time.perf_counter()
        backbone = load_backbone(args.model)
        loaded = time.perf_counter() - began
        figures, sheet = verify(request, backbone)
    except EditingError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    args.out.mkdir(parents=True, exist_ok=True)
    facts = {"model": args.model, "device": str(backbone.device), "dtype": str(backbone.dtype),
             "loading seconds": round(loaded, 1), **figures}  # fmt: skip
    (args.out / "real_checkpoint.json").write_text(json.dumps(facts, indent=2, default=str) + "\n")
    Image.fromarray(sheet).save(args.out / "real_checkpoint.png")
    for name, value in facts.items():
        if not isinstance(value, dict):
            sys.stdout.write(f"{name:20}{value:.2f}\n" if isinstance(value, float) else f"{name:20}{value}\n")
    good = facts["reconstruction dB"] >= LEAST_PSNR
    sys.stdout.write(f"reconstruction is {'as expected' if good else f'below {LEAST_PSNR:g} dB'}\n")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
