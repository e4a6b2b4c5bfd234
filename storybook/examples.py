"""The example projects: `python -m storybook.examples` writes them to `assets/examples/`.

With `--look NAME --count 6 -o sheet.png` it edits the scenes of the next seeds that would fit an example, and
shows them side by side with their seeds. The shipped ones were chosen this way.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
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
    Region,
    Tuned,
    edit,
    load_backbone,
    save_adapter,
    save_project,
    tune,
)
from regrain.editing.methods.feature_clusters import find_clusters
from storybook.__main__ import as_request, by_words
from storybook.draw import PARTS
from storybook.train_pictures import portrait
from storybook.world import WHERE, Scene, render, replace, sample_scene

EXAMPLES = Path(__file__).parents[1] / "assets" / "examples"
SIZE, FRAMES, ROOM = 128, 8, 8
TUNING: dict[str, object] = {
    "tune_preview_every": 0
}  # of the shipped adapters, beside the recommended
_SHOWN = (0, 3, 5, 7)  # frames on a sheet
Ask = Callable[[Scene, Path], EditRequest]
"""Makes the request for a scene whose frames are in a file."""


@dataclass(frozen=True)
class Example:
    """How to make a project from a scene.

    Attributes:
        seed: Of the scene.
        actors: Number of actors.
        fits: Whether another scene would also do.
        ask: Makes its request.
        plain: Natural colours, no accessories, everyone walks, the camera is still.
    """

    seed: int
    actors: int
    fits: Callable[[Scene], bool]
    ask: Ask
    plain: bool = True


def scene_of(example: Example, seed: int) -> Scene:
    """The scene of an example, or one that might replace it."""
    return sample_scene(seed, FRAMES, example.actors, plain=example.plain)


def kinds(*names: str) -> Callable[[Scene], bool]:
    """Scenes of exactly these kinds, in this order, in view."""
    return lambda scene: tuple(a.kind for a in scene.actors) == names and in_view(scene)


def any_of(*names: str, where: tuple[str, ...] = tuple(WHERE)) -> Callable[[Scene], bool]:
    """Scenes of some of these kinds, in some of these places, in view."""
    return lambda scene: (
        all(a.kind in names for a in scene.actors) and scene.background in where and in_view(scene)
    )


def followed(*names: str) -> Callable[[Scene], bool]:
    """Scenes in which one of these kinds runs or jumps without accessories while the camera moves."""
    return lambda scene: (
        scene.pan != 0
        and scene.style == "storybook"
        and all(
            a.kind in names and a.motion in ("run", "jump") and not a.accessory
            for a in scene.actors
        )
        and in_view(scene)
    )


def in_view(scene: Scene) -> bool:
    """Whether hardly any actor leaves the picture."""
    labels = render(scene, 48).labels[2:6]
    return bool((labels[..., [0, -1]] > 0).mean() < 0.04)


def regions(**become: str) -> Ask:
    """Change actors (`a0`, `a1`) or the `background` to the given words; actors get a margin."""

    def ask(scene: Scene, clip: Path) -> EditRequest:
        wishes = {
            key.removeprefix("a"): phrase for key, phrase in become.items() if key != "background"
        }
        if "background" not in become:
            return as_request(scene, SIZE, wishes, ROOM, clip)
        request = as_request(
            scene, SIZE, wishes | {"background": become["background"]}, 6 if wishes else 0, clip
        )
        still = tuple(dataclasses.replace(region, margin=0) for region in request.regions)
        return dataclasses.replace(
            request, regions=still, params={} if wishes else {"inject_until": 0.1}
        )

    return ask


def altered(ask: Ask, **changes: Any) -> Ask:
    """The same request with other fields."""
    return lambda scene, clip: dataclasses.replace(ask(scene, clip), **changes)


def pictured(ask: Ask, *looks: tuple[str, str]) -> Ask:
    """The same edit, each actor to become like a picture of a kind in a colour that no word names."""

    def with_pictures(scene: Scene, clip: Path) -> EditRequest:
        request, rng = ask(scene, clip), np.random.default_rng(scene.seed)
        seen = []
        for region, who, (kind, color) in zip(request.regions, scene.actors, looks, strict=True):
            shown = dataclasses.replace(who, kind=kind, color=color, accessory=None)
            file = clip.parent / f"{kind}.png"
            Image.fromarray(portrait(shown, rng, SIZE, cut=True)).save(file)
            seen.append(dataclasses.replace(region, picture=str(file)))
        return dataclasses.replace(
            request, regions=tuple(seen), picture_adapter="storybook/pictures"
        )

    return with_pictures


def words(method: str, params: dict[str, object], *changes: dict[str, str]) -> Ask:
    """Edits by words alone: the captions of the scene as it would be after each change."""

    def ask(scene: Scene, clip: Path) -> EditRequest:
        truths = [replace(scene, None if "style" in change else 0, **change) for change in changes]
        request = as_request(scene, SIZE, {}, clip=clip)
        asked = by_words(request, [truth.caption for truth in truths], method, None)
        return dataclasses.replace(asked, params=params)

    return ask


def tuned(ask: Ask) -> Ask:
    """The same edit with an adapter tuned on the clip, in half precision."""

    def with_adapter(scene: Scene, clip: Path) -> EditRequest:
        request = ask(scene, clip)
        learnt = dataclasses.replace(request, method="tune_a_video", params=TUNING)
        *_, last = tune(learnt, load_backbone("storybook"))
        assert isinstance(last, Tuned)
        name = f"{scene.caption}, {last.adapter.facts.steps} steps"
        facts = last.adapter.facts.model_copy(update={"name": name})
        path = clip.parent / "adapter.safetensors"
        save_adapter(
            Adapter(facts, {name: x.half() for name, x in last.adapter.weights.items()}), path
        )
        return dataclasses.replace(request, adapter=str(path))

    return with_adapter


def one_region(
    request: EditRequest, mask: np.ndarray, name: str, source: str, prompt: str, margin: int
) -> EditRequest:
    """The request with a single region."""
    region = Region(name, 1, prompt=prompt, source=source, margin=margin)
    return dataclasses.replace(request, regions=(region,), labels=mask.astype(np.uint8))


def both(kind: str) -> Ask:
    """Two actors form one region."""

    def ask(scene: Scene, clip: Path) -> EditRequest:
        request = as_request(scene, SIZE, {}, clip=clip)
        truth = replace(replace(scene, actor=0, kind=kind), actor=1, kind=kind)
        source, prompt = (" and ".join(a.phrase for a in s.actors) for s in (scene, truth))
        return one_region(
            request, np.asarray(request.labels) > 0, "both animals", source, prompt, ROOM
        )

    return ask


def part(name: str, room: int, **look: str) -> Ask:
    """Change the look of one part of the first actor."""

    def ask(scene: Scene, clip: Path) -> EditRequest:
        request, drawn = as_request(scene, SIZE, {}, clip=clip), render(scene, SIZE)
        mask = (drawn.labels == 1) & (drawn.parts == PARTS.index(name))
        source, prompt = (s.actors[0].phrase for s in (scene, replace(scene, actor=0, **look)))
        return one_region(request, mask, name, source, prompt, room)

    return ask


def found(prompt: str) -> Ask:
    """Use as region the cluster that the model names after the actor."""

    def ask(scene: Scene, clip: Path) -> EditRequest:
        request, kind = as_request(scene, SIZE, {}, clip=clip), scene.actors[0].kind
        search = find_clusters(load_backbone("storybook"), request.clip, scene.caption, count=4)
        try:
            while True:
                next(search)
        except StopIteration as stop:
            clusters = stop.value
        mask = clusters.labels == clusters.names.index(kind) + 1
        return one_region(request, mask, f"cluster “{kind}”", f"a {kind}", prompt, ROOM)

    return ask


BEASTS = ("cat", "dog", "fox", "panda", "rabbit", "pig")
STYLE = {"preset": "style", "steps": 20, "guidance_scale": 3.0, "emphasis": 1.0}
ATTRIBUTE = {"preset": "attribute", "steps": 20, "guidance_scale": 4.0}
SHAPE = {"preset": "shape", "steps": 20, "guidance_scale": 4.0, "self_until": 0.8, "levels": "all"}
EDGES = {"control": "canny=storybook/canny@0.5"}
OUTSIDE = ("grass", "forest", "beach")
TABLE = {
    "01_two_animals": Example(
        5856, 2, kinds("cat", "rabbit"), altered(regions(a0="a fox", a1="a panda"), seed=5)
    ),
    "02_one_animal": Example(1574, 1, any_of("fox", where=("snow",)), regions(a0="a panda")),
    "03_like_a_picture": Example(
        306, 2, any_of(*BEASTS, where=("grass", "forest", "snow")),
        pictured(regions(a0="a cat", a1="a robot"), ("cat", "#3fb8a8"), ("robot", "#c9549b")),
    ),
    "03_animals_and_place": Example(
        384, 2, any_of("rabbit", "dog", "pig", where=("forest", "grass", "snow")),
        regions(a0="a panda", a1="a fox", background="on the beach"),
    ),
    "04_style": Example(
        72, 1, any_of("fox", "dog", "panda", where=OUTSIDE),
        words("fatezero", STYLE, {"style": "watercolor"}, {"style": "pencil"}),
    ),
    "05_colour": Example(
        10, 1, any_of("rabbit", "car", "dog", "cat"),
        words("fatezero", ATTRIBUTE, {"color": "red"}, {"color": "blue"}),
    ),
    "06_without_masks": Example(
        21, 1, any_of("rabbit", "cat"), words("fatezero", SHAPE, {"kind": "fox"}, {"kind": "panda"})
    ),
    "07_both_alike": Example(98, 2, any_of("rabbit", "pig", "dog", "cat", "panda"), both("fox")),
    "08_one_part": Example(14, 1, any_of("pig", "robot", "astronaut"), part("body", 0, color="purple")),
    "09_hat_added": Example(67, 2, any_of(*BEASTS), part("head", 14, accessory="hat")),
    "10_background": Example(
        341, 2, any_of("rabbit", "car", "astronaut", "dog", where=("snow", "grass", "city")),
        regions(background="on the moon"),
    ),
    "11_mask_by_name": Example(925, 1, any_of("cat", where=("grass",)), found("a fox")),
    "12_moving_camera": Example(
        83, 1, followed(*BEASTS), altered(regions(a0="a panda"), params=EDGES), plain=False
    ),
    "13_by_a_tuned_model": Example(
        30, 1, any_of("rabbit", "cat", "fox", "dog"),
        tuned(words("tune_a_video", {}, {"kind": "robot"}, {"kind": "astronaut"})),
    ),
    "14_style_by_tuning": Example(
        72, 1, any_of("fox", "dog", "panda", where=OUTSIDE),
        words("tune_a_video", {}, {"style": "watercolor"}, {"style": "pencil"}),
    ),
    "15_shape_by_tuning": Example(
        33, 1, any_of("rabbit", "cat", "fox", "dog"), tuned(words("fatezero", SHAPE, {"kind": "robot"}))
    ),
    "16_redrawn": Example(
        255, 2, any_of(*BEASTS, where=OUTSIDE), words("fresco", {}, {"style": "watercolor"})
    ),
    "17_one_redrawn": Example(
        206, 2, any_of(*BEASTS, where=OUTSIDE), altered(regions(a0="a fox"), method="fresco")
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
    (folder / "scene.json").write_text(json.dumps(dataclasses.asdict(scene), indent=2) + "\n")


def candidates(name: str, first: int) -> Iterator[Scene]:
    """Matching scenes, starting from a seed."""
    example, seed = TABLE[name], first
    while True:
        if example.fits(scene := scene_of(example, seed)):
            yield scene
        seed += 1


def look(name: str, first: int, count: int) -> np.ndarray:
    """Rows of the source's middle frame, frames of the edit, and the middle frames of further edits."""
    rows, model = [], load_backbone("storybook")
    for _, scene in zip(range(count), candidates(name, first), strict=False):
        with tempfile.TemporaryDirectory() as scratch:
            request = TABLE[name].ask(scene, Path(scratch) / "clip.mp4")
            result = next(e.result for e in edit(request, model) if isinstance(e, Finished))
            middle = request.clip.read(FRAMES // 2, FRAMES // 2 + 1)[0]
        pictures = [
            middle,
            *result.frames[list(_SHOWN)],
            *(o.frames[FRAMES // 2] for o in result.others),
        ]
        row = cv2.resize(
            np.concatenate(pictures, 1), None, fx=1.5, fy=1.5, interpolation=cv2.INTER_CUBIC
        )
        rows.append(
            cv2.putText(
                row, str(scene.seed), (4, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 0, 0), 1
            )
        )
        sys.stdout.write(f"{scene.seed}: {scene.caption}\n")
        sys.stdout.flush()
    return np.concatenate(rows)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", action="append", choices=tuple(TABLE), help="default: all")
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
        Image.fromarray(look(args.look, args.first, args.count)).save(
            args.out or f"{args.look}.png"
        )
        return
    for name in args.only or TABLE:
        make(name, (args.out or EXAMPLES) / name)


if __name__ == "__main__":
    main()
