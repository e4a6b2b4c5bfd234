"""The project folder: project.json, the clip and the masks. Only this module reads and writes it."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from regrain.editing.boundary import boundary
from regrain.editing.errors import ModelError, RequestError, from_validation, shorten
from regrain.editing.media.clip import Clip
from regrain.editing.media.images import ImageClip, read_picture
from regrain.editing.media.labels import read_labels, write_labels, write_regions
from regrain.editing.media.lazy_frames import LazyFrames
from regrain.editing.media.reading import VideoClip, open_clip
from regrain.editing.media.writing import write_lossless
from regrain.editing.models.adapters import find_adapter
from regrain.editing.models.files.location import parse_lora
from regrain.editing.params.registry import METHODS
from regrain.editing.params.written import read_control
from regrain.editing.request.edit_request import (
    MAX_LORAS,
    MAX_PROMPTS,
    MAX_SEED,
    MAX_SIZE,
    MIN_SIZE,
    EditRequest,
)
from regrain.editing.request.region import MAX_MARGIN, MAX_SCALE, Region
from regrain.editing.storage.folders import check_writable, staged
from regrain.editing.storage.local_models import find_project
from regrain.editing.storage.packages import program

FILE = "project.json"
_ADAPTER = "adapter.safetensors"
_MAX_BYTES = 1_000_000
_MAX_NAME = 200  # characters of a model's name
_MAX_PATH = 1000


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


def _key(default: Any, description: str, **limits: Any) -> Any:
    return Field(default, description=description, **limits)


class ProjectClip(_Model):
    """The key `clip`."""

    path: str = Field(description="Video file or folder of images, inside the project folder.")
    start: int = _key(0, "First frame used.", ge=0)
    stride: int = _key(1, "Use every stride-th frame.", ge=1)
    frames: int | None = _key(None, "Number of frames used; all by default.", ge=1)
    size: int | None = _key(
        None,
        "Working size of the short side in pixels; the model's by default.",
        ge=MIN_SIZE,
        le=MAX_SIZE,
    )


_SCALE = _key(
    None, "How much the picture counts; by default what suits the adapter.", ge=0, le=MAX_SCALE
)


class ProjectRegion(_Model):
    """One entry of the key `regions`."""

    name: str = Field(
        min_length=1, description="Unique; names its files and its row in the report."
    )
    label: int = Field(ge=1, le=255, description="Its value in the masks; unique.")
    source: str = _key("", "What it is now, in words of the source prompt.")
    prompt: str = _key("", "What it should become; empty keeps the source.")
    color: str = _key("", "#rrggbb; from a palette by default.", pattern=r"^(#[0-9a-fA-F]{6})?$")
    strength: float = _key(1.0, "How strongly its attention is modulated.", ge=0, le=1)
    negative: str = _key("", "What it should not become.")
    margin: int | None = _key(
        None,
        "Pixels its edit may reach beyond its mask; 1/16 of the shorter side by default.",
        ge=0,
        le=MAX_MARGIN,
    )
    feather: int = _key(
        0, "Pixels over which its edit fades out inside its edge.", ge=0, le=MAX_MARGIN
    )
    drawn: list[int] = _key([], "Used frames with a mask drawn by hand.")
    clicked: list[int] = _key(
        [], "Used frames with a mask found from clicks; the other masks were tracked."
    )
    picture: str = _key("", "A picture of what it should become, inside the project folder.")
    picture_scale: float | None = _SCALE


class Project(_Model):
    """project.json, version 1."""

    version: int = Field(ge=1, le=1, description="Version of this format.")
    clip: ProjectClip
    source_prompt: str = _key("", "What the clip shows.")
    prompt: str = _key("", "What it should show; composed from the regions if empty.")
    more_prompts: list[str] = _key(
        [], "Prompts of further edits in the same run.", max_length=MAX_PROMPTS - 1
    )
    negative_prompt: str = _key("", "What it should not show.")
    regions: list[ProjectRegion] = _key(
        [], "Regions; where masks overlap, the earlier covers the later."
    )
    masks: str | None = _key(None, "Folder of masks inside the project folder.")
    method: str = _key("videograin", f"One of: {', '.join(METHODS)}.")
    params: dict[str, Any] = _key(
        {}, "Parameters of the method; the others are decided when it runs."
    )
    model: str = _key("storybook", "storybook, a hub id, or a name in the folder $REGRAIN_MODELS.")
    loras: list[str] = _key(
        [],
        "LoRA files added to the model, as NAME@WEIGHT; names as for models.",
        max_length=MAX_LORAS,
    )
    motion: str = _key("", "Motion adapter (AnimateDiff), NAME@SCALE; the scale is 0 to 4.")
    picture: str = _key("", "A picture of what the whole frame should become.")
    picture_scale: float | None = _SCALE
    picture_adapter: str = _key("", "Picture adapter (IP-Adapter); named as models are.")
    adapter: str = _key(
        "", "An adapter tuned on the clip: a file in the folder, or a name in $REGRAIN_MODELS."
    )
    seed: int = _key(
        0, "Another seed gives another result, if the method draws noise.", ge=0, le=MAX_SEED
    )


def schema() -> dict[str, Any]:
    """The JSON schema of project.json; `params` lists those of every method."""
    result = Project.model_json_schema()
    result["properties"]["params"]["anyOf"] = [
        method.Params.model_json_schema() for method in METHODS.values()
    ]
    return result


def load_project(path: str | Path, check_clip: Callable[[Clip], None] | None = None) -> EditRequest:
    """Read and check a project folder; needs no model and loads no torch.

    Args:
        path: The folder, or the project.json in it.
        check_clip: Called before masks are read; may raise to refuse the clip.

    Raises:
        RequestError: A value is not allowed; the field is the dotted key.
        ModelError: A LoRA or a control network is a path; a project may come from anyone.
    """
    folder = _folder(path)
    project = _parse(folder / FILE)
    _check_names(project, project.params.get("control", ""))
    options = project.clip
    clip_path, masks_path = _inside(folder, options.path, "clip.path"), _masks_path(folder, project)
    clip = open_clip(clip_path, options.start, options.stride, options.frames)
    if check_clip:
        check_clip(clip)
    order = [region.label for region in project.regions]
    return EditRequest(
        clip=clip,
        labels=read_labels(masks_path, len(clip), clip.size, order) if masks_path else None,
        regions=tuple(
            Region(
                **region.model_dump()
                | {"drawn": tuple(region.drawn), "clicked": tuple(region.clicked)}
                | {
                    "picture": _read_picture(
                        folder, region.picture, f"regions.{region.name}.picture"
                    )
                }
            )
            for region in project.regions
        ),
        picture=_read_picture(folder, project.picture, "picture"),
        size=options.size,
        more_prompts=tuple(project.more_prompts),
        loras=tuple(project.loras),
        motion=project.motion,
        picture_adapter=project.picture_adapter,
        adapter=_read_adapter(folder, project.adapter),
        **project.model_dump(include=_SHARED),
    )


def uses(path: str | Path) -> list[Path]:
    """Unchecked paths of a project's clip, masks, adapter and pictures in its folder; see `load_project`."""
    project = _parse(_folder(path) / FILE)
    pictures = (project.picture, *(region.picture for region in project.regions))
    names = (project.clip.path, project.masks, project.adapter, *pictures)
    return [_folder(path) / name for name in names if name]


def overlapping_masks(path: str | Path) -> Path | None:
    """The folder of a project's masks if it has one per region, so that masks may overlap; else None."""
    folder = _masks_path(Path(path), _parse(Path(path) / FILE))
    return (
        folder if folder and folder.is_dir() and any(e.is_dir() for e in folder.iterdir()) else None
    )


def save_project(
    request: EditRequest,
    path: str | Path,
    overlapping: Mapping[int, np.ndarray | LazyFrames] | None = None,
) -> None:
    """Write a request as a project folder that `load_project` reads back to the same frames and values.

    A clip from a file or folder is copied whole; one in memory is written without loss. An existing project
    is replaced; other files in its folder stay.

    Args:
        request: The request.
        path: Folder to make.
        overlapping: Masks by label, bool [frames, height, width], to write instead of the request's labels,
            which are these flattened.
    Raises:
        RequestError: `path` contains something that is not a project.
        ModelError: The adapter is missing.
        ResourceError: The disk is full or cannot be written.
    """
    folder = Path(path)
    check_project_path(folder)
    _check_names(request)
    with staged(folder) as staging:
        content = {**describe(request), "clip": _save_clip(request.clip, staging, request.size)}
        if overlapping:
            write_regions(overlapping, staging / "masks")
        elif request.labels is not None:
            write_labels(
                request.labels, staging / "masks", {r.label: r.color for r in request.regions}
            )
        if request.adapter:
            shutil.copyfile(find_adapter(request.adapter), staging / _ADAPTER)
            content["adapter"] = _ADAPTER
        _save_pictures(request, content, staging)
        text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
        (staging / FILE).write_text(text + "\n", encoding="utf-8")


def describe(request: EditRequest) -> dict[str, Any]:
    """The content of project.json for a request; the clip's path is its name."""
    values = {
        "version": 1,
        "clip": _describe_clip(request.clip, request.clip.name, request.size),
        "regions": [
            asdict(region) | {"picture": Path(region.picture).name} for region in request.regions
        ],
        "picture": Path(request.picture).name or None,
        "picture_adapter": request.picture_adapter or None,
        "masks": None if request.labels is None else "masks",
        "more_prompts": list(request.more_prompts) or None,
        "loras": list(request.loras) or None,
        "motion": request.motion or None,
        "adapter": Path(request.adapter).name or None,
        **{key: getattr(request, key) for key in _SHARED},
    }
    return {key: values[key] for key in Project.model_fields if values[key] is not None}


def check_project_path(folder: Path) -> None:
    """Refuse a path that is not free, an empty folder or a project by a RequestError about `--out`."""
    if os.path.isfile(folder):  # unlike Path.is_file, does not raise for a name that is too long
        raise RequestError("--out", f"{folder.name!r} is a file. Choose a folder.")
    check_writable(folder)
    if folder.is_dir() and any(folder.iterdir()) and not (folder / FILE).is_file():
        advice = "Choose a new or empty folder, or a project."
        raise RequestError("--out", f"{folder.name!r} contains other files. {advice}")


_SHARED = {
    "source_prompt",
    "prompt",
    "negative_prompt",
    "method",
    "params",
    "model",
    "seed",
    "picture_scale",
}


def _folder(path: str | Path) -> Path:
    return Path(path).parent if Path(path).name == FILE else find_project(path)


def _parse(file: Path) -> Project:
    advice = f"Choose a project folder, or make one with `{program()} new`."
    missing = f"{shorten(file.parent.name)} has no {FILE}. {advice}"
    with boundary("project", missing):
        if not file.is_file():
            raise RequestError("project", missing)
        size = file.stat().st_size
    if size > _MAX_BYTES:
        reason = f"The file has {size / 1e6:.1f} MB, but a project has at most 1 MB"
        raise RequestError(FILE, f"{reason}. Choose another file.")
    with boundary(FILE, "The file is not valid JSON in UTF-8. Correct it."):
        text = file.read_text(encoding="utf-8-sig")
        try:
            content = json.loads(
                text, parse_constant=_refuse_constant, object_pairs_hook=_unique_keys
            )
        except json.JSONDecodeError as error:
            raise RequestError(FILE, f"The file is not valid JSON ({error}). Correct it.") from None
    _check_texts(content)
    try:
        return Project.model_validate(content)
    except ValidationError as error:
        raise from_validation(error, Project) from None


def _refuse_constant(name: str) -> None:
    raise RequestError(FILE, f"Expected finite numbers, got {name}.")


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        counts = Counter(key for key, _ in pairs)
        twice = next(key for key, count in counts.items() if count > 1)
        raise RequestError(FILE, f"Key {shorten(twice)} is given twice. Remove one.")
    return result


def _check_texts(content: object, place: str = "") -> None:
    """Refuse texts that cannot be written: half of a pair of characters, or a null."""
    if isinstance(content, str) and any(c == "\0" or "\ud800" <= c <= "\udfff" for c in content):
        message = "The text has characters that cannot be used. Type it again."
        raise RequestError(place.strip(".") or FILE, message)
    parts = dict(enumerate(content)) if isinstance(content, list) else content
    for key, part in parts.items() if isinstance(parts, dict) else ():
        _check_texts(key, place)
        _check_texts(part, f"{place}.{key}")


def _check_names(asked: Project | EditRequest, control: object = "") -> None:
    """A project may come from anyone, so it may name models but not paths on this machine."""
    names, motion, seeing = (
        "a hub id or a name in $REGRAIN_MODELS",
        asked.motion,
        asked.picture_adapter,
    )
    if not is_name(asked.model):
        message = f"A project may name storybook, {names}, not {shorten(asked.model)}"
        raise RequestError("model", f"{message}. Use --model for a path.")
    given = [("loras", "--lora", text, parse_lora(text).model) for text in asked.loras]
    if motion:
        given.append(("motion", "--motion", motion, parse_lora(motion, "motion", 0.0).model))
    if seeing:  # of a hub's repository one file
        parts = seeing.split("/")
        name = "/".join(parts[:2]) if all(is_name(part) for part in parts) else seeing
        given.append(("picture_adapter", "--picture-adapter", seeing, name))
    with suppress(ValueError):  # what cannot be read is refused later, with the parameters
        given += [
            ("params.control", "--set", spec.model, spec.model) for spec in read_control(control)
        ]
    for field, option, text, name in given:
        if not is_name(name):
            message = f"A project may name {names}, not {shorten(text)}"
            raise ModelError(field, f"{message}. Use {option} for a path.")


def _masks_path(folder: Path, project: Project) -> Path | None:
    return None if project.masks is None else _inside(folder, project.masks, "masks")


def _read_adapter(folder: Path, given: str) -> str:
    """The path of an adapter in the project folder, or the name of one in $REGRAIN_MODELS."""
    if not given or (is_name(given) and not os.path.lexists(folder / given)):
        return given
    return str(_inside(folder, given, "adapter"))


def _read_picture(folder: Path, given: str, field: str) -> str:
    """The path of a picture in the project folder; empty without one."""
    return str(_inside(folder, given, field)) if given else ""


def _save_pictures(request: EditRequest, content: dict[str, Any], folder: Path) -> None:
    """Copy the pictures of a request into its folder, and name them in the content of project.json."""
    for asked in request.pictures:
        read_picture(asked.path, asked.field)
        name = f"picture_{asked.label}{asked.path.suffix.lower()}"
        shutil.copyfile(asked.path, folder / name)
        kept = next((r for r in content["regions"] if r["label"] == asked.label), content)
        kept["picture"] = name


def is_name(model: str) -> bool:
    """Whether a text is the name of a model, local or on the hub, and not a path."""
    return (
        len(model) <= _MAX_NAME
        and bool(re.fullmatch(r"[\w.-]+(/[\w.-]+)?", model))
        and not {".", ".."} & set(model.split("/"))
    )


def _inside(folder: Path, given: str, field: str) -> Path:
    """Resolve a path of project.json; neither it nor any link below it may lead out of the folder."""
    is_absolute = (
        PurePosixPath(given).is_absolute() or PureWindowsPath(given).drive or "://" in given
    )
    leads_up = ".." in re.split(r"[\\/]", given)
    if not given.strip() or is_absolute or leads_up or "\0" in given or len(given) > _MAX_PATH:
        raise RequestError(
            field, f"Expected a relative path inside the project folder, got {shorten(given)}."
        )
    root, path = folder.resolve(), folder / given
    if not os.path.lexists(path):  # unlike Path.exists, quiet about impossible names
        raise RequestError(field, f"{shorten(given)} is missing from the project folder. Add it.")
    with boundary(
        field, f"{shorten(given)} cannot be opened. Copy the files into the project folder."
    ):
        entries = path.rglob("*") if path.is_dir() else ()
        for entry in (path, *entries):
            if not entry.resolve().is_relative_to(root):
                reason = f"{shorten(entry.name)} leads out of the project folder"
                raise RequestError(field, f"{reason}. Copy the file into it.")
    return path


def _save_clip(clip: Clip, folder: Path, size: int | None) -> dict[str, Any]:
    """Copy or write the frames into the folder; return the value of the key `clip`."""
    if isinstance(clip, VideoClip):
        target = folder / f"clip{clip.path.suffix.lower()}"
        shutil.copyfile(clip.path, target)
    elif isinstance(clip, ImageClip):
        target = folder / "clip"
        target.mkdir()
        for file in clip.folder_files:
            shutil.copyfile(file, target / file.name)
    else:
        target = folder / "clip.mkv"
        write_lossless(target, clip)
    return _describe_clip(clip, target.name, size)


def _describe_clip(clip: Clip, path: str, size: int | None) -> dict[str, Any]:
    # A clip in memory has neither; all its frames are used.
    start, stride = getattr(clip, "start", 0), getattr(clip, "stride", 1)
    result = {"path": path, "start": start, "stride": stride, "frames": len(clip)}
    return result if size is None else result | {"size": size}
