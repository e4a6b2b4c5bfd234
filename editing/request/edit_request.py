"""The request of an edit: frozen values, checked once, without a model."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any, cast

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from regrain.editing.errors import MaskError, RequestError, shorten, suggest
from regrain.editing.media.clip import Clip
from regrain.editing.media.labels import Labels, fade_inwards, grow_labels
from regrain.editing.media.lazy_frames import FrameSource, LazyFrames
from regrain.editing.models.files.location import PictureSpec, parse_lora
from regrain.editing.params.registry import check_params
from regrain.editing.request.compose import Composed, compose, compose_negatives
from regrain.editing.request.region import (
    MAX_SCALE,
    TEXTS,
    Region,
    check_picture,
    clean,
    is_whole,
    require,
)

MAX_SEED = 2**63 - 1
MIN_SIZE, MAX_SIZE = 64, 4096
_LARGE, _MOST_TIMES = (
    512,
    8,
)  # a working size above this is at most so many times the clip's short side
MAX_PROMPTS = 8
MAX_LORAS = 8


@dataclass(frozen=True, eq=False)
class EditRequest:
    """One edit, complete, and checked as far as possible without the model.

    Attributes:
        clip: The frames.
        labels: Region of each source pixel, 0 = background, as an array or a source read by window; kept as
            `Labels`. None without regions.
        regions: In list order, labels and names unique.
        source_prompt: What the clip shows.
        prompt: What it should show; if empty, it is composed from the regions.
        negative_prompt: What it should not show.
        method: A key of `editing.params.registry.METHODS`.
        params: The given parameters only; the rest is decided when the run starts.
        model: Id of the backbone.
        seed: 0..2**63 - 1.
        size: Working size of the short side, 64..4096 pixels; above 512, at most 8 times that of the clip.
            None takes the model's.
        more_prompts: Prompts of further edits of the same clip in the same run.
        loras: LoRA files added to the backbone's weights, `FILE@WEIGHT`.
        adapter: An adapter tuned on the clip, a path or a name in $REGRAIN_MODELS; see `models.adapters`.
        picture: A picture of what the whole frame should become, the path of a file.
        picture_scale: How much it counts, as a region's.
        picture_adapter: What lets the model see pictures; see `models.pictures`.
        motion: A motion adapter, `NAME@SCALE`, the scale 0..4; see `models.motion_modules`.

    Raises:
        MaskError: Labels have the wrong shape or a value without a region, or a region has no pixel.
        RequestError: Another value is not allowed.
    """

    clip: Clip
    labels: UInt8[np.ndarray | LazyFrames, "frames height width"] | FrameSource | None
    regions: tuple[Region, ...]
    source_prompt: str = ""
    prompt: str = ""
    negative_prompt: str = ""
    method: str = "videograin"
    params: Mapping[str, object] = field(default_factory=dict)
    model: str = "storybook"
    seed: int = 0
    size: int | None = None
    more_prompts: tuple[str, ...] = ()
    loras: tuple[str, ...] = ()
    adapter: str = ""
    motion: str = ""
    picture: str = ""
    picture_scale: float | None = None
    picture_adapter: str = ""

    def __post_init__(self) -> None:
        for key in ("source_prompt", "prompt", "negative_prompt"):
            self._set(key, clean(key, getattr(self, key)))
        self._set("regions", tuple(self.regions))
        for region in self.regions:
            for key in TEXTS:
                clean(f"regions.{region.name}.{key}", getattr(region, key))
        more = tuple(
            clean(f"more_prompts.{i}", prompt) for i, prompt in enumerate(self.more_prompts)
        )
        self._set("more_prompts", more)
        self._set("loras", tuple(self.loras))
        self._check_values()
        self._set("params", dict(self.params))
        self._check_regions()
        if self.labels is not None:
            self._set(
                "labels", self.labels if isinstance(self.labels, Labels) else Labels(self.labels)
            )
        self._check_labels()

    def _set(self, key: str, value: object) -> None:
        object.__setattr__(self, key, value)

    @cached_property
    def composed(self) -> Composed:
        """The prompt a run uses; see `compose`."""
        return compose(self.source_prompt, self.prompt, self.regions)

    @property
    def targets(self) -> tuple[str, ...]:
        """The prompt of every edit of the run: `composed`, then those of `more_prompts`."""
        prompts = (self.prompt, *self.more_prompts)
        return tuple(compose(self.source_prompt, prompt, self.regions).text for prompt in prompts)

    @property
    def negatives(self) -> str:
        """The negative prompt and those of the regions, joined by commas."""
        return compose_negatives(self.negative_prompt, self.regions)[0]

    def texts(self) -> Iterator[tuple[str, str]]:
        """Every field with a prompt, and its text."""
        for key in ("source_prompt", "prompt", "negative_prompt"):
            yield key, getattr(self, key)
        for prompt in self.more_prompts:
            yield "more_prompts", prompt
        for region in self.regions:
            for key in TEXTS:
                yield f"regions.{region.name}.{key}", getattr(region, key)

    @property
    def edited(self) -> tuple[Region, ...]:
        """The regions that have a prompt or a picture."""
        return tuple(region for region in self.regions if region.prompt.strip() or region.picture)

    @property
    def pictures(self) -> Iterator[PictureSpec]:
        """The pictures, in the order of the regions, the whole frame's first."""
        if self.picture:
            yield PictureSpec("", 0, Path(self.picture), self.picture_scale, "picture")
        for region in self.regions:
            if region.picture:
                field = f"regions.{region.name}.picture"
                yield PictureSpec(
                    region.name, region.label, Path(region.picture), region.picture_scale, field
                )

    @property
    def areas(self) -> UInt8[LazyFrames, "frames height width"]:
        """`labels` with every edited region grown by its margin: where each edit may reach."""
        size, labels = self.clip.size[::-1], cast(Labels | None, self.labels)
        margins = {region.label: region.effective_margin(size) for region in self.edited}

        def read(start: int, stop: int) -> UInt8[np.ndarray, "frames height width"]:
            if labels is None:
                return np.zeros((stop - start, *size), np.uint8)
            return grow_labels(labels.read(start, stop), margins)

        return LazyFrames((len(self.clip), *size), np.uint8, read)

    @property
    def edited_mask(self) -> Bool[LazyFrames, "frames height width"]:
        """The union of the edited regions' areas, True inside; the whole frame if no region is edited."""
        areas, edited = self.areas, [region.label for region in self.edited]

        def read(start: int, stop: int) -> Bool[np.ndarray, "frames height width"]:
            if not edited:
                return np.ones((stop - start, *areas.shape[1:]), bool)
            return np.isin(areas.read(start, stop), edited)

        return LazyFrames(areas.shape, bool, read)

    @property
    def opacity(self) -> Float32[LazyFrames, "frames height width"] | None:
        """How much of the edit is shown inside its area, 0..1; None where no edited region is feathered."""
        areas, edited = self.areas, [region.label for region in self.edited]
        feathers = {region.label: region.feather for region in self.edited if region.feather}

        def read(start: int, stop: int) -> Float32[np.ndarray, "frames height width"]:
            return fade_inwards(areas.read(start, stop), feathers, edited)

        return LazyFrames(areas.shape, np.float32, read) if feathers else None

    def _check_values(self) -> None:
        in_range = len(self.more_prompts) < MAX_PROMPTS and all(
            text.strip() for text in self.more_prompts
        )
        most = min(MAX_SIZE, max(_LARGE, _MOST_TIMES * min(self.clip.size)))
        sizes = f"a whole number of pixels from {MIN_SIZE} to {most} for this clip, or nothing"
        has_size = self.size is None or is_whole(self.size, MIN_SIZE, most)
        for key, holds, expected in (
            ("more_prompts", in_range, f"at most {MAX_PROMPTS - 1} prompts, none of them empty"),
            ("loras", len(self.loras) <= MAX_LORAS, f"at most {MAX_LORAS} files"),
            ("model", self.model.strip() != "", "the id of a model"),
            ("seed", is_whole(self.seed, 0, MAX_SEED), f"a whole number from 0 to {MAX_SEED}"),
            ("size", has_size, sizes),
            ("adapter", isinstance(self.adapter, str), "a path or a name"),
            ("motion", isinstance(self.motion, str), "NAME@SCALE"),
            ("picture_adapter", isinstance(self.picture_adapter, str), "a path or a name"),
        ):
            require(key, getattr(self, key), holds, expected)
        check_picture("", self.picture, self.picture_scale)
        if self.motion:
            parse_lora(self.motion, "motion", 0.0)
        check_params(self.method, self.params)

    def _check_regions(self) -> None:
        for key in ("label", "name"):
            # Names become file names, which some systems compare without case.
            values = [str(getattr(region, key)).casefold() for region in self.regions]
            for index, value in enumerate(values):
                if value in values[:index]:
                    shown = shorten(getattr(self.regions[index], key))
                    message = f"{shown} is used twice. Give each region its own."
                    raise RequestError(f"regions.{index}.{key}", message)
        for region, key in product(self.regions, ("drawn", "clicked")):
            if beyond := [frame for frame in getattr(region, key) if frame >= len(self.clip)]:
                message = (
                    f"Frame {beyond[0]} is outside the clip. Choose from 0 to {len(self.clip) - 1}."
                )
                raise RequestError(f"regions.{region.name}.{key}", message)

    def _check_labels(self) -> None:
        labels, (width, height) = self.labels, self.clip.size
        if not isinstance(labels, Labels):
            if self.regions:
                raise MaskError("masks", "Regions need masks. Add masks or remove the regions.")
            return
        expected = (len(self.clip), height, width)
        if labels.shape != expected:
            raise MaskError("masks", f"Expected labels of shape {expected}, got {labels.shape}.")
        known = {region.label: region for region in self.regions}
        if unlisted := sorted(labels.present - set(known)):
            advice = "Add a region or erase the label."
            raise MaskError(
                "masks", f"No region has label {unlisted[0]}, but the masks do. {advice}"
            )
        if empty := sorted(set(known) - labels.present):
            region = f"Region {known[empty[0]].name!r} (label {empty[0]})"
            raise MaskError("masks", f"{region} is empty in every frame. Draw it.")


def override(
    request: EditRequest,
    *,
    method: str | None = None,
    params: Mapping[str, object] | None = None,
    prompts: Sequence[str] = (),
    pictures: Sequence[str] = (),
    **values: Any,
) -> tuple[EditRequest, list[str]]:
    """Replace values of a request, and return it with notes for the report.

    Args:
        request: To be changed; a value that it does not allow is a RequestError.
        method: Another method; the request's parameters then go, since they are of its own method.
        params: Parameters; the others stay.
        prompts: The prompt, and those of further edits.
        pictures: `NAME=FILE@SCALE` of a region, or `FILE@SCALE`; the scale may be left out.
        values: Other fields by name, lists for tuples; None keeps a field.
    """
    notes = []
    if method is not None and method != request.method:
        if request.params:
            dropped = ", ".join(sorted(request.params))
            notes.append(
                f"--method {method} dropped the project's params for {request.method}: {dropped}."
            )
        request = replace(request, method=method, params={})
    values = {
        key: tuple(value) if isinstance(value, list) else value for key, value in values.items()
    }
    given = {key: value for key, value in values.items() if value is not None}
    if prompts:
        given |= {"prompt": prompts[0], "more_prompts": tuple(prompts[1:])}
    for text in pictures:
        request = _pictured(request, text)
    return replace(request, params={**request.params, **(params or {})}, **given), notes


def _pictured(request: EditRequest, text: str) -> EditRequest:
    """The request with a picture, written as in `override`."""
    match = re.fullmatch(r"(?:([^=]+)=)?([^@]+?)(?:@(\d{0,3}\.?\d{1,20}))?", text.strip(), re.ASCII)
    expected = f"NAME=FILE@SCALE or FILE@SCALE, the scale from 0 to {MAX_SCALE}"
    require("--picture", text, match is not None, expected)
    name, file, scale = cast(re.Match[str], match).groups()
    picture = {"picture": file, "picture_scale": None if scale is None else float(scale)}
    if name is None:
        return replace(request, **picture)
    names = [region.name for region in request.regions]
    if name not in names:
        raise RequestError(
            "--picture", f"No region is named {shorten(name)}. {suggest(name, names)}"
        )
    regions = tuple(replace(r, **picture) if r.name == name else r for r in request.regions)
    return replace(request, regions=regions)
