"""Results shipped with the examples: `python -m storybook.results` runs every project
and keeps its edits.

They are small videos, for the page to show before anybody has pressed Run.
`shipped_results` reads them.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from regrain.editing import Finished, edit, load_backbone, load_project
from regrain.editing.errors import EditingError
from regrain.editing.media.reading import open_clip
from regrain.editing.media.writing import timing_of, write_video
from regrain.editing.pipeline.outputs import EDITS
from regrain.editing.pipeline.shipped_results import REPORT, RESULT, digest
from regrain.editing.storage.folders import staged
from storybook.examples import EXAMPLES, TABLE

CRF = 20  # about 13 kB an edit
# Of a report, what the page shows.
_KEPT = (
    "date",
    "prompt_used",
    "seconds",
    "peak_memory",
    "metrics",
    "looked_at",
    "warnings",
)
_WIDE = 488  # pixels of the README's picture


def make_result(project: Path) -> None:
    """Run a project on the built-in model, and write its edits and their report into
    its folder.

    Raises:
        EditingError: The project cannot be read or run.
    """
    request = load_project(project)
    clip = request.clip
    *_, finished = edit(request, load_backbone("storybook", request.loras))
    assert isinstance(finished, Finished)
    edits = [finished.result.frames]
    edits += [other.frames for other in finished.result.others]
    report = _trimmed(finished.report)
    report["project"] = digest(project)
    with staged(project / RESULT, replaces=(*EDITS, REPORT)) as folder:
        for name, frames in zip(EDITS, edits, strict=False):
            timing = timing_of(clip)
            write_video(
                folder / name, iter(frames), clip.fps, **timing, tags=clip.tags, crf=CRF
            )
        (folder / REPORT).write_text(json.dumps(report) + "\n", encoding="utf-8")


def _trimmed(report: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of a report that the page shows, without parameters that the
    method itself decided."""
    kept = {key: report[key] for key in _KEPT if key in report}
    params = report["params"]
    kept["params"] = {
        name: params[name] for name in params if params[name]["source"] != "method"
    }
    return kept


def write_picture(project: Path, path: Path) -> None:
    """Write an animated WebP of a project's clip and its shipped edit, side by side;
    the README's picture."""
    clip = load_project(project).clip
    edited = open_clip(project / RESULT / EDITS[0])
    left = clip.read(0, len(clip))
    right = edited.read(0, len(edited))
    gap = np.full_like(left[:, :, :4], 255)
    frames = np.concatenate([left, gap, right], 2)
    height, width = frames.shape[1:3]
    size = (_WIDE, _WIDE * height // width)
    first, *others = (
        Image.fromarray(frame).resize(size, Image.Resampling.LANCZOS)
        for frame in frames
    )
    milliseconds = round(1000 / clip.fps)
    first.save(
        path,
        save_all=True,
        append_images=others,
        duration=milliseconds,
        loop=0,
        quality=85,
        method=6,
    )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--only", action="append", choices=tuple(TABLE), help="default: all"
    )
    parser.add_argument(
        "-o", "--out", type=Path, default=EXAMPLES, help="folder of the examples"
    )
    parser.add_argument(
        "--picture", type=Path, help="only write the picture of the README to this file"
    )
    args = parser.parse_args()
    if args.picture:
        write_picture(args.out / next(iter(TABLE)), args.picture)
        return
    for name in args.only or TABLE:
        try:
            make_result(args.out / name)
        except EditingError as error:
            raise SystemExit(f"{name}: {error}") from None


if __name__ == "__main__":
    main()
