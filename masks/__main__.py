"""Command line: `python -m masks track | convert`."""

from __future__ import annotations

import os
import re
import sys
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Argument, Option

from regrain.editing.cli.commands import (
    ClipPath,
    Deinterlace,
    Frames,
    Start,
    Stride,
    call,
    say_masks,
    warn,
)
from regrain.editing.errors import MaskError, RequestError, shorten
from regrain.editing.media.clip import DRAWN, check_inside
from regrain.editing.media.lazy_frames import Texts
from regrain.editing.media.mask_files import read_labels
from regrain.editing.media.reading import open_clip
from regrain.editing.storage.folders import check_apart
from regrain.masks.io.files import (
    check_out,
    check_same_clip,
    colors_of,
    read_masks,
    replacing_masks,
    write_masks,
)
from regrain.masks.models.finders import (
    CUTS,
    find_finder,
    find_tracker,
    usual,
    usual_tracker,
)
from regrain.masks.track.uncertainty import doubts, in_words

if TYPE_CHECKING:
    from regrain.editing.media.clip import Clip
    from regrain.masks.track.following import Clicks

app = typer.Typer(
    help="Make masks of objects in a clip.",
    add_completion=False,
    pretty_exceptions_enable=False,
)
_MASKS = "Masks of this clip to correct: a clicked object is tracked again up to the next --key."
_AT = "Used frame of --masks, if that is one mask alone; it is tracked like clicks."
_CLICK = "Point on the object of this label in a used frame; 0 marks a point outside it; repeatable."
_FINDER = (
    "What answers clicks: sam, cuts, or a published SAM in $REGRAIN_MODELS. "
    "By default sam on drawn clips, else a published SAM or cuts."
)
_TRACKER = "What follows masks. By default cuts."
_OUT = "Folder, or .json, .mkv (lossless) or .mp4 file for the masks."
_COLOR = "Colour of a label in a video; repeatable."


@app.command()
def track(
    clip: ClipPath,
    out: Annotated[
        Path,
        Option("--out", "-o", help="Folder for the masks, one PNG per used frame."),
    ],
    click: Annotated[
        list[str] | None, Option(metavar="LABEL:FRAME,X,Y[,0|1]", help=_CLICK)
    ] = None,
    start: Start = 0,
    stride: Stride = 1,
    frames: Frames = None,
    deinterlace: Deinterlace = False,
    finder: Annotated[str | None, Option("--finder", "--method", help=_FINDER)] = None,
    model: Annotated[
        str | None,
        Option(help="Published SAM checkpoint; the built-in one by default."),
    ] = None,
    tracker: Annotated[str | None, Option(help=_TRACKER)] = None,
    masks: Annotated[Path | None, Option(help=_MASKS)] = None,
    key: Annotated[
        list[int] | None,
        Option(help="Used frame whose masks in --masks are right; repeatable.", min=0),
    ] = None,
    at: Annotated[int | None, Option(help=_AT, min=0)] = None,
) -> None:
    """Track clicked objects through a clip, or correct masks that were tracked
    before."""
    clicks = _parse_clicks(click or [])
    _check_options(finder, tracker, masks, key, at)
    if not clicks and at is None:
        raise RequestError(
            "--click",
            "Nothing to track. Click an object, or give its mask by --masks and --at.",
        )
    check_out(out, clip)
    in_place = masks is not None and os.path.realpath(out) == os.path.realpath(masks)
    if masks and not in_place:
        check_apart(out, masks)
    opened = open_clip(clip, start, stride, frames, deinterlace=deinterlace)
    width, height = opened.size
    check_same_clip(out, (len(opened), height, width))
    _check_clicks(clicks, opened)
    check_inside("--key", key or (), len(opened))
    before = None
    if masks:
        before = read_labels(
            masks, len(opened), opened.size, at=at, beside=opened.names
        )
        say_masks(before)
    warn(opened.warnings)
    # Imported here, since torch comes with it and a bad request must be refused at
    # once.
    from regrain.masks.track.following import (
        correct,
        follow,
        masks_of_clicks,
        with_masks_at,
    )

    drawn = opened.comment == DRAWN
    if finder is None:
        finder = "sam" if model or drawn else usual(drawn=False).name
    if tracker is None:
        tracker = usual_tracker(drawn)
    given = masks_of_clicks(opened, clicks, finder, model)
    if before is not None and at is not None:
        given = with_masks_at(given, before, at)
        before = None
    with replacing_masks(out) as folder:
        if before is None:
            confidences = follow(opened, given, folder, tracker)
        else:
            confidences = correct(
                opened,
                given,
                folder,
                before,
                key or (),
                tracker,
            )
    for label, known in confidences.items():
        spans = in_words(doubts(known, len(opened)))
        if spans:
            warn([f"label {label}: {spans}. Click it there too."])
    typer.echo(f"masks: {out}")


@app.command()
def convert(
    masks: Annotated[
        Path, Argument(help="Folder of pictures, picture, .json file or mask video.")
    ],
    out: Annotated[Path, Option("--out", "-o", help=_OUT)],
    color: Annotated[
        list[str] | None, Option(metavar="LABEL=#RRGGBB", help=_COLOR)
    ] = None,
    fps: Annotated[
        float, Option(min=0.1, max=240, help="Frames per second of a video.")
    ] = 8.0,
) -> None:
    """Convert masks to another form: indexed PNG files, COCO JSON, or a video."""
    check_out(out, masks)
    colors = _parse_colors(color or [])
    found = read_masks(masks, colors)
    say_masks(found)
    rate = Fraction(fps).limit_denominator(1001)
    write_masks(found, out, colors_of(found) | colors, rate)
    typer.echo(f"masks: {out}")


def main(arguments: list[str] | None = None, name: str = "python -m masks") -> int:
    """Run one command; arguments and exit code as for `editing.cli.commands.call`."""
    return call(app, name, arguments)


def _parse_colors(texts: list[str]) -> dict[int, str]:
    parsed = [
        _parse_labelled(
            "--color", r"(\d{1,3})=(#[0-9a-fA-F]{6})", text, "LABEL=#RRGGBB"
        )
        for text in texts
    ]
    return {int(label): color for label, color in parsed}


def _parse_clicks(texts: list[str]) -> Clicks:
    count = r"(\d{1,9})"
    number = r"(\d{1,9}(?:\.\d{1,9})?)"  # a longer one is no place in a clip
    form = rf"{count}:{count},{number},{number}(?:,([01]))?"
    expected = "LABEL:FRAME,X,Y or LABEL:FRAME,X,Y,0"
    clicks: Clicks = {}
    for text in texts:
        label, frame, x, y, kind = _parse_labelled(
            "--click",
            form,
            text,
            expected,
        )
        by_frame = clicks.setdefault(int(label), {})
        points, kinds = by_frame.setdefault(int(frame), ([], []))
        points.append((float(x), float(y)))
        kinds.append(int(kind or 1))
    return clicks


def _parse_labelled(option: str, form: str, text: str, expected: str) -> Texts:
    """Return the groups of the regular expression `form`, the first of which is a
    label."""
    found = re.fullmatch(form, text.strip(), re.ASCII)
    if not found or not 1 <= int(found[1]) <= 255:
        raise RequestError(
            option,
            f"Expected {expected} with a label from 1 to 255, got {shorten(text)}.",
        )
    return found.groups()


def _check_options(
    finder: str | None,
    tracker: str | None,
    masks: Path | None,
    key: list[int] | None,
    at: int | None,
) -> None:
    try:
        find_finder("sam" if finder is None else finder)
        find_tracker(CUTS if tracker is None else tracker)
    except MaskError as error:
        option = "--tracker" if error.field == "tracker" else "--finder"
        raise RequestError(option, error.message) from error
    for option, given in (("--key", bool(key)), ("--at", at is not None)):
        if given and masks is None:
            raise RequestError(option, f"Needs --masks. Add it, or leave {option} out.")
    if key and at is not None:
        raise RequestError(
            "--key",
            "It is of masks for every frame, and --at of one mask. Leave one out.",
        )


def _check_clicks(clicks: Clicks, clip: Clip) -> None:
    width, height = clip.size
    for label, by_frame in clicks.items():
        check_inside("--click", by_frame, len(clip))
        for frame, (points, kinds) in by_frame.items():
            for x, y in points:
                if x >= width or y >= height:
                    raise RequestError(
                        "--click",
                        f"Point {x:g},{y:g} is outside the frame of "
                        f"{width}x{height}. Click inside it.",
                    )
            if 1 not in kinds:
                raise RequestError(
                    "--click",
                    f"Label {label} has only points marked 0 in frame {frame}. "
                    "Add a point on the object.",
                )


if __name__ == "__main__":
    sys.exit(main())
