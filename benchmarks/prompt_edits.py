"""Edits by words alone, without masks: `python -m benchmarks.prompt_edits --scenes 8`.

Drawn scenes of one actor, of which the style, the colour or the kind is to change. The truth is known: the
same scene drawn so. An edit counts as right if, of all styles, colours or kinds, the one asked for is nearest
to the edited pixels (of the whole frame for styles, else of the actor before and after). What should have
stayed is judged by the median absolute error of the other pixels, as they left the model. Beside them, how
well the source itself comes back: with attention taken over for more and more steps, and with learned texts.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.edit_quality import interval
from editing import EditRequest, EditResult, Finished, Region, edit, load_backbone
from editing.backbones import Backbone
from editing.clip import ArrayClip, resize
from editing.metrics import psnr
from editing.runner import DRAWN
from storybook import Scene, render, replace, sample_scene
from storybook.world import COLORS, KINDS, STYLES, render_frames

FIRST_SEED = 30_000
SHOWN = (1, 6)  # frames compared with every rendering
METHODS: dict[str, tuple[str, dict[str, object]]] = {
    "fatezero": ("fatezero", {}),
    "vid2vid_zero": ("vid2vid_zero", {"reconstruct": False}),
    "videograin, true masks": ("videograin", {}),
}
PRESETS = {"style": "style", "attribute": "attribute", "shape": "shape"}


@dataclass(frozen=True)
class Task:
    """A scene, what it should become, and everything it might have become."""

    scene: Scene
    truth: Scene
    candidates: dict[str, Scene]
    wanted: str
    prompt: str


def make_task(kind: str, seed: int) -> Task:
    """The `seed`-th task of a kind: style, attribute or shape."""
    scene, rng = sample_scene(seed, frames=8, actors=1, plain=True), np.random.default_rng([seed, 9])
    if kind == "style":
        candidates = {style: replace(scene, style=style) for style in STYLES}
        wanted = str(rng.choice(STYLES[1:]))
    elif kind == "attribute":
        candidates = {color: replace(scene, actor=0, color=color) for color in COLORS}
        candidates["natural"] = scene
        wanted = str(rng.choice(COLORS))
    else:
        candidates = {k: replace(scene, actor=0, kind=k) for k in KINDS}
        wanted = str(rng.choice([k for k in KINDS if k != scene.actors[0].kind]))
    return Task(scene, candidates[wanted], candidates, wanted, candidates[wanted].caption)


def as_request(task: Task, size: int, method: str, params: Mapping[str, object]) -> EditRequest:
    """The task as an edit; VideoGrain gets the actor's true mask, the others words alone."""
    drawn = render(task.scene, size)
    clip = ArrayClip(drawn.frames, comment=DRAWN)
    labels, regions = None, ()
    if method == "videograin":
        labels = drawn.labels
        source, target = task.scene.actors[0].phrase, task.truth.actors[0].phrase
        regions = (Region("actor", 1, prompt=target, source=source),)
    return EditRequest(
        clip, labels, regions, source_prompt=task.scene.caption, prompt=task.prompt, method=method,
        params={"preview_every": 0, **params},
    )  # fmt: skip


def run(request: EditRequest, backbone: Backbone) -> EditResult:
    """The result of one edit."""
    return next(event.result for event in edit(request, backbone) if isinstance(event, Finished))


def judge(task: Task, kind: str, result: EditResult, size: int) -> dict[str, float]:
    """Whether it is what was asked for, what else changed, and whether it flickers."""
    source, truth = render(task.scene, size), render(task.truth, size)
    actor = (source.labels > 0) | (truth.labels > 0)
    inside = np.ones_like(actor) if kind == "style" else actor
    shown, frames = list(SHOWN), result.uncomposited.astype(float)
    found = frames[shown][inside[shown]]
    errors = {
        name: float(np.square(render_frames(scene, size, SHOWN)[inside[shown]] - found).mean())
        for name, scene in task.candidates.items()
    }
    outside = np.abs(frames - source.frames)[~actor]
    step = [np.abs(np.diff(x.astype(float), axis=0)).mean() for x in (frames, source.frames)]
    return {
        "right": float(min(errors, key=errors.__getitem__) == task.wanted),
        "inside_psnr": psnr(truth.frames, result.uncomposited, inside) or 0.0,
        "outside_median_error": float(np.median(outside)) if kind != "style" else float("nan"),
        "temporal_ratio": float(step[0] / step[1]),
    }


def ways_back() -> dict[str, tuple[str, dict[str, object]]]:
    """Method and parameters of every way to bring the source back."""
    plain = {"cross_until": 0.0, "self_until": 0.0}
    full = {"cross_until": 1.0, "self_until": 1.0}
    rows: dict[str, tuple[str, dict[str, object]]] = {}
    for scale in (1.0, 7.5):
        rows[f"fatezero, w {scale:g}, nothing taken over"] = ("fatezero", {"guidance_scale": scale, **plain})
        for share in (0.4, 0.8, 1.0):
            taken = full | {"self_until": share}
            rows[f"fatezero, w {scale:g}, cross all, self {share:g}"] = (
                "fatezero",
                {"guidance_scale": scale, **taken},
            )
    learned = {"inversion": "null_text", "learned_share": 1.0}
    image = {"dense_layers": "", "keys": "own"}  # sampled with the attention it was learned with
    rows |= {
        "vid2vid_zero, w 7.5, plain": ("vid2vid_zero", {"inversion": "plain", **image}),
        "vid2vid_zero, w 7.5, null-text 1": ("vid2vid_zero", {**learned, "inner_steps": 1, **image}),
        "vid2vid_zero, w 7.5, null-text 10": ("vid2vid_zero", {**learned, "inner_steps": 10, **image}),
        "vid2vid_zero, w 7.5, negative prompt": ("vid2vid_zero", image),
        "vid2vid_zero, w 7.5, negative prompt, across frames": ("vid2vid_zero", {}),
    }  # fmt: skip
    return rows


def reconstruction(backbone: Backbone, scenes: int, size: int, steps: int, match: str) -> dict[str, float]:
    """PSNR of the source come back, against the autoencoder's round trip, by setting."""
    table: dict[str, float] = {}
    for name, (method, params) in ways_back().items():
        if match not in name:
            continue
        params = {"guidance_scale": 7.5, **params}
        found = []
        for seed in range(FIRST_SEED, FIRST_SEED + scenes):
            task = make_task("style", seed)
            same = Task(task.scene, task.scene, {}, "", task.scene.caption)
            result = run(as_request(same, size, method, {"steps": steps, **params}), backbone)
            back = result.reconstruction if result.reconstruction is not None else result.uncomposited
            small = resize(result.source, backbone.fit(size, size))
            again = resize(backbone.decode(backbone.encode(small)), (size, size))
            found.append(psnr(again, back, np.ones(back.shape[:3], bool)) or 0.0)
        table[name] = float(np.mean(found))
        sys.stdout.write(f"{name:56s} {table[name]:5.1f} dB\n")
        sys.stdout.flush()
    return table


def edits(
    backbone: Backbone, scenes: int, size: int, steps: int, out: Path
) -> dict[str, dict[str, dict[str, float]]]:
    """Figures of every kind of task and method; writes a contact sheet of middle frames per kind."""
    table: dict[str, dict[str, dict[str, float]]] = {}
    for kind, preset in PRESETS.items():
        table[kind] = {}
        columns = [
            [render_frames(make_task(kind, FIRST_SEED + i).scene, size, (4,))[0] for i in range(scenes)]
        ]
        for name, (method, params) in METHODS.items():
            if method == "videograin" and kind == "style":
                continue
            given = {"steps": steps, **params, **({"preset": preset} if method == "fatezero" else {})}
            judged, sheet = [], []
            for seed in range(FIRST_SEED, FIRST_SEED + scenes):
                task = make_task(kind, seed)
                result = run(as_request(task, size, method, given), backbone)
                judged.append(judge(task, kind, result, size))
                sheet.append(result.uncomposited[4])
            columns.append(sheet)
            share, wide = interval([bool(row["right"]) for row in judged])
            means = {key: float(np.mean([row[key] for row in judged])) for key in judged[0]}
            table[kind][name] = means | {"right": share, "right_95": wide}
            sys.stdout.write(
                f"{kind:10s} {name:24s} right {share:.2f} +- {wide:.2f}  "
                f"inside {means['inside_psnr']:.1f} dB  outside {means['outside_median_error']:.1f}/255  "
                f"steadiness {means['temporal_ratio']:.2f}\n"
            )
            sys.stdout.flush()
        truths = [render_frames(make_task(kind, FIRST_SEED + i).truth, size, (4,))[0] for i in range(scenes)]
        sheet = np.concatenate([np.concatenate(column) for column in (*columns, truths)], 1)
        Image.fromarray(sheet).save(out / f"prompt_edits_{kind}.png")
    return table


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenes", type=int, default=8)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--model", default="storybook")
    parser.add_argument("--only", choices=("edits", "reconstruction"), help="one half of it")
    parser.add_argument("--match", default="", help="only ways back whose name holds this text")
    parser.add_argument("-o", "--out", type=Path, default=Path("out/prompt_edits"))
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    backbone, table = load_backbone(args.model), {"scenes": args.scenes, "steps": args.steps}
    if args.only != "reconstruction":
        table["edits"] = edits(backbone, args.scenes, args.size, args.steps, args.out)
    if args.only != "edits":
        table["reconstruction"] = reconstruction(backbone, args.scenes, args.size, args.steps, args.match)
    (args.out / "prompt_edits.json").write_text(json.dumps(table, indent=2) + "\n")


if __name__ == "__main__":
    main()
