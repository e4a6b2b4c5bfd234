"""The project folder: project.json, the clip and the masks. Only this module reads and
writes it."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np
from pydantic import Field, ValidationError

from regrain.editing.boundary import AnyPath, boundary, given_path
from regrain.editing.errors import ModelError, RequestError, from_validation, shorten
from regrain.editing.media.clip import Clip
from regrain.editing.media.images import ImageClip, read_picture
from regrain.editing.media.labels import Labels
from regrain.editing.media.lazy_frames import LazyFrames
from regrain.editing.media.mask_files import read_labels, write_labels, write_regions
from regrain.editing.media.reading import VideoClip, open_clip
from regrain.editing.media.writing import write_lossless
from regrain.editing.models.adapters import find_adapter
from regrain.editing.models.files.location import parse_lora
from regrain.editing.params.registry import METHODS
from regrain.editing.params.written import read_control
from regrain.editing.request.edit import Edit
from regrain.editing.request.edit_request import Draft, EditRequest
from regrain.editing.request.fields import (
    Strict,
    declared,
    from_json,
    model_of,
    to_json,
)
from regrain.editing.request.region import Region
from regrain.editing.storage.folders import (
    check_folder,
    replacing,
    staged,
    stored,
    visible,
)
from regrain.editing.storage.local_models import find_project
from regrain.editing.storage.packages import program
from regrain.editing.storage.texts import Json

FILE = "project.json"
_ADAPTER = "adapter.safetensors"
_MAX_BYTES = 1_000_000
_MAX_NAME = 200  # characters of a model's name
_MAX_PATH = 1000
# Fields of an edit that stand among the keys of `clip`, and that stand before the
# regions.
_OF_CLIP = ("size",)
_WORDS = ("source_prompt", "prompt", "more_prompts", "negative_prompt")
_SETTINGS = tuple(name for name in declared(Edit) if name not in (*_WORDS, *_OF_CLIP))


Put = Callable[[Path, Path], object]
"""Copies a file to a place, or links it there."""


class ProjectClip(Strict):
    """The key `clip`."""

    path: str = Field(
        description="Video file or folder of images, inside the project folder."
    )
    start: int = Field(0, description="First frame used.", ge=0)
    stride: int = Field(1, description="Use every stride-th frame.", ge=1)
    frames: int | None = Field(
        None, description="Number of frames used; all by default.", ge=1
    )
    deinterlace: bool = Field(
        False, description="Make whole frames of those that are woven of two fields."
    )
    size: int | None = declared(Edit)["size"].info


class ProjectRegion(model_of(Region, "Region", declared(Region))):
    """One entry of the key `regions`."""


class _Beginning(Strict):
    version: int = Field(ge=1, le=1, description="Version of this format.")
    clip: ProjectClip


class _Regions(model_of(Edit, "Words", _WORDS, _Beginning)):
    regions: list[ProjectRegion] = Field(
        [], description="Regions; where masks overlap, the earlier covers the later."
    )
    masks: str | None = Field(
        None, description="Folder of masks inside the project folder."
    )


class Project(model_of(Edit, "Settings", _SETTINGS, _Regions)):
    """project.json, version 1."""

    def edit(self) -> Edit:
        """Return what it asks for, with paths as they are written."""
        return Edit(**from_json(self, Edit), size=self.clip.size)


def schema() -> Json:
    """Return the JSON schema of project.json; `params` lists those of every method."""
    result = Project.model_json_schema()
    result["properties"]["params"]["anyOf"] = [
        method.Params.model_json_schema() for method in METHODS.values()
    ]
    return result


def load_project(
    path: AnyPath, check_clip: Callable[[Clip], None] | None = None
) -> EditRequest:
    """Read and check a project folder; needs no model and loads no torch.

    Args:
        path: The folder, or the project.json in it.
        check_clip: Called before masks are read; may raise to refuse the clip.

    Raises:
        RequestError: A value is not allowed; the field is the dotted key.
        ModelError: A LoRA or a control network is a path; a project may come from
            anyone.
    """
    folder = _folder(path)
    project = _parse(folder / FILE)
    edit = project.edit()
    _check_names(edit, edit.params.get("control", ""))
    part = project.clip
    clip_path = _inside(folder, part.path, "clip.path")
    masks_path = _masks_path(folder, project)
    clip = open_clip(
        clip_path,
        part.start,
        part.stride,
        part.frames,
        deinterlace=part.deinterlace,
    )
    if check_clip:
        check_clip(clip)
    regions = []
    for region in project.regions:
        values = from_json(region, Region)
        values["picture"] = _read_picture(
            folder, values["picture"], f"regions.{values['name']}.picture"
        )
        regions.append(Region(**values))
    labels = None
    if masks_path:
        colors = {region.label: region.color for region in regions}
        labels = read_labels(
            masks_path,
            len(clip),
            clip.size,
            [*colors],
            colors=colors,
            beside=clip.names,
        )
    found: Json = {
        "picture": _read_picture(folder, edit.picture, "picture"),
        "adapter": _read_adapter(folder, edit.adapter),
    }
    return EditRequest(clip, labels, tuple(regions), **vars(edit) | found)


def uses(path: AnyPath) -> list[Path]:
    """Return unchecked paths of a project's clip, masks, adapter and pictures; see
    `load_project`."""
    folder = _folder(path)
    project = _parse(folder / FILE)
    edit = project.edit()
    names = [project.clip.path, project.masks, edit.adapter, edit.picture]
    names += [from_json(region, Region)["picture"] for region in project.regions]
    return [stored(folder, name) for name in names if name]


def overlapping_masks(path: AnyPath) -> Path | None:
    """Return the folder of a project's masks if it has one per region, so that masks
    may overlap."""
    folder = _masks_path(Path(path), _parse(Path(path) / FILE))
    if folder and folder.is_dir() and any(entry.is_dir() for entry in visible(folder)):
        return folder
    return None


def save_project(
    request: EditRequest,
    path: AnyPath,
    overlapping: Mapping[int, np.ndarray | LazyFrames] | None = None,
) -> None:
    """Write a request as a project folder that `load_project` reads back to the same
    frames and values.

    A clip from a file or folder is copied whole; one in memory is written without loss.
    An existing project is replaced; other files in its folder stay.

    Args:
        request: The request.
        path: Folder to make.
        overlapping: Masks by label, bool [frames, height, width], to write instead of
            the request's labels, which are these flattened.
    Raises:
        RequestError: `path` contains something that is not a project.
        ModelError: The adapter is missing.
        ResourceError: The disk is full or cannot be written.
    """
    folder = given_path(path, "project")
    check_project_path(folder)
    _check_names(request)
    for picture in request.pictures:
        read_picture(picture.path, picture.field)
    if request.adapter:
        adapter = find_adapter(request.adapter).absolute()
        request = replace(request, adapter=str(adapter))
    with staged(folder) as staging:
        if overlapping:
            write_regions(overlapping, staging / "masks")
        elif isinstance(request.labels, Labels):
            colors = {region.label: region.color for region in request.regions}
            write_labels(request.labels, staging / "masks", colors)
        write_project(request, staging, shutil.copyfile)


def write_project(
    draft: Draft,
    folder: Path,
    put: Put,
    masks: str = "masks",
) -> None:
    """Write project.json and the files that it names, but for masks, into a folder.

    Files that are in the folder already are named where they are.

    Args:
        draft: The request, which may be unfinished.
        folder: The folder, in which the other files stay.
        put: Copies a file to a place in the folder, or links it there.
        masks: Name of the masks in the folder, if it has any.
    """
    text = put_files(draft, folder, put, masks)
    with replacing(folder / FILE) as part:
        part.write_text(text, encoding="utf-8")


def put_files(draft: Draft, folder: Path, put: Put, masks: str) -> str:
    """Bring the files that a project names, but for masks, into its folder; returns
    the text of its project.json. As `write_project`."""
    content = describe(draft, masks)
    content["clip"] = put_clip(draft, folder, put)
    if draft.adapter and not is_name(draft.adapter):
        content["adapter"] = _put(Path(draft.adapter), folder, _ADAPTER, put)
    regions = {region["label"]: region for region in content["regions"]}
    for asked in draft.pictures:
        place = _put(
            asked.path, folder, f"picture_{asked.label}{asked.path.suffix.lower()}", put
        )
        regions.get(asked.label, content)["picture"] = place
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
    return f"{text}\n"


def _put(file: Path, folder: Path, name: str, put: Put) -> str:
    """Bring a file into the folder unless it is there; returns its place in it."""
    if file.is_relative_to(folder):
        return file.relative_to(folder).as_posix()
    put(file, folder / name)
    return name


def put_clip(draft: Draft, folder: Path, put: Put) -> Json:
    """Bring the frames of a clip into a folder, and return the value of the key
    `clip`; see `write_project`."""
    clip = draft.clip
    target = folder / "clip.mkv"
    if isinstance(clip, VideoClip):
        target = folder / f"clip{clip.path.suffix.lower()}"
        put(clip.path, target)
    elif isinstance(clip, ImageClip):
        target = folder / "clip"
        target.mkdir(exist_ok=True)
        for file in clip.folder_files:
            put(file, target / file.name)
    elif not target.exists():
        with replacing(target) as part:
            write_lossless(part, clip)
    return _describe_clip(draft, target.name)


def describe(draft: Draft, masks: str = "masks") -> Json:
    """Return the content of project.json for a request; files, such as the clip, by
    their names."""
    content = {
        **to_json(draft, Edit),
        "version": 1,
        "clip": _describe_clip(draft, draft.clip.name),
        "regions": [to_json(region, Region) for region in draft.regions],
    }
    if draft.labels is not None:
        content["masks"] = masks
    return {key: content[key] for key in Project.model_fields if key in content}


def check_project_path(folder: Path) -> None:
    """Refuse a path that is not free, an empty folder or a project by a RequestError
    about `--out`."""
    check_folder(folder)
    if folder.is_dir() and visible(folder) and not (folder / FILE).is_file():
        raise RequestError(
            "--out",
            f"{shorten(folder.name)} contains other files. Choose a new or empty "
            "folder, or a project.",
        )


def _folder(path: AnyPath) -> Path:
    folder = given_path(path, "project")
    return folder.parent if folder.name == FILE else find_project(folder)


def _parse(file: Path) -> Project:
    missing = (
        f"{shorten(file.parent.name)} has no {FILE}. Choose a project folder, "
        f"or make one with `{program()} new`."
    )
    with boundary("project", missing):
        if not file.is_file():
            raise RequestError("project", missing)
        size = file.stat().st_size
    if size > _MAX_BYTES:
        raise RequestError(
            FILE,
            f"The file has {size / 1e6:.1f} MB, but a project has at most 1 MB. "
            "Choose another file.",
        )
    with boundary(FILE, "The file is not valid JSON in UTF-8. Correct it."):
        text = file.read_text(encoding="utf-8-sig")
        try:
            content = json.loads(
                text, parse_constant=_refuse_constant, object_pairs_hook=_unique_keys
            )
        except json.JSONDecodeError as error:
            raise RequestError(
                FILE, f"The file is not valid JSON ({error}). Correct it."
            ) from None
    _check_texts(content)
    try:
        return Project.model_validate(content)
    except ValidationError as error:
        raise from_validation(error, Project) from None


def _refuse_constant(name: str) -> None:
    raise RequestError(FILE, f"Expected finite numbers, got {name}.")


def _unique_keys(pairs: list[tuple[str, Any]]) -> Json:
    result = dict(pairs)
    if len(result) < len(pairs):
        counts = Counter(key for key, _ in pairs)
        twice = next(key for key, count in counts.items() if count > 1)
        raise RequestError(FILE, f"Key {shorten(twice)} is given twice. Remove one.")
    return result


def _check_texts(content: object, place: str = "") -> None:
    """Refuse texts that cannot be written: half of a pair of characters, or a null."""
    if isinstance(content, str):
        if any(c == "\0" or "\ud800" <= c <= "\udfff" for c in content):
            raise RequestError(
                place.strip(".") or FILE,
                "The text has characters that cannot be used. Type it again.",
            )
    elif isinstance(content, dict):
        for key, part in content.items():
            _check_texts(key, place)
            _check_texts(part, f"{place}.{key}")
    elif isinstance(content, list):
        for number, part in enumerate(content):
            _check_texts(part, f"{place}.{number}")


def _check_names(asked: Edit, control: object = "") -> None:
    """Refuse paths on this machine: a project may come from anyone, and so may only
    name models."""
    allowed = "a hub id or a name in $REGRAIN_MODELS"
    if not is_name(asked.model):
        raise RequestError(
            "model",
            f"A project may name storybook, {allowed}, not "
            f"{shorten(asked.model)}. Use --model for a path.",
        )
    for field, option, text, name in _names(asked, control):
        if not is_name(name):
            raise ModelError(
                field,
                f"A project may name {allowed}, not {shorten(text)}. Use "
                f"{option} for a path.",
            )


def _names(asked: Edit, control: object) -> Iterator[tuple[str, str, str, str]]:
    """Yield what a project names beside its model: the field, what replaces it, the
    text and the name in it."""
    for text in asked.loras:
        yield "loras", "--lora", text, parse_lora(text).model
    if asked.motion:
        name = parse_lora(asked.motion, "motion", 0.0).model
        yield "motion", "--motion", asked.motion, name
    if asked.picture_adapter:
        name = asked.picture_adapter
        parts = name.split("/")
        if all(is_name(part) for part in parts):
            name = "/".join(parts[:2])  # without the file in a hub's repository
        yield "picture_adapter", "--picture-adapter", asked.picture_adapter, name
    if asked.reader:
        yield "reader", "--reader", asked.reader, asked.reader
    # what cannot be read is refused later, with the parameters
    with suppress(ValueError):
        for spec in read_control(control):
            yield "params.control", "--set", spec.model, spec.model


def _masks_path(folder: Path, project: Project) -> Path | None:
    return None if project.masks is None else _inside(folder, project.masks, "masks")


def _read_adapter(folder: Path, given: str) -> str:
    """Return the path of an adapter in the project folder, or the name of one in
    $REGRAIN_MODELS."""
    if not given or (is_name(given) and not os.path.lexists(folder / given)):
        return given
    return str(_inside(folder, given, "adapter"))


def _read_picture(folder: Path, given: str, field: str) -> str:
    """Return the path of a picture in the project folder; empty without one."""
    return str(_inside(folder, given, field)) if given else ""


def is_name(model: str) -> bool:
    """Tell whether a text is the name of a model, local or on the hub, and not a
    path."""
    if len(model) > _MAX_NAME or not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", model):
        return False
    return not {".", ".."} & set(model.split("/"))


def _inside(folder: Path, given: str, field: str) -> Path:
    """Resolve a path of project.json; neither it nor any link below it may lead out of
    the folder."""
    if not is_relative(given):
        raise RequestError(
            field,
            f"Expected a relative path inside the project folder, got {shorten(given)}.",
        )
    root = folder.resolve()
    path = stored(folder, given)
    if not os.path.lexists(path):  # unlike Path.exists, quiet about impossible names
        raise RequestError(
            field, f"{shorten(given)} is missing from the project folder. Add it."
        )
    closed = (
        f"{shorten(given)} cannot be opened. Copy the files into the project folder."
    )
    with boundary(field, closed):
        entries = path.rglob("*") if path.is_dir() else ()
        for entry in (path, *entries):
            if not entry.resolve().is_relative_to(root):
                raise RequestError(
                    field,
                    f"{shorten(entry.name)} leads out of the project folder. Copy the "
                    "file into it.",
                )
    return path


def is_relative(path: str) -> bool:
    """Tell whether a path, of any system, is relative and has no `..`."""
    if not path.strip() or "\0" in path or len(path) > _MAX_PATH:
        return False
    if (
        PurePosixPath(path).is_absolute()
        or PureWindowsPath(path).drive
        or "://" in path
    ):
        return False
    return ".." not in re.split(r"[\\/]", path)


def _describe_clip(draft: Draft, path: str) -> Json:
    clip = draft.clip
    described: Json = {"path": path, "start": 0, "stride": 1}
    if isinstance(clip, VideoClip | ImageClip):
        described |= {"start": clip.start, "stride": clip.stride}
    described["frames"] = len(clip)
    if isinstance(clip, VideoClip) and clip.deinterlace:
        described["deinterlace"] = True
    if draft.size is not None:
        described["size"] = draft.size
    return described
