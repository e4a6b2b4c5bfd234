"""Does every region become what its words say? `python -m benchmarks.edit_quality --scenes 40`.

Drawn scenes of two actors, each to become another kind. The truth is known: the same scene with other actors.
A region counts as right if, among all kinds rendered in the same pose, the one asked for is nearest to the
edited pixels of that region (analysis by synthesis); it leaks if what was asked of the other region is
nearest.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from editing import EditRequest, EditResult, Finished, edit, load_backbone
from editing.backbones import Backbone
from editing.metrics import psnr
from storybook import KINDS, Scene, render, replace, sample_scene
from storybook.__main__ import as_request
from storybook.world import render_frames

FIRST_SEED = 20_000
BASELINES: dict[str, dict[str, object]] = {
    "no modulation": {"cross_strength": 0.0, "self_strength": 0.0},
    "cross only": {"self_strength": 0.0},
    "default": {},
}


def instance_task(seed: int, size: int, grow: int) -> tuple[EditRequest, Scene]:
    """Two plain actors, each to become another kind; a third of the tasks exchange the two."""
    scene = sample_scene(seed, frames=8, actors=2, plain=True)
    rng = np.random.default_rng([seed, 5])
    kinds = [a.kind for a in scene.actors]
    targets = (
        kinds[::-1]
        if rng.random() < 1 / 3
        else rng.permutation([k for k in KINDS if k not in kinds])[:2].tolist()
    )
    truth = replace(replace(scene, actor=0, kind=targets[0]), actor=1, kind=targets[1])
    return as_request(scene, size, {str(i): f"a {kind}" for i, kind in enumerate(targets)}, grow), truth


def run(request: EditRequest, backbone: Backbone, params: Mapping[str, object]) -> EditResult:
    """The result of one edit."""
    given = EditRequest(
        request.clip,
        request.labels,
        request.regions,
        source_prompt=request.source_prompt,
        params={"preview_every": 0, **params},
    )
    for event in edit(given, backbone):
        if isinstance(event, Finished):
            return event.result
    raise RuntimeError("the run ended without a result")


def nearest_kinds(frames: np.ndarray, labels: np.ndarray, truth: Scene, shown: tuple[int, ...]) -> list[str]:
    """For each actor the kind whose rendering is nearest inside its region, over the frames `shown`."""
    out = []
    for i in range(len(truth.actors)):
        inside = labels[list(shown)] == i + 1
        errors = {}
        for kind in KINDS:
            candidate = render_frames(replace(truth, actor=i, kind=kind), frames.shape[1], shown)
            errors[kind] = float(
                np.square(candidate[inside].astype(float) - frames[list(shown)][inside]).mean()
            )
        out.append(min(errors, key=errors.__getitem__))
    return out


def interval(hits: Sequence[bool]) -> tuple[float, float]:
    """Share and the half width of its 95 % interval (Wilson)."""
    n, p, z = len(hits), float(np.mean(hits)), 1.96
    return p, z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))


def measure(
    variant: Mapping[str, object], scenes: int, size: int, grow: int, backbone: Backbone
) -> tuple[dict[str, float], list[np.ndarray]]:
    """Figures of one variant over seeded scenes, and the middle frame of each edit."""
    right, leaked, inside, outside, sheet = [], [], [], [], []
    for seed in range(FIRST_SEED, FIRST_SEED + scenes):
        request, truth = instance_task(seed, size, grow)
        result = run(request, backbone, variant)
        found = nearest_kinds(result.frames, request.labels, truth, (1, 6))
        asked = [a.kind for a in truth.actors]
        right += [f == a for f, a in zip(found, asked, strict=True)]
        leaked += [f == a for f, a in zip(found, asked[::-1], strict=True)]
        inside.append(psnr(render(truth, size).frames, result.frames, request.edited_mask))
        outside.append(psnr(result.source, result.uncomposited, ~request.edited_mask))
        sheet.append(result.frames[4])
    (accuracy, wide), (leakage, _) = interval(right), interval(leaked)
    return {
        "accuracy": accuracy, "accuracy_95": wide, "leakage": leakage,
        "inside_psnr": float(np.mean(inside)), "outside_psnr_uncomposited": float(np.mean(outside)),
    }, sheet  # fmt: skip


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenes", type=int, default=40)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--grow", type=int, default=6)
    parser.add_argument("--model", default="storybook")
    parser.add_argument(
        "--variant", action="append", default=[], metavar="NAME:JSON", help="params of another row"
    )
    parser.add_argument("--only", action="store_true", help="no baselines")
    parser.add_argument("-o", "--out", type=Path, default=Path("out/edit_quality"))
    args = parser.parse_args()
    variants = ({} if args.only else dict(BASELINES)) | {
        n: json.loads(j) for n, _, j in (v.partition(":") for v in args.variant)
    }
    backbone = load_backbone(args.model)
    args.out.mkdir(parents=True, exist_ok=True)
    table, columns = {}, []
    for name, params in variants.items():
        table[name], sheet = measure(params, args.scenes, args.size, args.grow, backbone)
        columns.append(np.concatenate(sheet))
        row = table[name]
        sys.stdout.write(
            f"{name:24s} accuracy {row['accuracy']:.2f} +- {row['accuracy_95']:.2f}  "
            f"leakage {row['leakage']:.2f}  "
            f"inside {row['inside_psnr']:.1f} dB  outside {row['outside_psnr_uncomposited']:.1f} dB\n"
        )
        sys.stdout.flush()
    (args.out / "edit_quality.json").write_text(json.dumps({"scenes": args.scenes, "rows": table}, indent=2))
    sources = np.concatenate(
        [instance_task(FIRST_SEED + i, args.size, 0)[0].clip.read(4, 5)[0] for i in range(args.scenes)]
    )
    from PIL import Image

    Image.fromarray(np.concatenate([sources, *columns], 1)).save(args.out / "edit_quality.png")


if __name__ == "__main__":
    main()
