"""Does each region become like its own picture? `python -m benchmarks.pictures --scenes 20`.

Both actors of a drawn scene become another kind, in a colour that no word names. Rows: words alone; the
nearest colour word before each kind; the words and a picture of each actor, cut out of another scene; the
pictures exchanged. An error is the distance in CIELAB between the median colours of the edit and of the
true edit, over the places that an actor's colour paints in the kind and pose that the judge finds; "own" is
the share of regions nearer to their own picture's colour than to the other's, "right" that of `edit_quality`.
Then one figure in three shots, the first by its picture, the others by words alone or by a picture of it, cut
out of the first shot's result: the mean distance between shots.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from itertools import combinations
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
from PIL import Image

from benchmarks.judge import JUDGED, STILL, Pose, best_pose, nearest, posed
from benchmarks.tasks import TASKS, Target, Task, task, true_masks, wish, with_margin
from regrain.editing import EditRequest, Finished, edit, load_backbone
from regrain.editing.cli.commands import parse_settings
from regrain.editing.media.images import shown
from regrain.editing.models.backbone import Backbone
from storybook import COLORS, KINDS, Scene, replace, sample_scene
from storybook.train_pictures import paint, portrait
from storybook.world import cast_of, render_frames, surface_ids

ADAPTER = "storybook/pictures"
_SHOTS = 3
Look = tuple[str | None, ...]  # a colour for each actor


def dressed(scene: Scene, look: Look) -> Scene:
    """The scene with its actors in these colours."""
    actors = (dataclasses.replace(a, color=c) for a, c in zip(scene.actors, look, strict=True))
    return dataclasses.replace(scene, actors=tuple(actors))


def painted(scene: Scene, actor: int, size: int, pose: Pose = STILL) -> np.ndarray:
    """bool [judged frames, size, size]: where the colour of an actor shows."""
    bare = dressed(scene, (None,) * len(scene.actors))
    red, blue = (
        posed(replace(bare, actor=actor, color=c), actor, size, pose) for c in ("red", "blue")
    )
    return np.abs(red - blue).sum(-1) > 60


def shade(frames: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Median colour [3] of places in frames, in CIELAB."""
    lab = np.stack([cv2.cvtColor(np.float32(frame) / 255, cv2.COLOR_RGB2LAB) for frame in frames])
    return np.median(lab[places], 0)


def edited(
    request: EditRequest, backbone: Backbone, settings: list[str]
) -> tuple[np.ndarray, dict, float]:
    """Frames, metrics and seconds of an edit."""
    params = {"preview_every": 0} | parse_settings(settings)
    began = time.perf_counter()
    *_, last = edit(dataclasses.replace(request, params=params), backbone)
    seconds = time.perf_counter() - began
    assert isinstance(last, Finished)
    metrics = last.report["metrics"]
    assert isinstance(metrics, dict)
    return np.asarray(last.result.frames), metrics, seconds


def with_pictures(
    request: EditRequest, files: list[Path], scale: float | None = None
) -> EditRequest:
    """The request with a picture for each region."""
    regions = zip(request.regions, map(str, files), strict=True)
    seen = tuple(
        dataclasses.replace(region, picture=f, picture_scale=scale) for region, f in regions
    )
    return dataclasses.replace(request, regions=seen, picture_adapter=ADAPTER)


def rows_of(
    made: Task, seed: int, size: int, folder: Path, scale: float | None = None
) -> dict[str, tuple[EditRequest, Look]]:
    """The rows, and the colours that each asks for."""
    rng, truth = np.random.default_rng([seed, 77]), made.truth
    look: Look = tuple(paint(rng) for _ in truth.actors)
    files = [folder / f"{seed}_{number}.png" for number in range(len(look))]
    for file, actor in zip(files, dressed(truth, look).actors, strict=True):
        Image.fromarray(portrait(actor, rng, cut=True)).save(file)
    words = tuple(_nearest_word(truth, number, look, size) for number in range(len(look)))
    regions = zip(made.request.regions, dressed(truth, words).actors, strict=True)
    named = tuple(dataclasses.replace(region, prompt=actor.phrase) for region, actor in regions)
    return {
        "words": (made.request, (None,) * len(look)),
        "colour word": (dataclasses.replace(made.request, regions=named), words),
        "picture": (with_pictures(made.request, files, scale), look),
        "exchanged": (with_pictures(made.request, files[::-1], scale), look[::-1]),
    }


def _nearest_word(truth: Scene, actor: int, look: Look, size: int) -> str:
    places = painted(truth, actor, size)
    wanted = shade(render_frames(dressed(truth, look), size, JUDGED), places)

    def far(word: str) -> float:
        drawn = render_frames(replace(truth, actor=actor, color=word), size, JUDGED)
        return float(np.linalg.norm(shade(drawn, places) - wanted))

    return min(COLORS, key=far)


def judged(made: Task, frames: np.ndarray, asked: Look, look: Look) -> list[dict[str, float]]:
    """For each region: its colour's error, whether it is nearer to its own, whether the kind is right."""
    size, seen = frames.shape[1], []
    targets = [_dressed_target(target, asked) for target in made.targets]
    found = nearest(frames, dataclasses.replace(made, targets=tuple(targets)))
    for number, target in enumerate(targets):
        shows = target.candidates[found[number]]  # in the asked colours
        pose = best_pose(frames, shows, target.place, number)
        places = painted(shows, number, size, pose)
        got = shade(frames[list(JUDGED)], places)
        true = (posed(dressed(shows, c), number, size, pose) for c in (look, look[::-1]))
        far = [float(np.linalg.norm(got - shade(one, places))) for one in true]
        seen.append(
            {"error": far[0], "own": far[0] < far[1], "right": found[number] == target.asked}
        )
    return seen


def _dressed_target(target: Target, look: Look) -> Target:
    candidates = {name: dressed(scene, look) for name, scene in target.candidates.items()}
    return dataclasses.replace(target, candidates=candidates)


def shots(
    seed: int, args: argparse.Namespace, backbone: Backbone, folder: Path
) -> dict[str, float]:
    """Mean distance between the shots of one figure: by words, and by a picture of the first result."""
    rng, file = np.random.default_rng([seed, 78]), folder / f"{seed}_shot.png"
    kind, color, shades = str(rng.choice(KINDS)), paint(rng), {"words": [], "picture": []}
    for number in range(_SHOTS):
        scene = sample_scene(seed + 1000 * (number + 1), actors=1, plain=True)
        truth = dressed(replace(scene, actor=0, kind=kind), (color,))
        asked = task(
            scene, truth, args.size, [wish(scene, args.size, 0, f"a {kind}")], [], true_masks(0)
        )
        request = with_margin(asked, None).request
        if not number:
            Image.fromarray(portrait(truth.actors[0], rng, cut=True)).save(file)
        ways = {"words": request} if number else {}
        for row, one in (ways | {"picture": with_pictures(request, [file], args.scale)}).items():
            frames, *_ = edited(dataclasses.replace(one, seed=number), backbone, args.settings)
            look = dressed(truth, (color if row == "picture" else None,))
            pose = best_pose(frames, look, np.asarray(request.edited_mask), 0)
            found = shade(frames[list(JUDGED)], painted(truth, 0, args.size, pose))
            for each in [row] if number else shades:
                shades[each].append(found)
            if not number:  # what is seen from now on
                there = surface_ids(truth, cast_of(truth), args.size, 4) > 0
                Image.fromarray(np.dstack([frames[4], 255 * there.astype(np.uint8)])).save(file)
    return {
        row: float(np.mean([np.linalg.norm(a - b) for a, b in combinations(all_shades, 2)]))
        for row, all_shades in shades.items()
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--scenes", type=int, default=20)
    parser.add_argument(
        "--shots", type=int, default=8, help="figures that are followed over three shots"
    )
    parser.add_argument("--first", type=int, default=40_000, help="seed of the first scene")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--set", dest="settings", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument(
        "--scale", type=float, help="of the pictures, in place of the adapter's own"
    )
    parser.add_argument("-o", "--out", type=Path, default=Path("out/pictures"))
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    backbone, table, sheet = load_backbone("storybook"), {}, []
    with TemporaryDirectory() as name:
        folder = Path(name)
        for seed in range(args.first, args.first + args.scenes):
            made = with_margin(TASKS["instance"](seed, args.size, true_masks(0)), None)
            rows = rows_of(made, seed, args.size, folder, args.scale)
            column = [made.request.clip.read(4, 5)[0]]
            look = rows["picture"][1]
            for row, (request, asked) in rows.items():
                frames, metrics, seconds = edited(request, backbone, args.settings)
                own = look[::-1] if row == "exchanged" else look
                kept = {"outside": metrics["outside_psnr"], "seconds": seconds}
                table.setdefault(row, []).extend(
                    one | kept for one in judged(made, frames, asked, own)
                )
                column.append(frames[4])
            drawn = render_frames(dressed(made.truth, look), args.size, (4,))[0]
            files = sorted(folder.glob(f"{seed}_?.png"))
            seen = [shown(file, args.size, "picture") for file in files]
            sheet.append(np.concatenate([*column, drawn, *seen], 1))
        for row, regions in table.items():
            table[row] = {key: float(np.mean([one[key] for one in regions])) for key in regions[0]}
            print(
                f"{row:12s}"
                + "".join(f"{key:>10s} {value:6.2f}" for key, value in table[row].items())
            )
        found = [
            shots(seed, args, backbone, folder)
            for seed in range(args.first, args.first + args.shots)
        ]
    apart = {row: float(np.mean([one[row] for one in found])) for row in (found or [{}])[0]}
    print(
        "three shots, distance: " + ", ".join(f"{row} {value:.2f}" for row, value in apart.items())
    )
    if sheet:
        Image.fromarray(np.concatenate(sheet[:12])).save(args.out / "pictures.png")
    (args.out / "pictures.json").write_text(
        json.dumps({"rows": table, "shots": apart}, indent=2) + "\n"
    )


if __name__ == "__main__":
    main()
