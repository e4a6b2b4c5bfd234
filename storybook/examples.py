"""The example projects: `python -m storybook.examples` writes them to
`assets/examples/`.

With `--look NAME --count 6 -o sheet.png` it edits the scenes of the next seeds that
would fit an example, and shows them side by side with their seeds. The shipped ones
were chosen this way.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from regrain.editing import (
    Adapter,
    EditRequest,
    Finished,
    Tuned,
    edit,
    load_backbone,
    save_adapter,
    save_project,
    tune,
)
from storybook.__main__ import as_request, by_words, write_scene
from storybook.rendering import render
from storybook.training.pictures import portrait
from storybook.world import WHERE, Scene, replace, sample_scene, shrink

EXAMPLES = Path(__file__).parents[1] / "assets" / "examples"
SIZE = 128  # pixels of a frame's side
LARGE = 256  # of those in which something small is edited
FRAMES = 8
ROOM = 8  # pixels by which an edit may reach beyond its mask
# Parameters of the shipped adapters, beside the recommended ones.
TUNING: dict[str, object] = {"tune_preview_every": 0}
_SHOWN = (0, 3, 5, 7)  # frames on a sheet
Ask = Callable[[Scene, Path], EditRequest]
"""Makes the request for a scene whose frames are in a file."""


@dataclass(frozen=True)
class Example:
    """Recipe of a project: a scene and an edit.

    Attributes:
        seed: Of the scene.
        actors: Number of actors.
        fits: Returns whether another scene would also do.
        ask: Makes its request.
        height: Of its only actor, in shares of the frame; as in the scene by default.
    """

    seed: int
    actors: int
    fits: Callable[[Scene], bool]
    ask: Ask
    height: float | None = None


def scene_of(example: Example, seed: int) -> Scene:
    """Return the scene of an example, or one that might replace it."""
    scene = sample_scene(seed, FRAMES, example.actors, plain=True)
    return scene if example.height is None else shrink(scene, example.height)


def kinds(*names: str) -> Callable[[Scene], bool]:
    """Scenes of exactly these kinds, in this order, in view."""

    def fits(scene: Scene) -> bool:
        return _kinds_of(scene) == names and in_view(scene)

    return fits


def any_of(
    *names: str, where: tuple[str, ...] = tuple(WHERE)
) -> Callable[[Scene], bool]:
    """Scenes of some of these kinds, in some of these places, in view."""

    def fits(scene: Scene) -> bool:
        return (
            {*_kinds_of(scene)} <= {*names}
            and scene.background in where
            and in_view(scene)
        )

    return fits


def _kinds_of(scene: Scene) -> tuple[str, ...]:
    return tuple(actor.kind for actor in scene.actors)


def in_view(scene: Scene) -> bool:
    """Return whether hardly any actor leaves the picture."""
    labels = render(scene, 48).labels[2:6]
    return bool((labels[..., [0, -1]] > 0).mean() < 0.04)


def regions(**become: str) -> Ask:
    """Change actors (`a0`, `a1`) or the `background` to the given words; actors get a
    margin."""

    def ask(scene: Scene, clip: Path) -> EditRequest:
        wishes = {key.removeprefix("a"): phrase for key, phrase in become.items()}
        if "background" not in become:
            return as_request(scene, SIZE, wishes, ROOM, clip)
        alone = len(become) == 1
        request = as_request(scene, SIZE, wishes, 0 if alone else 6, clip)
        exact = tuple(
            dataclasses.replace(region, margin=0) for region in request.regions
        )
        params = {"inject_until": 0.1} if alone else {}
        return dataclasses.replace(request, regions=exact, params=params)

    return ask


def large(prompt: str, **changes: Any) -> Ask:
    """Change the actor of a scene that is drawn larger than a model sees it."""

    def ask(scene: Scene, clip: Path) -> EditRequest:
        request = as_request(scene, LARGE, {"0": prompt}, clip=clip)
        return dataclasses.replace(request, **changes)

    return ask


def altered(ask: Ask, **changes: Any) -> Ask:
    """Make the request of `ask` with other fields."""

    def changed(scene: Scene, clip: Path) -> EditRequest:
        return dataclasses.replace(ask(scene, clip), **changes)

    return changed


def pictured(ask: Ask, *looks: tuple[str, str]) -> Ask:
    """Let each actor also become like a picture: of a kind in a colour that no word
    names."""

    def with_pictures(scene: Scene, clip: Path) -> EditRequest:
        request = ask(scene, clip)
        rng = np.random.default_rng(scene.seed)
        regions = []
        for i, (kind, color) in enumerate(looks):
            shown = dataclasses.replace(
                scene.actors[i], kind=kind, color=color, accessory=None
            )
            file = clip.parent / f"{kind}.png"
            Image.fromarray(portrait(shown, rng, SIZE, cut=True)).save(file)
            region = dataclasses.replace(request.regions[i], picture=str(file))
            regions.append(region)
        adapter = "storybook/pictures"
        return dataclasses.replace(
            request, regions=tuple(regions), picture_adapter=adapter
        )

    return with_pictures


def words(method: str, params: dict[str, object], *changes: dict[str, str]) -> Ask:
    """Edit by words alone: the captions of the scene as it would be after each
    change."""

    def ask(scene: Scene, clip: Path) -> EditRequest:
        prompts = []
        for change in changes:
            actor = None if "style" in change else 0
            truth = replace(scene, actor, **change)
            prompts.append(truth.caption)
        request = as_request(scene, SIZE, {}, clip=clip)
        asked = by_words(request, prompts, method, None)
        return dataclasses.replace(asked, params=params)

    return ask


def tuned(ask: Ask) -> Ask:
    """Make the request of `ask` with an adapter tuned on the clip, in half
    precision."""

    def with_adapter(scene: Scene, clip: Path) -> EditRequest:
        request = ask(scene, clip)
        tuning = dataclasses.replace(request, method="tune_a_video", params=TUNING)
        *_, last = tune(tuning, load_backbone("storybook"))
        assert isinstance(last, Tuned)
        learnt = last.adapter
        name = f"{scene.caption}, {learnt.facts.steps} steps"
        facts = learnt.facts.model_copy(update={"name": name})
        halves = {name: weight.half() for name, weight in learnt.weights.items()}
        path = clip.parent / "adapter.safetensors"
        save_adapter(Adapter(facts, halves), path)
        return dataclasses.replace(request, adapter=str(path))

    return with_adapter


BEASTS = ("cat", "dog", "fox", "panda", "rabbit", "pig")
STYLE = {"preset": "style", "steps": 20, "guidance_scale": 3.0, "emphasis": 1.0}
ATTRIBUTE = {"preset": "attribute", "steps": 20, "guidance_scale": 4.0}
FAST = {"method": "instruct_pix2pix", "loras": ("storybook/fast",)}
OUTSIDE = ("grass", "forest", "beach")
TABLE = {
    "01_two_animals": Example(
        950, 2, kinds("cat", "rabbit"), altered(regions(a0="a fox", a1="a panda"), seed=5, **FAST)
    ),
    "02_one_animal": Example(
        1574, 1, any_of("fox", where=("snow",)), altered(regions(a0="a panda"), **FAST)
    ),
    "03_like_a_picture": Example(
        306, 2, any_of(*BEASTS, where=("grass", "forest", "snow")),
        pictured(regions(a0="a cat", a1="a robot"), ("cat", "#3fb8a8"), ("robot", "#c9549b")),
    ),
    "03_focus_on": Example(
        2004, 1, any_of("rabbit", where=("snow",)), large("a fox", focus="on", **FAST), height=0.24
    ),
    "04_style": Example(
        72, 1, any_of("fox", "dog", "panda", where=OUTSIDE),
        words("fatezero", STYLE, {"style": "watercolor"}, {"style": "pencil"}),
    ),
    "05_colour": Example(
        10, 1, any_of("rabbit", "car", "dog", "cat"),
        words("fatezero", ATTRIBUTE, {"color": "red"}, {"color": "blue"}),
    ),
    "10_background": Example(
        341, 2, any_of("rabbit", "car", "astronaut", "dog", where=("snow", "grass", "city")),
        regions(background="on the moon"),
    ),
    "13_by_a_tuned_model": Example(
        30, 1, any_of("rabbit", "cat", "fox", "dog"),
        tuned(words("tune_a_video", {}, {"kind": "robot"}, {"kind": "astronaut"})),
    ),
}  # fmt: skip


def make(name: str, folder: Path) -> None:
    """Write an example."""
    example = TABLE[name]
    scene = scene_of(example, example.seed)
    with tempfile.TemporaryDirectory() as scratch:
        asked = example.ask(scene, Path(scratch) / "clip.mp4")
        motion = "storybook/motion" if asked.method == "videograin" else ""
        save_project(dataclasses.replace(asked, motion=motion), folder)
    write_scene(scene, folder)


def candidates(name: str, first: int) -> Iterator[Scene]:
    """Yield matching scenes, starting from a seed."""
    example = TABLE[name]
    for seed in itertools.count(first):
        scene = scene_of(example, seed)
        if example.fits(scene):
            yield scene


def look(name: str, first: int, count: int) -> np.ndarray:
    """Edit the next scenes that fit an example, and return a sheet with a row for
    each."""
    rows = []
    for scene in itertools.islice(candidates(name, first), count):
        rows.append(_row(TABLE[name], scene))
        sys.stdout.write(f"{scene.seed}: {scene.caption}\n")
        sys.stdout.flush()
    return np.concatenate(rows)


def _row(example: Example, scene: Scene) -> np.ndarray:
    """Show the source's middle frame, frames of the edit, and the middle frames of
    further edits."""
    middle = FRAMES // 2
    with tempfile.TemporaryDirectory() as scratch:
        request = example.ask(scene, Path(scratch) / "clip.mp4")
        *_, last = edit(request, load_backbone("storybook", request.loras))
        assert isinstance(last, Finished)
        source = request.clip.read(middle, middle + 1)[0]
        result = last.result
        edited = result.frames[list(_SHOWN)]
        others = [other.frames[middle] for other in result.others]
    row = np.concatenate([source, *edited, *others], 1)
    return _numbered(row, scene.seed)


def _numbered(row: np.ndarray, number: int) -> np.ndarray:
    """Enlarge a row of a sheet, and write a number into its corner."""
    large = cv2.resize(row, None, fx=1.5, fy=1.5, interpolation=cv2.INTER_CUBIC)
    font = cv2.FONT_HERSHEY_SIMPLEX
    return cv2.putText(large, str(number), (4, 16), font, 0.5, (255, 0, 0), 1)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--only", action="append", choices=tuple(TABLE), help="default: all"
    )
    parser.add_argument(
        "--look", choices=tuple(TABLE), help="edit other scenes that fit this example"
    )
    parser.add_argument("--first", type=int, default=0, help="first seed to try")
    parser.add_argument("--count", type=int, default=6, help="number of scenes")
    parser.add_argument(
        "-o", "--out", type=Path, help="folder of the examples, or file of the sheet"
    )
    args = parser.parse_args()
    if args.look:
        sheet = look(args.look, args.first, args.count)
        Image.fromarray(sheet).save(args.out or f"{args.look}.png")
        return
    for name in args.only or TABLE:
        make(name, (args.out or EXAMPLES) / name)


if __name__ == "__main__":
    main()
