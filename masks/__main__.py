"""Command line: `python -m masks track CLIP --click LABEL:FRAME,X,Y[,0|1] ... -o out/masks`."""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from editing.clip import open_clip
from editing.commands import call
from editing.errors import MaskError, RequestError, ResourceError, shorten
from editing.labels import is_written, write_labels
from editing.outputs import check_writable

if TYPE_CHECKING:
    from editing.clip import Clip

app = typer.Typer(help="Masks of things in a clip.", add_completion=False, pretty_exceptions_enable=False)
_COLORS = ("#3b82f6", "#f97316", "#22c55e", "#ec4899", "#eab308", "#8b5cf6", "#14b8a6", "#ef4444")
_UNSURE = 0.5

# By label and frame: points (x, y) and their labels.
Clicks = dict[int, dict[int, tuple[list[tuple[float, float]], list[int]]]]


@app.callback()
def _commands() -> None:
    """Keep `track` a command although it is the only one."""


@app.command()
def track(
    clip: Annotated[Path, typer.Argument(help="Video file or folder of images.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the masks, one PNG per used frame.")],
    click: Annotated[
        list[str],
        typer.Option(
            metavar="LABEL:FRAME,X,Y[,0|1]",
            help="Point on the thing that gets this label, in a used frame; 0: not part of it. Repeatable.",
        ),
    ],
    start: Annotated[int, typer.Option(help="First frame used.")] = 0,
    stride: Annotated[int, typer.Option(help="Use every stride-th frame.")] = 1,
    frames: Annotated[int | None, typer.Option(help="Number of frames used; all if not given.")] = None,
    method: Annotated[str, typer.Option(help="sam, or grabcut, which needs no weights.")] = "sam",
    model: Annotated[
        str | None, typer.Option(help="Published SAM checkpoint; else the built-in one.")
    ] = None,
    flow: Annotated[str, typer.Option(help="dis, raft, or auto: raft where its weights are.")] = "auto",
) -> None:
    """Follow clicked things through a clip."""
    clicks = _parse(click)
    if method not in ("sam", "grabcut"):
        raise RequestError("--method", f"{shorten(method)} was given; allowed: sam, grabcut; choose one")
    if flow not in ("auto", "dis", "raft"):
        raise RequestError("--flow", f"{shorten(flow)} was given; allowed: auto, dis, raft; choose one")
    _check_out(out, clip)
    opened: Any = open_clip(clip, start, stride, frames)
    _check_clicks(clicks, opened)
    for warning in opened.warnings:
        typer.echo(f"warning: {warning}", err=True)
    labels, sure = _track(opened, clicks, method, model, flow)
    try:
        _write(labels, out.absolute(), {label: _COLORS[(label - 1) % len(_COLORS)] for label in clicks})
    except OSError as error:
        raise ResourceError(
            "--out", f"{str(out)!r} cannot be written ({error.strerror or error}); choose another"
        ) from error
    for label in clicks:
        lost = [index for index, regions in enumerate(sure) if regions.get(label, 0) < _UNSURE]
        if lost:
            typer.echo(
                f"warning: label {label} is uncertain or hidden in {len(lost)} of {len(sure)} frames, first"
                f" in frame {lost[0]}; click it there too",
                err=True,
            )
    typer.echo(f"masks: {out}")


def _write(labels: np.ndarray, out: Path, colors: dict[int, str]) -> None:
    """Write masks into a folder whose earlier ones go only once all are there; it may be the current one."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent) as folder:
        staged = Path(folder) / "masks"
        write_labels(labels, staged, colors)
        out.mkdir(exist_ok=True)
        for old in out.iterdir():
            old.unlink()
        for new in staged.iterdir():
            new.replace(out / new.name)


def main(arguments: list[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: Without the program's name; None takes those of the process.

    Returns:
        Exit code: 0, 2 for what the user can mend, 130 when stopped.
    """
    return call(app, "python -m masks", arguments)


def _parse(texts: list[str]) -> Clicks:
    number = r"\d+(?:\.\d+)?"
    clicks: Clicks = {}
    for text in texts:
        found = re.fullmatch(rf"(\d+):(\d+),({number}),({number})(?:,([01]))?", text.strip(), re.ASCII)
        if not found or not 1 <= int(found[1]) <= 255:
            raise RequestError(
                "--click",
                f"{shorten(text)} was given; allowed is LABEL:FRAME,X,Y or LABEL:FRAME,X,Y,0 with a label 1"
                " to 255; write it so",
            )
        points, kinds = clicks.setdefault(int(found[1]), {}).setdefault(int(found[2]), ([], []))
        points.append((float(found[3]), float(found[4])))
        kinds.append(int(found[5] or 1))
    return clicks


def _check_out(out: Path, clip: Path) -> None:
    if out.exists() and not out.is_dir():
        raise RequestError("--out", f"{out.name!r} is a file; choose a folder")
    if out.is_dir() and clip.is_dir() and out.samefile(clip):
        raise RequestError("--out", f"{out.name!r} is the clip itself; choose another folder")
    check_writable(out)
    check_writable(out.absolute().parent)  # masks are put together beside it
    for entry in sorted(out.iterdir()) if out.is_dir() else ():
        if not is_written(entry):
            raise RequestError(
                "--out", f"{out.name!r} holds {entry.name!r}, which is no mask; choose a new or empty folder"
            )


def _check_clicks(clicks: Clicks, clip: Clip) -> None:
    width, height = clip.size
    for label, by_frame in clicks.items():
        for frame, (points, kinds) in by_frame.items():
            if frame >= len(clip):
                raise RequestError(
                    "--click",
                    f"frame {frame} was given; the clip uses 0 to {len(clip) - 1}; choose one of them",
                )
            for x, y in points:
                if x >= width or y >= height:
                    raise RequestError(
                        "--click", f"{x:g},{y:g} was given; frames are {width}x{height}; click inside"
                    )
            if 1 not in kinds:
                raise RequestError(
                    "--click",
                    f"label {label} has only points outside it in frame {frame}; add one on it",
                )


def _track(
    clip: Clip, clicks: Clicks, method: str, model: str | None, flow: Any
) -> tuple[np.ndarray, list[dict[int, float]]]:
    """Labels of all frames, and how sure each region is in each."""
    # Here, for torch comes with it: a bad request must be refused at once.
    from rich.console import Console
    from rich.progress import track as show

    from masks.click import segment
    from masks.sam import missing
    from masks.track import propagate

    if method == "sam" and model is None and (lacking := missing()):
        typer.echo(f"warning: {lacking}", err=True)
        method = "grabcut"
    keys: dict[int, dict[int, np.ndarray]] = {}
    for label, by_frame in clicks.items():
        for frame, (points, kinds) in by_frame.items():
            image = clip.read(frame, frame + 1)[0]
            mask = segment(image, points[:1], kinds[:1], method=method, model=model) if kinds[0] else None
            if mask is None or len(points) > 1:
                mask = segment(image, points, kinds, previous=mask, method=method, model=model)
            if not mask.any():
                raise MaskError(
                    "--click",
                    f"nothing was found for label {label} in frame {frame}; click nearer the middle",
                )
            keys.setdefault(frame, {})[label] = mask
    labels = np.zeros((len(clip), *clip.size[::-1]), np.uint8)
    sure: list[dict[int, float]] = [{} for _ in range(len(clip))]
    stream = propagate(clip, keys, flow=flow)
    for frame, found, confidence in show(stream, "tracking", total=len(clip), console=Console(stderr=True)):
        labels[frame], sure[frame] = found, confidence.regions
    return labels, sure


if __name__ == "__main__":
    sys.exit(main())
