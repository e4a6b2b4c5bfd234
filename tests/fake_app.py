"""The page with a made-up editor and made-up examples: everything but the models is the
real thing.

`python tests/fake_app.py FOLDER` keeps examples and a log of the editor's steps in
FOLDER.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import cv2
import numpy as np
import torch
from huggingface_hub import constants

from regrain.editing.attention.averages import RegionAttention, WordAttention
from regrain.editing.errors import ModelError, PromptError
from regrain.editing.media.clip import ArrayClip
from regrain.editing.media.lazy_frames import DiskFrames, LazyFrames, frames_of, windows
from regrain.editing.models.adapters import Adapter, AdapterFacts
from regrain.editing.pipeline.beforehand import PlannedTuning
from regrain.editing.recipe import events
from regrain.editing.request.edit_request import EditRequest
from regrain.editing.request.project import save_project
from regrain.editing.request.region import Region
from regrain.editing.storage.fetching import Fetched
from regrain.editing.verdict.answers import say
from regrain.masks.track.propagate import Confidence

STEPS = 12
TUNE_STEPS = 40
FRAMES = 8
SIDE = 256
WORDS = {
    "Kinds": ["cat", "dog", "fox", "panda", "robot", "crash"],
    "Places": ["on the grass", "in the snow"],
    "Other words": [
        "a",
        "and",
        "green",
        "walk",
        "img",
        "src",
        "x",
        "onerror",
        "alert",
        "1",
    ],
}
WINDOW = 32  # frames; longer clips are edited window by window


def write_examples(folder: Path) -> Path:
    """Two projects of coloured discs that walk over a lawn."""
    for name, background in (("01_two_discs", False), ("02_discs_and_lawn", True)):
        frames, labels = _draw(background)
        regions = [
            Region("left disc", 1, "a panda", "a cat", color="#ffe11a", margin=0),
            Region("right disc", 2, "a fox", "a dog", color="#0b2a8c", margin=0),
        ]
        if background:
            regions.append(
                Region("rest of the frame", 3, "snow", "the grass", color="#6ff7ff")
            )
        clip = ArrayClip(frames, Fraction(8))
        words = "a cat and a dog walk on the grass"
        save_project(
            EditRequest(clip, labels, tuple(regions), source_prompt=words),
            folder / name,
        )
    return folder


def held(place: str, at: int, pause: float = 0.02) -> Iterator[None]:
    """Goes on while one and the same `Server.hold` keeps this place, from some step on;
    pauses in seconds.

    What is let go and kept again before it looks moves on: a tracker that was stopped
    does not wait for ever.
    """
    file = Path(os.environ["REGRAIN_TEST_LOG"]).with_name(f"hold_{place}")
    first = _read(file)
    while first and _read(file) == first and at >= int(first.split()[0]):
        time.sleep(pause)
        yield


def _read(file: Path) -> str:
    with suppress(FileNotFoundError):
        return file.read_text()
    return ""


def edit(request: EditRequest) -> Iterator[events.Event]:
    """Turn each region into its complementary colours; every step is written to
    steps.log."""
    log = Path(os.environ["REGRAIN_TEST_LOG"])
    note = lambda text: log.open("a").write(text + "\n")  # noqa: E731
    yield events.Stage("loading")
    for region in request.edited:
        if "unicorn" in region.prompt:
            said = "Unknown word 'unicorn'. Did you mean 'robot'?"
            raise PromptError(f"regions.{region.name}.prompt", said)
        if "crash" in region.prompt:
            for _ in held("crash", 1, 0.25):
                yield events.Progress("loading", 0, 1, None)
            note("crashed")
            raise RuntimeError("a fault")
    if len(request.clip) > WINDOW:
        yield from edit_long(request, note)
        return
    source = request.clip.read(0, len(request.clip))
    mask = request.edited_mask
    target = np.where(mask[..., None], 255 - source, source)
    labels = mask if request.labels is None else request.labels
    grids = {
        r.name: (labels[:, ::16, ::16] == r.label).astype(np.float32)
        for r in request.edited
    }
    grids = grids or {"word": mask[:, ::16, ::16].astype(np.float32)}

    def preview(step: int) -> events.Preview:
        share = step / STEPS
        shape = next(iter(grids.values())).shape
        noise = np.random.default_rng(step).random(shape, np.float32) * (1 - share)
        heat = {
            name: np.maximum(grid * (0.5 + share / 2), noise * 0.5)
            for name, grid in grids.items()
        }
        frames = (source * (1 - share) + target * share).astype(np.uint8)
        return events.Preview(frames, tuple(range(len(frames))), heat)

    def noisy(step: int) -> events.Preview:
        random = np.random.default_rng(step).bytes(source.size)
        noise = np.frombuffer(random, np.uint8).reshape(source.shape)
        share = step / STEPS
        frames = (source * (1 - share) + noise * share).astype(np.uint8)
        return events.Preview(frames, tuple(range(len(frames))), {})

    try:
        if request.method == "tune_a_video" and not request.adapter:
            yield from tune(request, note)
        for stage, looks in (("inverting", noisy), ("editing", preview)):
            yield from walk(
                stage, lambda step: (STEPS - step) * 0.25, note, stage, looks
            )
        yield events.Stage("decoding")
        yield events.Stage("measuring")
        note("finished")
    finally:
        note("closed")
    attention = {name: looked(grid) for name, grid in grids.items()}
    more = _by_words(request) if request.method == "fatezero" else {}
    more["others"] = tuple(
        events.OtherEdit(p, target // n, target // n)
        for n, p in enumerate(request.targets[1:], 2)
    )
    more["reconstruction"] = source // 2
    result = events.EditResult(target, target, source, mask, attention, **more)
    yield events.Finished(result, report_of(request, len(source), grids))


def green_dog(seed: int, frames: int) -> dict:
    """What a reader says of a green dog: each seed draws it worse than the one before."""
    return {
        "region": "",
        "words": "a green dog",
        "share": 1.0,
        "there": True,
        "margin": 1 / (1 + seed),
        "frames": list(range(frames)),
        "nearest": ["a green dog"] * frames,
        "instead": "",
    }


def report_of(request: EditRequest, frames: int, grids: Iterable[str]) -> dict:
    """What a run is said to have measured."""
    named = {
        r.name: [r.negative, r.strength]
        for r in request.regions
        if r.negative or r.strength < 1
    }
    metrics: dict = {
        "outside_psnr": 100.0,
        "outside_psnr_uncomposited": 31.4,
        "inside_psnr": 9.1,
        "warp_error": 0.013,
        "warp_error_source": 0.011,
    }
    metrics["inside_psnr_by_region"] = dict.fromkeys(
        (r.name for r in request.edited), 9.1
    )
    metrics["attention"] = {
        n: {"inside_before": 0.21, "inside_after": 0.74} for n in grids
    }
    many = request.params.get("steps") == 100
    looked = {}
    if "a green dog" in request.composed.text:
        looked["looked_at"] = say("made up", [green_dog(request.seed, frames)])
    return looked | {
        "version": 1,
        "request": {
            "clip": {"path": "clip.mp4", "start": 0, "stride": 1, "frames": frames}
        },
        "prompt_used": request.composed.text,
        "asked": {"negative_prompt": request.negative_prompt} | named,
        "seconds": {"inverting": 1.4, "editing": 90.0 if many else 1.6},
        "metrics": metrics,
        "params": decided(request),
        "warnings": [],
    }


def decided(request: EditRequest) -> dict:
    """The steps of a run, and what is given, as its report has them."""
    params = {"steps": request.decided.steps, **request.params}
    return {name: {"value": value} for name, value in params.items()}


def looked(grid: np.ndarray) -> RegionAttention:
    """Attention that finds its region step by step."""
    shares = {"early": 0.3, "middle": 0.6}  # as methods that end their guidance early
    parts = {
        part: RegionAttention(grid * 0.2, grid * share)
        for part, share in shares.items()
    }
    return RegionAttention(grid * 0.2, grid * 0.8, parts)


def walk(stage, left, note, place: str, preview=None) -> Iterator[events.Event]:
    """Steps of a stage with the seconds `left`, noted, maybe held at a place; two have a
    preview."""
    yield events.Stage(stage)
    for step in range(1, STEPS + 1):
        time.sleep(float(os.environ.get("REGRAIN_TEST_PAUSE", "0.01")))
        note(f"{stage} {step}")
        yield events.Progress(stage, step, STEPS, left(step))
        if preview and step in (3, 6):
            yield preview(step)
        for _ in held(place, step, 0.25):
            yield events.Progress(stage, step, STEPS, left(step))


def edit_long(request: EditRequest, note) -> Iterator[events.Event]:
    """The negative of a long clip, window by window; windows that were edited before
    are not edited again."""
    clip = request.clip
    count = len(request.clip)
    done = DiskFrames(*clip.size[::-1])
    spans = list(windows(count, WINDOW))
    for number, (start, stop) in enumerate(spans, 1):
        yield events.WindowStarted(number, len(spans), stop - start, count - start)
        source = clip.read(start, stop)
        looks = events.Preview(255 - source, tuple(range(start, stop)), {})
        for stage in ("inverting", "editing") if start not in _windows_done else ():
            left = lambda _, n=count - start: n * 0.25  # noqa: E731
            noted = lambda text, n=number: note(f"window {n} {text}")  # noqa: E731
            yield from walk(
                stage, left, noted, f"window_{number}", lambda _, looks=looks: looks
            )
        _windows_done.add(start)
        yield events.Stage("decoding")
        done.append(255 - source)
        if stop < count:
            yield events.Ready(LazyFrames(done.shape, np.uint8, done.read))
    _windows_done.clear()
    result = events.EditResult(done, done, frames_of(clip), request.edited_mask, {})
    seconds = {"editing": 60.0, "decoding": 7.0, "measuring": 2.0}
    params = decided(request)
    made = {"windows": [{}] * len(spans), "seconds": seconds, "params": params}
    yield events.Finished(result, {"version": 1, "metrics": {}} | made)


_windows_done: set[int] = set()


def tune(request: EditRequest, note) -> Iterator[events.Event]:
    """Steps whose loss falls, an early version, and a preview; one that was stopped
    goes on."""
    total = int(request.params.get("tune_steps", TUNE_STEPS))  # type: ignore[call-overload]
    losses = [
        0.1 + 0.3 / (1 + step / 4) + 0.05 * (-1) ** step for step in range(1, total + 1)
    ]
    frames = request.clip.read(0, min(4, len(request.clip)))
    yield events.Stage("tuning")
    for step in range(_tuned.get(request.source_prompt, 0) + 1, total + 1):
        time.sleep(float(os.environ.get("REGRAIN_TEST_PAUSE", "0.01")))
        note(f"tuning {step}")
        _tuned[request.source_prompt] = step % total
        yield events.Progress("tuning", step, total, (total - step) * 0.25)
        yield events.Losses(np.array(losses[:step], np.float32))
        if step == total // 2:
            yield events.Tuned(
                adapter(request, step), np.array(losses[:step], np.float32)
            )
            yield events.Preview(255 - frames, tuple(range(len(frames))), {})
        for _ in held("tuning", step, 0.25):
            yield events.Progress("tuning", step, total, (total - step) * 0.25)
    yield events.Tuned(adapter(request, total), np.array(losses, np.float32))


_tuned: dict[str, int] = {}


def tuned_model(**facts) -> Adapter:
    """An adapter that says it was tuned on eight frames with the built-in model, unless
    told otherwise."""
    usual = {
        "model": "storybook",
        "words": "a cat",
        "steps": 9,
        "frames": 8,
        "width": 128,
        "height": 128,
        "sketch": (0.5,),
        "clip": (0.5,),
        "learning_rate": 3e-5,
        "seed": 0,
        "rank": 0,
    }
    facts = usual | facts
    return Adapter(
        AdapterFacts(**facts), {"to_q": torch.full((2, 2), float(facts["steps"]))}
    )


def adapter(request: EditRequest, steps: int) -> Adapter:
    """What would have been tuned in so many steps."""
    frames = len(request.clip)
    words = request.source_prompt
    return tuned_model(model=request.model, frames=frames, words=words, steps=steps)


def plan_tuning(request: EditRequest, params) -> PlannedTuning:
    """As much memory, whatever is to be tuned."""
    return PlannedTuning(params.tune_steps, 0, 900_000_000)


def _by_words(request: EditRequest) -> dict:
    """Every word looks at a place of its own; the edit is let through where the first
    does."""
    y, x = np.mgrid[:16, :16] / 16

    def look(prompt: str) -> dict[str, np.ndarray]:
        spots = {}
        for n, word in enumerate(dict.fromkeys(prompt.split())):
            spot = np.exp(-((x - 0.2 - 0.15 * n) ** 2 + (y - 0.5) ** 2) * 30).astype(
                np.float32
            )
            spots[word] = np.stack([spot] * FRAMES)
        return spots

    words = WordAttention(look(request.source_prompt), look(request.composed.text))
    first = next(iter(words.source.values()))
    return {
        "words": words,
        "step_areas": {step: first > 0.6 - 0.04 * step for step in range(STEPS)},
    }


def segment(
    image,
    points,
    point_labels,
    previous=None,
    method="sam",
    box=None,
    clip=None,
    frame=0,
    doubt=None,
):
    """What has nearly the colour of the points and hangs together with them; nothing on
    the lawn.

    A box stands for its middle. A click is doubtful while there is a file `doubt`, and
    has no answer while there is a file `slow`.
    """
    while Path(os.environ["REGRAIN_TEST_LOG"]).with_name("slow").exists():
        time.sleep(0.02)
    if Path(os.environ["REGRAIN_TEST_LOG"]).with_name("doubt").exists() and doubt:
        doubt()
    mask = np.zeros(image.shape[:2], bool) if previous is None else previous.copy()
    if box is not None:
        points = [*points, ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)]
        point_labels = [*point_labels, 1]
    for (x, y), inside in zip(points, point_labels, strict=True):
        filled = np.zeros((image.shape[0] + 2, image.shape[1] + 2), np.uint8)
        near = (12,) * 3
        flags = 4 | cv2.FLOODFILL_MASK_ONLY
        cv2.floodFill(
            np.ascontiguousarray(image), filled, (int(x), int(y)), 0, near, near, flags
        )
        found = filled[1:-1, 1:-1] > 0
        if found.mean() < 0.3:
            mask = mask | found if inside else mask & ~found
    return mask


def propagate(
    clip, keys, start, stop, **how
) -> Iterator[tuple[int, np.ndarray, float]]:
    """Move a region's nearest key frame as the discs move; the further away, the less
    sure."""
    labels = {label for masks in keys.values() for label in masks}
    for frame in range(start, stop):
        for _ in held("tracking", frame):
            pass
        found = np.zeros(clip.size[::-1], np.uint8)
        sure = {}
        for label in sorted(labels):
            key = min(
                (k for k in keys if label in keys[k]), key=lambda key: abs(key - frame)
            )
            found[np.roll(keys[key][label], 4 * (frame - key), axis=1)] = label
            sure[label] = 1 - 0.12 * abs(frame - key)
        yield frame, found, Confidence(sure)


def fetch(id) -> Iterator[Fetched]:
    """A hub that cannot be reached."""
    yield from ()
    said = f"{id!r} is not downloaded, and the hub cannot be reached."
    raise ModelError("model", said)


def _draw(background: bool) -> tuple[np.ndarray, np.ndarray]:
    y, x = np.mgrid[:SIDE, :SIDE]
    frames = np.empty((FRAMES, SIDE, SIDE, 3), np.uint8)
    labels = np.full((FRAMES, SIDE, SIDE), 3 if background else 0, np.uint8)
    for i in range(FRAMES):
        frames[i] = np.stack([120 + y // 8, 190 - y // 4, 90 + x // 16], -1)
        for label, color, at in (
            (1, (228, 170, 70), (70, 120)),
            (2, (90, 110, 190), (180, 150)),
        ):
            disc = (x - at[0] - 4 * i) ** 2 + (y - at[1]) ** 2 < 42**2
            frames[i][disc], labels[i][disc] = color, label
    return frames, labels


if __name__ == "__main__":
    from regrain.ui.page.launch import launch
    from regrain.ui.page.layout import Tools

    root = Path(sys.argv[1])
    constants.HF_HUB_CACHE = str(root / "cache")
    os.environ["REGRAIN_TEST_LOG"] = str(root / "steps.log")
    words = root / "model"
    words.mkdir(exist_ok=True)
    (words / "words.json").write_text(json.dumps(WORDS))
    (words / "defaults.json").write_text(
        json.dumps({"tune_a_video": {"tune_steps": TUNE_STEPS}})
    )
    tools = Tools(
        edit,
        segment,
        propagate,
        plan_tuning=plan_tuning,
        fetch=fetch,
        load_ahead=lambda model: logging.warning("loaded ahead: %s", model),
    )
    launch(tools, write_examples(root / "examples"), words)
