"""`python -m storybook clip --seed 7 -o PROJECT`: a ready project folder with true
masks."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import tempfile
from fractions import Fraction
from pathlib import Path

import numpy as np

from regrain.editing import ArrayClip, EditRequest, Region, open_clip, save_project
from regrain.editing.errors import EditingError
from regrain.editing.media.clip import DRAWN
from regrain.editing.media.labels import grow_labels
from regrain.editing.media.writing import write_video
from storybook.rendering import render
from storybook.world import FPS, WHERE, Scene, sample_scene


def grown(labels: np.ndarray, pixels: int) -> np.ndarray:
    """Grow labels by `pixels` on all sides, like a hand-painted mask; the nearest label
    wins."""
    numbers = range(1, int(labels.max()) + 1)
    return grow_labels(labels, dict.fromkeys(numbers, pixels))


def as_request(
    scene: Scene,
    size: int,
    become: dict[str, str],
    grow: int | None = None,
    clip: Path | None = None,
) -> EditRequest:
    """Return the scene as an edit: one region per actor, its phrase as source.

    Args:
        scene: The scene to draw.
        size: Side of the frames in pixels.
        become: Prompts by actor number; with the key "background" the rest of the frame
            is the last region.
        grow: Margin of the regions in pixels: how far an edit may reach beyond its
            mask; None as in `Region`.
        clip: Video file to write; the request then uses the frames in that file.
    """
    drawn = render(scene, size)
    if clip is None:
        frames = ArrayClip(drawn.frames, fps=Fraction(FPS), comment=DRAWN)
    else:
        write_video(clip, drawn.frames, Fraction(FPS), comment=DRAWN)
        frames = open_clip(clip)
    labels = drawn.labels
    regions = []
    for i, actor in enumerate(scene.actors):
        prompt = become.get(str(i), "")
        regions.append(
            Region(actor.kind, i + 1, prompt=prompt, source=actor.phrase, margin=grow)
        )
    # leaves no free pixels for margins, so the masks themselves grow
    if "background" in become:
        labels = grown(labels, grow or 0)
        rest = len(regions) + 1
        labels = np.where(labels == 0, rest, labels).astype(np.uint8)
        place = WHERE[scene.background]
        regions.append(
            Region("background", rest, prompt=become["background"], source=place)
        )
    return EditRequest(frames, labels, tuple(regions), source_prompt=scene.caption)


def by_words(
    request: EditRequest, prompts: list[str], method: str, preset: str | None
) -> EditRequest:
    """Return the request as an edit by words alone, without regions."""
    return dataclasses.replace(
        request,
        labels=None,
        regions=(),
        prompt=prompts[0],
        more_prompts=tuple(prompts[1:]),
        method=method,
        params={} if preset is None else {"preset": preset},
    )


def main(argv: list[str] | None = None) -> int:
    """Command line; 2 on bad input."""
    parser = argparse.ArgumentParser(prog="python -m storybook", description=__doc__)
    clip = parser.add_subparsers(dest="command", required=True).add_parser(
        "clip", help="make a project from a drawn scene"
    )
    clip.add_argument("--seed", type=int, default=0)
    clip.add_argument("--frames", type=int, default=8)
    clip.add_argument("--actors", type=int, default=2, choices=(1, 2, 3))
    clip.add_argument("--size", type=int, default=256)
    clip.add_argument(
        "--plain", action="store_true", help="natural colours, no accessories"
    )
    clip.add_argument(
        "--grow",
        type=int,
        help="pixels an edit may reach beyond its actor; default: a sixteenth of the side",
    )
    clip.add_argument(
        "--become",
        action="append",
        default=[],
        metavar="WHO=PHRASE",
        help='what an actor or the background becomes: "0=a panda", "background=in the desert"',
    )
    clip.add_argument(
        "--prompt",
        action="append",
        default=[],
        help="edit by words instead, without masks; repeat it for several edits in one run",
    )
    clip.add_argument("--method", default="fatezero", help="method that edits by words")
    clip.add_argument("--preset", help="preset of that method")
    clip.add_argument("-o", "--out", type=Path, required=True)
    args = parser.parse_args(argv)
    try:
        scene = make_project(args)
    except (EditingError, ValueError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    sys.stdout.write(f"{args.out}: {scene.caption}\n")
    return 0


def make_project(args: argparse.Namespace) -> Scene:
    """Write the project that the arguments of `clip` ask for; return its scene."""
    become = {}
    for item in args.become:
        who, _, phrase = item.partition("=")
        become[who] = phrase
    scene = sample_scene(args.seed, args.frames, args.actors, plain=args.plain)
    with tempfile.TemporaryDirectory() as folder:
        request = as_request(
            scene, args.size, become, args.grow, Path(folder) / "clip.mp4"
        )
        if args.prompt:
            request = by_words(request, args.prompt, args.method, args.preset)
        save_project(request, args.out)
    write_scene(scene, args.out)
    return scene


def write_scene(scene: Scene, project: Path) -> None:
    """Write the facts of a scene into the project made from it."""
    facts = json.dumps(dataclasses.asdict(scene), indent=2)
    (project / "scene.json").write_text(facts + "\n")


if __name__ == "__main__":
    sys.exit(main())
