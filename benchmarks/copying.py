"""Does a longer clip take more memory? `python -m benchmarks.copying --frames 24 240 --size 480`.

A clip and masks are read from files, a recipe copies its input, figures are measured and every output is
written, so that only what is around a method is measured. Each length runs in a process of its own. `peak` is
the most memory that process ever held; `growth` is what of it came after the libraries were loaded.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import numpy as np

from regrain.editing.attention.averages import RegionAttention
from regrain.editing.media.labels import read_labels, write_labels
from regrain.editing.media.lazy_frames import DiskFrames, frames_of, windows
from regrain.editing.media.reading import open_clip
from regrain.editing.media.writing import write_video
from regrain.editing.params.registry import METHODS
from regrain.editing.pipeline.outputs import write_outputs
from regrain.editing.recipe.events import EditResult, Event, Finished, OtherEdit, Progress, Stage
from regrain.editing.request.edit_request import EditRequest
from regrain.editing.request.region import Region

FPS = Fraction(8)
REGIONS = (Region("left", 1, "a fox", "a cat", margin=4), Region("right", 2, "a panda", "a dog"))


def write_inputs(folder: Path, frames: int, size: int) -> None:
    """A video of moving blocks, and masks of two of them."""
    rng = np.random.default_rng(0)
    blocks = rng.integers(30, 220, (40, 40, 3), dtype=np.uint8).repeat(24, 0).repeat(24, 1)

    def pictures() -> Iterator[np.ndarray]:
        for index in range(frames):
            yield np.roll(blocks, (index, 2 * index), (0, 1))[:size, :size]

    def labels() -> Iterator[np.ndarray]:
        for index in range(frames):
            label = np.zeros((size, size), np.uint8)
            label[size // 4 : size // 2, index % (size // 4) :][:, : size // 4] = 1
            label[size // 2 :, size // 2 :] = 2
            yield label

    write_video(folder / "clip.mp4", pictures(), FPS)
    write_labels(labels(), folder / "masks", {})


def copy(_backbone: object, request: EditRequest, _params: object) -> Generator[Event, None, EditResult]:
    """A recipe that copies its input, twice over, and looks everywhere alike."""
    yield Stage("decoding")
    width, height = request.clip.size
    spools = [DiskFrames(height, width) for _ in range(5)]
    for start, stop in windows(len(request.clip)):
        for spool in spools:
            spool.append(request.clip.read(start, stop))
        yield Progress("decoding", stop, len(request.clip), None)
    frames, uncomposited, rebuilt, *other = spools
    even = np.full((len(request.clip), 16, 16), 0.5, np.float32)
    return EditResult(
        frames,
        uncomposited,
        frames_of(request.clip),
        request.edited_mask,
        {region.name: RegionAttention(even, even) for region in request.regions},
        reconstruction=rebuilt,
        others=(OtherEdit("a robot", *other),),
        step_areas={0: even > 0, 5: even > 0},
    )


class NoModel:
    """What a run asks of a model, for a recipe that does not use it."""

    id, words, defaults = "none", None, {}
    offers = METHODS["fatezero"].needs

    def __init__(self) -> None:
        import torch

        self.device = torch.device("cpu")

    def check_prompts(self, prompts: object, fields: object) -> None:
        """Take any prompt."""


def work(folder: Path, frames: int) -> dict[str, float]:
    """Read, copy, measure and write in this process; its peak in bytes, what of it is new, and seconds."""
    from regrain.editing import edit
    from regrain.editing.request import project  # noqa: F401  # loaded before it is told what is new
    from regrain.editing.storage.memory import peak_memory

    model = NoModel()
    before, began = peak_memory(model.device), time.perf_counter()
    clip = open_clip(folder / "clip.mp4")
    request = EditRequest(
        clip,
        read_labels(folder / "masks", frames, clip.size),
        REGIONS,
        source_prompt="a cat and a dog",
        more_prompts=("a robot",),
        method="copy",
    )
    *_, last = edit(request, cast(Any, model))
    assert isinstance(last, Finished)
    write_outputs(last.result, request, last.report, folder / "out", gif=True)
    peak = peak_memory(model.device)
    return {"peak": peak, "growth": peak - before, "seconds": time.perf_counter() - began}


def measure(frames: int, size: int) -> dict[str, float]:
    """`work` on a new clip, in a process of its own."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_inputs(folder, frames, size)
        command = [sys.executable, "-m", "benchmarks.copying", "--work", str(folder), "--frames", str(frames)]
        answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return {"frames": frames, "size": size, **json.loads(answer.splitlines()[-1])}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--frames", type=int, nargs="+", default=[24, 240])
    parser.add_argument("--size", type=int, default=480)
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("-o", "--out", type=Path, default=Path("out/copying"))
    args = parser.parse_args()
    METHODS["copy"] = replace(METHODS["fatezero"], name="copy", entry="benchmarks.copying:copy")
    if args.work:
        sys.stdout.write(json.dumps(work(args.work, args.frames[0])) + "\n")
        return
    rows = []
    for frames in args.frames:
        rows.append(row := measure(frames, args.size))
        sys.stdout.write(f"{frames:5d} frames: peak {row['peak'] / 2**20:6.0f} MiB, ")
        sys.stdout.write(f"growth {row['growth'] / 2**20:5.0f} MiB, {row['seconds']:6.1f} s\n")
        sys.stdout.flush()
    first, last = rows[0], rows[-1]
    ratios = {key: last[key] / first[key] for key in ("peak", "growth", "seconds")}
    sys.stdout.write(", ".join(f"{key} x {ratio:.2f}" for key, ratio in ratios.items()) + "\n")
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "copying.json").write_text(json.dumps({"rows": rows, "ratios": ratios}, indent=2) + "\n")


if __name__ == "__main__":
    main()
