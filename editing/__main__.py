"""Command line: `python -m editing run | check | batch | tune | new | clusters | cache
| schema | doctor`."""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from typer import Argument, Option

from regrain.editing.cli.changes import edit_options
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
from regrain.editing.errors import ModelError, RequestError, shorten
from regrain.editing.media.mask_files import read_labels
from regrain.editing.media.reading import open_clip
from regrain.editing.models.adapters import (
    Adapter,
    check_adapter_path,
    check_name,
    save_adapter,
)
from regrain.editing.models.backbone import Backbone
from regrain.editing.models.files.facts import facts_of
from regrain.editing.models.files.location import parse_lora
from regrain.editing.models.files.lora_file import locate_lora
from regrain.editing.pipeline.outputs import (
    check_formats,
    check_out,
    check_whole,
    write_clusters,
    write_outputs,
)
from regrain.editing.recipe import events
from regrain.editing.request.edit import MAX_SEED
from regrain.editing.request.edit_request import EditRequest, override
from regrain.editing.request.project import (
    FILE,
    check_project_path,
    load_project,
    save_project,
    schema,
    uses,
)
from regrain.editing.request.region import Region
from regrain.editing.request.runnable import check_runnable, check_source
from regrain.editing.request.usual import picture_doubts
from regrain.editing.storage.devices import VARIABLE, use_device
from regrain.editing.storage.folders import (
    alone,
    check_apart,
    check_folder,
    check_writable,
)
from regrain.editing.storage.texts import Json
from regrain.editing.verdict.answers import lines

_DTYPES = ("float32", "float16", "bfloat16")
app = typer.Typer(
    help="Edit a video region by region.",
    add_completion=False,
    pretty_exceptions_enable=False,
)

# Options that several commands have.
_Project = Annotated[Path, Argument(help="Project folder.")]
_Changes = Json  # what replaces values of the project, see `edit_options`
_Dtype = Annotated[
    str | None,
    Option(
        help="float32, float16 or bfloat16; by default what suits device and memory."
    ),
]
_Device = Annotated[
    str | None,
    Option(help="cuda, mps, xpu or cpu; by default the fastest that is there."),
]
_FORMATS = "Also write the edit as png, prores or matte; repeatable."
_WHOLE = "Also write whole.mp4: the file with the edit in its place."
_RAY = "Ray cluster: its address, auto, or local to start one here."
_MASKS = "Masks: a folder with a picture per used frame, a picture, a video or JSON."
_AT = "Used frame of --masks, if that is one mask alone."
_SIZE = "Working size of the short side in pixels; the model's by default."


@app.command()
@edit_options("model", "loras", "adapter", ..., "method", "params", "seed", "prompts")
def run(
    project: _Project,
    out: Annotated[Path, Option("--out", "-o", help="Folder for the results.")],
    changes: _Changes,
    formats: Annotated[list[str] | None, Option("--format", help=_FORMATS)] = None,
    whole: Annotated[bool, Option("--whole", help=_WHOLE)] = False,
    dtype: _Dtype = None,
    device: _Device = None,
) -> None:
    """Edit a project and write videos and a report."""
    wanted = dict.fromkeys(formats or ())
    check_formats(wanted)
    check_out(out)
    use_device(device)
    request, notes = override(load_project(project), **changes)
    check_apart(out, *uses(project))
    check_runnable(request)
    if whole:
        check_whole(request.clip)
    from regrain.editing.pipeline.runner import edit

    finished = _follow(edit(request, _load_as(request, dtype)))
    report = dict(finished.report)
    report["warnings"] = [*report.get("warnings", []), *notes]
    write_outputs(finished.result, request, report, out, tuple(wanted), whole)
    warn(report["warnings"])
    say_masks(request.labels)
    for line in lines(report):
        typer.echo(f"looked at:    {line}")
    for other in report.get("others", ()):
        typer.echo(f"edited video: {out / other['file']}")
    if whole:
        typer.echo(f"whole clip:   {out / 'whole.mp4'}")
    typer.echo(
        f"edited video: {out / 'edited.mp4'}\nreport:       {out / 'report.json'}"
    )


@app.command()
@edit_options("method", "params", "prompts")
def check(project: _Project, changes: _Changes) -> None:
    """Check a project, all of its frames and masks among it, without a model."""
    request, _ = override(load_project(project), **changes)
    check_runnable(request)
    clip = request.clip
    for start in range(len(clip)):
        clip.read(start, start + 1)
        request.areas.read(start, start + 1)
    warn(clip.warnings)
    with suppress(ModelError):  # the run says what is wrong with them
        here = [
            text
            for text in request.loras
            if locate_lora(parse_lora(text).model).kind != "hub"
        ]
        warn(facts_of(request.model).guesses(here))
    warn(picture_doubts(request.asked, request.regions))
    width, height = clip.size
    say_masks(request.labels)
    typer.echo(
        f"{len(clip)} frames of {width}x{height}, {len(request.regions)} regions, {request.method}"
    )


@app.command()
def batch(
    folders: Annotated[
        list[str], Argument(metavar="FOLDER...", help="Project folders.")
    ],
    out: Annotated[
        Path,
        Option("--out", "-o", help="Folder for the results, one folder per project."),
    ],
    ray: Annotated[str | None, Option(metavar="ADDRESS", help=_RAY)] = None,
    device: _Device = None,
) -> None:
    """Run many projects; the same command goes on where it was stopped."""
    from regrain.editing.cli.batch import edit_here, edit_on_ray, find_projects, is_done

    if ray is not None and device is not None:
        raise RequestError(
            "--device",
            "Workers on a cluster choose their own device. Leave it out, or set "
            f"{VARIABLE} where they run.",
        )
    use_device(device)
    projects = find_projects(folders)
    check_folder(out)
    check_apart(out, *projects.values())
    work = {project: out.absolute() / name for name, project in projects.items()}
    left = {one: results for one, results in work.items() if not is_done(one, results)}
    for results in left.values():
        check_out(results)
    with alone(out):
        # The model stays loaded from one project to the next.
        ended = edit_here(left) if ray is None else edit_on_ray(left, ray)
        from rich.console import Console
        from rich.progress import track

        failed = 0
        shown = {"total": len(left), "console": Console(stderr=True)}
        for project, error in track(ended, f"{len(left)} projects", **shown):
            if error:
                failed += 1
                typer.echo(f"failed: {project.name}: {error}", err=True)
    typer.echo(f"{len(work) - failed} of {len(work)} projects done: {out}")
    if failed:
        raise typer.Exit(1)


@app.command()
@edit_options("model", "loras", "params")
def tune(
    project: _Project,
    out: Annotated[
        Path,
        Option("--out", "-o", metavar="FILE", help="The adapter, a .safetensors file."),
    ],
    changes: _Changes,
    name: Annotated[
        str | None, Option(help="Name shown in lists; default: the file's.")
    ] = None,
    dtype: _Dtype = None,
    device: _Device = None,
) -> None:
    """Tune a model on a project's clip, for edits with `run --adapter FILE`; a stopped
    tuning goes on."""
    check_adapter_path(out)
    check_writable(out.absolute().parent)
    use_device(device)
    if name is None:
        name = out.stem
        check_name("--out", name)
    else:
        check_name("--name", name)
    request, _ = override(load_project(project), method="tune_a_video", **changes)
    check_source(request)
    from regrain.editing.pipeline.runner import tune as tune_model

    tuned = _follow(tune_model(request, _load_as(request, dtype)))
    facts = tuned.adapter.facts.model_copy(update={"name": name})
    save_adapter(Adapter(facts, tuned.adapter.weights), out)
    if facts.steps:
        quarter = max(1, facts.steps // 4)
        first = tuned.losses[:quarter].mean()
        last = tuned.losses[-quarter:].mean()
        typer.echo(
            f"loss: {first:.4f} to {last:.4f} (means of the first and the last "
            f"{quarter} steps)"
        )
    size = out.stat().st_size / 1e6
    typer.echo(f"adapter: {out} ({size:.1f} MB, {facts.steps} steps)")


@app.command()
def new(
    clip: ClipPath,
    out: Annotated[Path, Option("--out", "-o", help="New project folder.")],
    masks: Annotated[Path | None, Option(help=_MASKS)] = None,
    at: Annotated[int | None, Option(help=_AT, min=0)] = None,
    start: Start = 0,
    stride: Stride = 1,
    frames: Frames = None,
    deinterlace: Deinterlace = False,
    size: Annotated[int | None, Option(help=_SIZE)] = None,
    region: Annotated[
        list[str] | None,
        Option(
            metavar="LABEL[:NAME]=PROMPT", help="What a region becomes; repeatable."
        ),
    ] = None,
    region_source: Annotated[
        list[str] | None,
        Option(metavar="LABEL=PHRASE", help="What a region is now; repeatable."),
    ] = None,
    source_prompt: Annotated[str, Option(help="What the clip shows.")] = "",
    prompt: Annotated[
        str, Option(help="What it should show; composed from the regions if empty.")
    ] = "",
) -> None:
    """Make a project folder from a clip."""
    if os.path.exists(out / FILE):
        raise RequestError(
            "--out", f"{out.name!r} is already a project. Choose another folder."
        )
    check_apart(out, clip, masks or clip)
    opened = open_clip(clip, start, stride, frames, deinterlace=deinterlace)
    regions = _parse_regions(region or [], region_source or [])
    labels = None
    if at is not None and not masks:
        raise RequestError("--at", "Needs --masks. Add it, or leave --at out.")
    if masks:
        labels = read_labels(
            masks,
            len(opened),
            opened.size,
            list(regions),
            at=at,
            beside=opened.names,
        )
        for label in sorted(labels.present - set(regions)):
            regions[label] = _named(label)
    request = EditRequest(
        clip=opened,
        labels=labels,
        regions=tuple(Region(**values) for values in regions.values()),
        source_prompt=source_prompt,
        prompt=prompt,
        size=size,
    )
    save_project(request, out)
    warn(opened.warnings)
    say_masks(labels)
    typer.echo(f"project: {out / FILE}")


@app.command()
@edit_options("model")
def clusters(
    project: Annotated[Path, Argument(help="Project folder; its regions are ignored.")],
    out: Annotated[
        Path,
        Option("--out", "-o", help="New project folder, with one region per cluster."),
    ],
    count: Annotated[int, Option(min=2, max=8, help="Number of clusters.")] = 3,
    steps: Annotated[int, Option(min=2, max=1000, help="Steps of the inversion.")] = 20,
    seed: Annotated[
        int, Option(min=0, max=MAX_SEED, help="Seed of the clustering.")
    ] = 0,
    *,
    changes: _Changes,
    device: _Device = None,
) -> None:
    """Find regions without masks by clustering the model's features; the prompt names
    them."""
    check_apart(out, project)
    check_project_path(out)
    use_device(device)
    request = load_project(project)
    if not request.source_prompt.strip():
        raise RequestError(
            "source_prompt",
            "Clusters are named by its words, but it is empty. Describe what the "
            "clip shows.",
        )
    from regrain.editing.methods.feature_clusters import find_clusters
    from regrain.editing.models.files.lora_file import lora_facts
    from regrain.editing.models.loading.load import load_backbone

    model = changes.get("model") or request.model  # the new project keeps its own
    # What reads more than its latents has no inversion.
    loras = [text for text in request.loras if not lora_facts(text).channels]
    backbone = load_backbone(model, loras, prediction=request.prediction)
    asked = request.clip, request.source_prompt, count, steps, seed, request.size
    found = _follow(find_clusters(backbone, *asked))
    regions = tuple(
        Region(name=name or f"cluster {label}", label=label, source=name)
        for label, name in enumerate(found.names, 1)
    )
    kept = {"labels": found.labels, "regions": regions}
    clustered = replace(request, **kept, prompt="", params={})
    save_project(clustered, out)
    write_clusters(found.pca, clustered, out)
    for region, fit in zip(regions, found.fit, strict=True):
        fits = f" (fits {fit:.2f})" if region.source else ""
        typer.echo(f"region {region.label}: {region.name}{fits}")
    typer.echo(
        f"project: {out / FILE}\npictures: {out / 'clusters.mp4'}, {out / 'pca.mp4'}"
    )


@app.command()
def cache(
    clear: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KIND", help="Remove results of this kind, or all; repeatable."
        ),
    ] = None,
    older: Annotated[
        float,
        typer.Option(min=0, help="With --clear: only those unused for so many days."),
    ] = 0,
) -> None:
    """Show what is kept of earlier runs, or remove it; what is removed is computed
    again when needed."""
    from regrain.editing.storage.cache import cache_folder, entries

    kept = list(entries())
    kinds = sorted({entry.kind for entry in kept})
    choices = [*kinds, "all"]
    cleared = list(clear or ())
    for kind in cleared:
        if kind not in choices:
            raise RequestError(
                "--clear",
                f"{shorten(kind)} is not in the cache. Choose from {', '.join(choices)}.",
            )
    latest = time.time() - 86_400 * older
    left = []
    for entry in kept:
        is_cleared = "all" in cleared or entry.kind in cleared
        if is_cleared and entry.used <= latest:
            entry.path.unlink(missing_ok=True)
        else:
            left.append(entry)
    for kind in kinds:
        sizes = [entry.bytes for entry in left if entry.kind == kind]
        megabytes = sum(sizes) / 1e6
        typer.echo(f"{kind:12}{len(sizes):6} results {megabytes:10.1f} MB")
    gone = len(kept) - len(left)
    typer.echo(f"{cache_folder()}: {len(left)} kept, {gone} removed")


@app.command(name="schema")
def print_schema() -> None:
    """Print the JSON schema of project.json."""
    typer.echo(json.dumps(schema(), indent=2))


@app.command()
def doctor(device: _Device = None) -> None:
    """Show what this machine can run."""
    use_device(device)
    from regrain.editing.cli.doctor import examine

    for what, how in examine():
        typer.echo(f"{what:27} {how}")


def main(arguments: list[str] | None = None, name: str = "python -m editing") -> int:
    """Run one command; arguments and exit code as for `editing.cli.commands.call`."""
    logging.basicConfig()
    return call(app, name, arguments)


def _load_as(request: EditRequest, dtype: str | None) -> Backbone | None:
    """Load the model in a type that was given; None if none was."""
    if dtype is None:
        return None
    if dtype not in _DTYPES:
        raise RequestError(
            "--dtype", f"Expected float32, float16 or bfloat16, got {shorten(dtype)}."
        )
    import torch

    from regrain.editing.models.loading.load import load_backbone

    how = {"prediction": request.prediction, "dtype": getattr(torch, dtype)}
    return load_backbone(request.model, request.loras, **how)


def _parse_regions(regions: list[str], sources: list[str]) -> dict[int, Json]:
    """Return the values of each region by label, in the order given."""
    result: dict[int, Json] = {}
    for text in regions:
        label, name, prompt = _parse_region("--region", text)
        if label in result:
            raise RequestError(
                "--region", f"Label {label} is given twice. Give it once."
            )
        result[label] = _named(label, name) | {"prompt": prompt}
    for text in sources:
        label, _, phrase = _parse_region("--region-source", text)
        result.setdefault(label, _named(label))["source"] = phrase
    return result


def _named(label: int, name: str = "") -> Json:
    return {"label": label, "name": name or f"region {label}"}


def _parse_region(option: str, text: str) -> tuple[int, str, str]:
    head, equals, words = text.partition("=")
    label, _, name = head.partition(":")
    if not equals or not re.fullmatch(r"\s*\d{1,9}\s*", label, re.ASCII):
        raise RequestError(
            option,
            f"Expected LABEL[:NAME]=WORDS with a label from 1 to 255, got {shorten(text)}.",
        )
    return int(label), name.strip(), words.strip()


def _follow(stream: Iterator[events.Event]) -> Any:
    """Show the events of a run as progress bars; return its result, else the last
    Finished or Tuned."""
    # Imported here, like the engine above: neither is needed to refuse a bad project.
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    result: Any = None

    def watched() -> Iterator[events.Event]:
        nonlocal result
        result = (yield from stream) or result

    stage = TextColumn("{task.description:10}")
    left = TextColumn("{task.fields[left]}")
    columns = (stage, BarColumn(), MofNCompleteColumn(), left)
    with Progress(*columns, console=Console(stderr=True)) as bars:
        tasks: Json = {}
        for event in watched():
            if isinstance(event, events.Finished | events.Tuned):
                result = event
            match event:
                case events.Stage(name=name):
                    _end(bars)
                    _begin(name, None, bars, tasks)
                case events.WindowStarted(number=number, total=total):
                    _begin("windows", total, bars, tasks)
                    bars.update(tasks["windows"], completed=number - 1)
                case events.Finished() if "windows" in tasks:
                    bars.advance(tasks["windows"])
                case events.Progress(
                    stage=name, done=done, total=total, seconds_left=seconds
                ):
                    left = "" if seconds is None else f"{seconds:.0f} s left"
                    bars.update(tasks[name], completed=done, total=total, left=left)
        _end(bars)
    return result


def _begin(name: str, total: int | None, bars: Any, tasks: Json) -> None:
    """Show a bar, or begin it anew: every window goes through the same stages."""
    if name in tasks:
        bars.reset(tasks[name], total=total)
    else:
        tasks[name] = bars.add_task(name, total=total, left="")


def _end(bars: Any) -> None:
    """Fill the bars of stages that told no progress."""
    for task in bars.tasks:
        if task.total is None:
            bars.update(task.id, total=1, completed=1)


if __name__ == "__main__":
    sys.exit(main())
