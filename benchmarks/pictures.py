"""Does each region become like its own picture? `python -m benchmarks.pictures --scenes
20`.

Both actors of a drawn scene become another kind, in a colour that no word names. Rows:
words alone; the nearest colour word before each kind; the words and a picture of each
actor, cut out of another scene; the pictures exchanged. An error is the distance in
CIELAB between the median colours of the edit and of the true edit, over the places that
an actor's colour paints in the kind and pose that the judge finds; "own" is the share
of regions nearer to their own picture's colour than to the other's, "right" that of
`edit_quality`. Then one figure in three shots, the first by its picture, the others by
words alone or by a picture of it, cut out of the first shot's result: the mean distance
between shots.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from collections.abc import Mapping
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
from storybook.rendering import cast_of, render_frames, surface_ids
from storybook.training.pictures import paint, portrait
from storybook.world import Actor

ADAPTER = "storybook/pictures"
_SHOTS = 3
Look = tuple[str | None, ...]  # a colour for each actor


def dressed(scene: Scene, look: Look) -> Scene:
    """Return the scene with its actors in these colours."""
    actors = []
    for actor, color in zip(scene.actors, look, strict=True):
        actors.append(dataclasses.replace(actor, color=color))
    return dataclasses.replace(scene, actors=tuple(actors))


def painted(scene: Scene, actor: int, size: int, pose: Pose = STILL) -> np.ndarray:
    """Return where the colour of an actor shows: bool [judged frames, size, size]."""
    bare = dressed(scene, (None,) * len(scene.actors))
    red = posed(replace(bare, actor=actor, color="red"), actor, size, pose)
    blue = posed(replace(bare, actor=actor, color="blue"), actor, size, pose)
    return np.abs(red - blue).sum(-1) > 60


def shade(frames: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Return the median colour [3] of places in frames, in CIELAB."""
    lab = [cv2.cvtColor(np.float32(frame) / 255, cv2.COLOR_RGB2LAB) for frame in frames]
    lab = np.stack(lab)
    return np.median(lab[places], 0)


def edited(
    request: EditRequest, backbone: Backbone, settings: list[str]
) -> tuple[np.ndarray, dict, float]:
    """Edit, and return frames, metrics and seconds."""
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
    """Return the request with a picture for each region."""
    regions = []
    for region, file in zip(request.regions, files, strict=True):
        regions.append(
            dataclasses.replace(region, picture=str(file), picture_scale=scale)
        )
    return dataclasses.replace(request, regions=tuple(regions), picture_adapter=ADAPTER)


def rows_of(
    made: Task, seed: int, size: int, folder: Path, scale: float | None = None
) -> dict[str, tuple[EditRequest, Look]]:
    """Return the requests by row, each with the colours that it asks for."""
    rng = np.random.default_rng([seed, 77])
    truth = made.truth
    look: Look = tuple(paint(rng) for _ in truth.actors)
    files = []
    words = []
    for number, actor in enumerate(dressed(truth, look).actors):
        file = folder / f"{seed}_{number}.png"
        _save_portrait(actor, rng, file)
        files.append(file)
        words.append(_nearest_word(truth, number, look, size))
    named = _with_words(made, tuple(words))
    seen = with_pictures(made.request, files, scale)
    exchanged = with_pictures(made.request, files[::-1], scale)
    return {
        "words": (made.request, (None,) * len(look)),
        "colour word": (named, tuple(words)),
        "picture": (seen, look),
        "exchanged": (exchanged, look[::-1]),
    }


def _save_portrait(actor: Actor, rng: np.random.Generator, file: Path) -> None:
    """Draw an actor in another scene, cut out, into a file."""
    picture = portrait(actor, rng, cut=True)
    Image.fromarray(picture).save(file)


def _with_words(made: Task, look: Look) -> EditRequest:
    """Return the request of a task with the words of these colours before its kinds."""
    regions = []
    actors = dressed(made.truth, look).actors
    for region, actor in zip(made.request.regions, actors, strict=True):
        regions.append(dataclasses.replace(region, prompt=actor.phrase))
    return dataclasses.replace(made.request, regions=tuple(regions))


def _nearest_word(truth: Scene, actor: int, look: Look, size: int) -> str:
    places = painted(truth, actor, size)
    wanted = shade(render_frames(dressed(truth, look), size, JUDGED), places)

    def far(word: str) -> float:
        drawn = render_frames(replace(truth, actor=actor, color=word), size, JUDGED)
        return float(np.linalg.norm(shade(drawn, places) - wanted))

    return min(COLORS, key=far)


def judged(
    made: Task, frames: np.ndarray, asked: Look, look: Look
) -> list[dict[str, float]]:
    """Judge each region: error of its colour, whether it is nearer to its own, whether
    the kind is right."""
    targets = tuple(_dressed_target(target, asked) for target in made.targets)
    in_colors = dataclasses.replace(made, targets=targets)
    found = nearest(frames, in_colors)
    figures = []
    for number, target in enumerate(targets):
        kind = found[number]
        own, other = _color_errors(frames, target, kind, number, look)
        right = kind == target.asked
        figures.append({"error": own, "own": own < other, "right": right})
    return figures


def _color_errors(
    frames: np.ndarray, target: Target, kind: str, number: int, look: Look
) -> tuple[float, float]:
    """Return how far the colour of an actor of the found kind is from its own, and from
    the other's."""
    shown = target.candidates[kind]  # in the asked colours
    size = frames.shape[1]
    pose = best_pose(frames, shown, target.place, number)
    places = painted(shown, number, size, pose)
    color = shade(frames[list(JUDGED)], places)

    def far(true_look: Look) -> float:
        true = posed(dressed(shown, true_look), number, size, pose)
        return float(np.linalg.norm(color - shade(true, places)))

    return far(look), far(look[::-1])


def _dressed_target(target: Target, look: Look) -> Target:
    candidates = {
        name: dressed(scene, look) for name, scene in target.candidates.items()
    }
    return dataclasses.replace(target, candidates=candidates)


def shots(
    seed: int, args: argparse.Namespace, backbone: Backbone, folder: Path
) -> dict[str, float]:
    """Return mean distances between the shots of one figure: by words, by a picture of
    the first result."""
    rng = np.random.default_rng([seed, 78])
    kind = str(rng.choice(KINDS))
    color = paint(rng)
    picture = folder / f"{seed}_shot.png"
    by_words = []
    by_picture = []
    for number in range(_SHOTS):
        request, truth = _shot(seed, number, kind, color, args.size)
        if number == 0:
            _save_portrait(truth.actors[0], rng, picture)
        else:
            frames, *_ = edited(request, backbone, args.settings)
            plain = dressed(truth, (None,))
            by_words.append(_found_shade(frames, request, plain, truth))
        seen = with_pictures(request, [picture], args.scale)
        frames, *_ = edited(seen, backbone, args.settings)
        found = _found_shade(frames, request, truth, truth)
        by_picture.append(found)
        if number == 0:
            by_words.append(found)
            # the picture of the shots that follow
            _save_cut_out(frames[4], truth, picture)
    return {
        "words": _mean_distance(by_words),
        "picture": _mean_distance(by_picture),
    }


def _shot(
    seed: int, number: int, kind: str, color: str, size: int
) -> tuple[EditRequest, Scene]:
    """Ask for a kind in another scene; return the request and its true result."""
    scene = sample_scene(seed + 1000 * (number + 1), actors=1, plain=True)
    anew = replace(scene, actor=0, kind=kind)
    truth = dressed(anew, (color,))
    wishes = [wish(scene, size, 0, f"a {kind}")]
    exact = task(scene, truth, size, wishes, [], true_masks(0))
    asked = with_margin(exact, None)
    return dataclasses.replace(asked.request, seed=number), truth


def _save_cut_out(picture: np.ndarray, scene: Scene, file: Path) -> None:
    """Save the middle picture of a scene, transparent where no actor is."""
    ids = surface_ids(scene, cast_of(scene), len(picture), 4)
    opacity = 255 * (ids > 0).astype(np.uint8)
    cut_out = np.dstack([picture, opacity])
    Image.fromarray(cut_out).save(file)


def _found_shade(
    frames: np.ndarray, request: EditRequest, look: Scene, truth: Scene
) -> np.ndarray:
    """Return the colour of the actor in an edit, in the pose in which `look` comes
    nearest to it."""
    pose = best_pose(frames, look, np.asarray(request.edited_mask), 0)
    places = painted(truth, 0, frames.shape[1], pose)
    return shade(frames[list(JUDGED)], places)


def _mean_distance(colors: list[np.ndarray]) -> float:
    return float(np.mean([np.linalg.norm(a - b) for a, b in combinations(colors, 2)]))


def edit_rows(
    seed: int, args: argparse.Namespace, backbone: Backbone, folder: Path
) -> tuple[dict[str, list[dict[str, float]]], np.ndarray]:
    """Edit a scene by all rows; return the figures of the regions by row, and a line of
    the sheet."""
    exact = TASKS["instance"](seed, args.size, true_masks(0))
    made = with_margin(exact, None)
    rows = rows_of(made, seed, args.size, folder, args.scale)
    _, look = rows["picture"]
    figures = {}
    pictures = [made.request.clip.read(4, 5)[0]]
    for row, (request, asked) in rows.items():
        frames, metrics, seconds = edited(request, backbone, args.settings)
        own = look[::-1] if row == "exchanged" else look
        regions = judged(made, frames, asked, own)
        kept = {
            "outside": metrics["outside_psnr"],
            "seconds": seconds,
        }
        figures[row] = [region | kept for region in regions]
        pictures.append(frames[4])
    truth = dressed(made.truth, look)
    pictures += [*render_frames(truth, args.size, (4,))]
    files = sorted(folder.glob(f"{seed}_?.png"))
    pictures += [shown(file, args.size, "picture") for file in files]
    return figures, np.concatenate(pictures, 1)


def mean_of(rows: list[dict[str, float]]) -> dict[str, float]:
    """Return the mean of each figure."""
    return {
        key: float(np.mean([row[key] for row in rows])) for key in (rows or [{}])[0]
    }


def _print_rows(table: Mapping[str, Mapping[str, float]]) -> None:
    for row, figures in table.items():
        cells = "".join(f"{key:>10s} {value:6.2f}" for key, value in figures.items())
        print(f"{row:12s}{cells}", flush=True)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--scenes", type=int, default=20)
    parser.add_argument(
        "--shots",
        type=int,
        default=8,
        help="figures that are followed over three shots",
    )
    parser.add_argument(
        "--first", type=int, default=40_000, help="seed of the first scene"
    )
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument(
        "--set", dest="settings", action="append", default=[], metavar="KEY=VALUE"
    )
    parser.add_argument(
        "--scale", type=float, help="of the pictures, in place of the adapter's own"
    )
    parser.add_argument("-o", "--out", type=Path, default=Path("out/pictures"))
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    backbone = load_backbone("storybook")
    regions: dict[str, list[dict[str, float]]] = {}
    sheet = []
    with TemporaryDirectory() as name:
        folder = Path(name)
        for seed in range(args.first, args.first + args.scenes):
            found, line = edit_rows(seed, args, backbone, folder)
            sheet.append(line)
            for row, figures in found.items():
                regions.setdefault(row, []).extend(figures)
        table = {row: mean_of(figures) for row, figures in regions.items()}
        _print_rows(table)
        seeds = range(args.first, args.first + args.shots)
        distances = [shots(seed, args, backbone, folder) for seed in seeds]
        apart = mean_of(distances)
    cells = ", ".join(f"{row} {value:.2f}" for row, value in apart.items())
    print(f"three shots, distance: {cells}")
    if sheet:
        Image.fromarray(np.concatenate(sheet[:12])).save(args.out / "pictures.png")
    text = json.dumps({"rows": table, "shots": apart}, indent=2)
    (args.out / "pictures.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
