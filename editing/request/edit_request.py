"""The request of an edit: frozen values, checked once, without a model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import Any, cast

import numpy as np
from jaxtyping import Float32

from regrain.editing.errors import MaskError, RequestError, shorten, suggest
from regrain.editing.media.clip import Clip, check_inside
from regrain.editing.media.labels import Labels, fade_inwards, fill_labels, grow_labels
from regrain.editing.media.lazy_frames import (
    AnyLabels,
    FrameSource,
    LabelFrames,
    LazyFrames,
    LazyLabels,
    LazyMasks,
    Masks,
    Texts,
    few,
)
from regrain.editing.models.files.config_keys import PREDICTIONS
from regrain.editing.models.files.location import (
    PictureSpec,
    moving,
    parse_lora,
    suits,
)
from regrain.editing.params.base import MethodParams
from regrain.editing.params.registry import METHODS, check_params
from regrain.editing.params.written import split_weight
from regrain.editing.request.boxes import check_focus
from regrain.editing.request.compose import (
    Composed,
    compose,
    compose_negatives,
    describe,
)
from regrain.editing.request.edit import MAX_SIZE, MIN_SIZE, Edit
from regrain.editing.request.fields import check_declared, declared
from regrain.editing.request.region import (
    MAX_SCALE,
    TEXTS,
    Region,
    clean,
    cleaned,
    require,
)
from regrain.editing.storage.texts import Json, Values

# A working size above the first is at most so many times the clip's short side.
_LARGE, _MOST_TIMES = 512, 8
_KEPT = 16  # frames of which the areas are kept, if they are small


@dataclass(frozen=True, eq=False)
class Material:
    """A clip and its regions.

    Attributes:
        clip: The frames.
        labels: Region of each source pixel, 0 = background, as an array or a source
            read by window; kept as `Labels`. None without regions.
        regions: In list order, labels and names unique.
    """

    clip: Clip
    labels: AnyLabels | FrameSource | None
    regions: tuple[Region, ...]


@dataclass(frozen=True, eq=False)
class Draft(Edit, Material):  # the fields of `Material` come first
    """One edit as it is being written: nothing of it is checked."""

    @property
    def pictures(self) -> Iterator[PictureSpec]:
        """The pictures, in the order of the regions, the whole frame's first."""
        if self.picture:
            yield PictureSpec("", 0, Path(self.picture), self.picture_scale, "picture")
        for region in self.regions:
            if region.picture:
                field = f"regions.{region.name}.picture"
                path = Path(region.picture)
                yield PictureSpec(
                    region.name, region.label, path, region.picture_scale, field
                )


@dataclass(frozen=True, eq=False)
class EditRequest(Draft):
    """One edit, complete, and checked as far as possible without the model.

    Attributes:
        decided: Its parameters, with the method's defaults for those not given.

    Raises:
        MaskError: Labels have the wrong shape or a value without a region, or a region
            has no pixel.
        RequestError: Another value is not allowed.
    """

    decided: MethodParams = field(init=False, repr=False)

    def __post_init__(self) -> None:
        for key in ("regions", "loras", "more_prompts"):
            listed = getattr(self, key)
            require(key, listed, isinstance(listed, list | tuple), "a list")
            self._set(key, tuple(listed))
        self._clean_texts()
        self._check_values()
        self._set("params", dict(self.params))
        self._check_regions()
        if self.labels is not None and not isinstance(self.labels, Labels):
            self._set("labels", Labels(self.labels))
        self._check_labels()

    def _set(self, key: str, value: object) -> None:
        object.__setattr__(self, key, value)

    def _clean_texts(self) -> None:
        for key, text in cleaned(self, Edit).items():
            self._set(key, text)
        for region in self.regions:
            for key in TEXTS:
                clean(f"regions.{region.name}.{key}", getattr(region, key))
        more = enumerate(self.more_prompts)
        cleaned_more = (clean(f"more_prompts.{number}", text) for number, text in more)
        self._set("more_prompts", tuple(cleaned_more))

    @property
    def asked(self) -> Edit:
        """The plain fields of the request: it without clip, masks and regions."""
        return Edit(**{name: getattr(self, name) for name in declared(Edit)})

    @property
    def description(self) -> str:
        """The description of the clip, as a run takes it; see `describe`."""
        return describe(self.source_prompt, self.regions)

    @cached_property
    def composed(self) -> Composed:
        """The prompt a run uses; see `compose`."""
        return compose(self.source_prompt, self.prompt, self.regions)

    @property
    def targets(self) -> Texts:
        """The prompt of every edit of the run: `composed`, then those of
        `more_prompts`."""
        prompts = (self.prompt, *self.more_prompts)
        return tuple(
            compose(self.source_prompt, prompt, self.regions).text for prompt in prompts
        )

    @property
    def negatives(self) -> str:
        """The negative prompt and those of the regions, joined by commas."""
        return compose_negatives(self.negative_prompt, self.regions)[0]

    def texts(self) -> Iterator[tuple[str, str]]:
        """Yield every field with a prompt, and its text."""
        yield "source_prompt", self.source_prompt
        yield "prompt", self.prompt
        yield "negative_prompt", self.negative_prompt
        for prompt in self.more_prompts:
            yield "more_prompts", prompt
        for region in self.regions:
            for key in TEXTS:
                yield f"regions.{region.name}.{key}", getattr(region, key)

    @property
    def edited(self) -> tuple[Region, ...]:
        """The regions that have a prompt or a picture."""
        return tuple(
            region for region in self.regions if region.prompt.strip() or region.picture
        )

    @property
    def sees_by_itself(self) -> bool:
        """True if no picture adapter sees its pictures: its method does, or the clip
        begins with one."""
        return METHODS[self.method].sees_pictures or self.decided.begins_given

    @cached_property
    def areas(self) -> LazyLabels:
        """`labels` with every edited region grown by its margin, and as its method fills
        it: where each edit may reach."""
        width, height = self.clip.size
        labels = cast(Labels | None, self.labels)
        margins = {
            region.label: region.effective_margin(self.clip.size)
            for region in self.edited
        }

        @lru_cache(few(_KEPT, (height, width)))
        def one(frame: int) -> LabelFrames:
            if labels is None:
                return np.zeros((1, height, width), np.uint8)
            grown = grow_labels(labels.read(frame, frame + 1), margins)
            reach = self.decided.reach
            return grown if reach == "exact" else fill_labels(grown, margins, reach)

        none = np.zeros((0, height, width), np.uint8)

        def read(start: int, stop: int) -> LabelFrames:
            return np.concatenate([none, *map(one, range(start, stop))])

        return LazyFrames((len(self.clip), height, width), np.uint8, read)

    def __getstate__(self) -> Json:
        """Return what is pickled: all but the frames that were read."""
        return {name: value for name, value in vars(self).items() if name != "areas"}

    @property
    def edited_mask(self) -> LazyMasks:
        """The union of the edited regions' areas, True inside; the whole frame if no
        region is edited."""
        return self._edited_of(self.areas)

    @property
    def edited_inside(self) -> LazyMasks:
        """`edited_mask` without the margins."""
        labels = cast(Labels | None, self.labels)
        return self._edited_of(self.areas if labels is None else labels)

    def _edited_of(self, labels: LazyFrames) -> LazyMasks:
        edited = [region.label for region in self.edited]

        def inside(some: LabelFrames) -> Masks:
            if not edited:
                return np.ones(some.shape, bool)
            return np.logical_or.reduce([some == label for label in edited])

        return labels.changed(inside, bool)

    @property
    def opacity(self) -> Float32[LazyFrames, "frames height width"] | None:
        """How much of the edit is shown inside its area, 0..1; None where no edited
        region is feathered."""
        feathers = {one.label: one.feather for one in self.edited if one.feather}
        if not feathers:
            return None
        edited = [region.label for region in self.edited]
        fade = partial(fade_inwards, pixels=feathers, edited=edited)
        return self.areas.changed(fade, np.float32)

    def _check_values(self) -> None:
        check_declared(self, Edit)
        most = min(MAX_SIZE, max(_LARGE, _MOST_TIMES * min(self.clip.size)))
        require(
            "size",
            self.size,
            (self.size or 0) <= most,
            f"a whole number of pixels from {MIN_SIZE} to {most} for this clip, or nothing",
        )
        for key, holds in (
            ("more_prompts", all(text.strip() for text in self.more_prompts)),
            ("model", self.model.strip() != ""),
            ("prediction", self.prediction in ("", *PREDICTIONS)),
        ):
            require(
                key,
                getattr(self, key),
                holds,
                declared(Edit)[key].expected,
            )
        check_focus(self.focus, len(self.clip), self.clip.size)
        if self.motion:
            parse_lora(self.motion, "motion", 0.0)
        self._set("decided", check_params(self.method, self.params))

    def _check_regions(self) -> None:
        self._check_unique("label")
        self._check_unique("name")
        for region in self.regions:
            for key in ("drawn", "clicked"):
                field = f"regions.{region.name}.{key}"
                check_inside(field, getattr(region, key), len(self.clip))

    def _check_unique(self, key: str) -> None:
        seen = set()
        for index, region in enumerate(self.regions):
            given = getattr(region, key)
            # names of files, which some systems compare without case
            value = str(given).casefold()
            if value in seen:
                raise RequestError(
                    f"regions.{index}.{key}",
                    f"{shorten(given)} is used twice. Give each region its own.",
                )
            seen.add(value)

    @property
    def hidden(self) -> dict[int, str]:
        """What is said of regions that others hide, by their labels."""
        names = {region.label: region.name for region in self.regions}
        return self.labels.hidden(names) if isinstance(self.labels, Labels) else {}

    def _check_labels(self) -> None:
        labels = self.labels
        width, height = self.clip.size
        if not isinstance(labels, Labels):
            if self.regions:
                raise MaskError(
                    "masks", "Regions need masks. Add masks or remove the regions."
                )
            return
        expected = (len(self.clip), height, width)
        if labels.shape != expected:
            raise MaskError(
                "masks", f"Expected labels of shape {expected}, got {labels.shape}."
            )
        known = {region.label: region for region in self.regions}
        unlisted = sorted(labels.present - set(known))
        if unlisted:
            raise MaskError(
                "masks",
                f"No region has label {unlisted[0]}, but the masks do. Add a region "
                "or erase the label.",
            )
        empty = sorted(set(known) - labels.present)
        for label in empty:
            said = (
                f"Region {known[label].name!r} (label {label}) is empty in every frame. "
                "Draw it."
            )
            raise MaskError("masks", self.hidden.get(label, said))


def override(
    request: EditRequest,
    *,
    method: str | None = None,
    params: Values | None = None,
    prompts: Sequence[str] = (),
    pictures: Sequence[str] = (),
    **values: Any,
) -> tuple[EditRequest, list[str]]:
    """Replace values of a request, and return it with notes for the report.

    Another model takes off what belongs to the built-in one, its motion adapter and
    its LoRA, and the project's `prediction`.

    Args:
        request: To be changed; a value that it does not allow is a RequestError.
        method: Another method; the request's parameters then go, since they are of its
            own method.
        params: Parameters; the others stay.
        prompts: The prompt, and those of further edits.
        pictures: `NAME=FILE@SCALE` of a region, or `FILE@SCALE`; the scale may be left
            out.
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
    model = values.get("model")
    if model not in (None, request.model):
        motion = moving(model, request.motion)
        if motion != request.motion:
            notes.append(f"--model dropped the motion adapter {request.motion}.")
        loras = tuple(text for text in request.loras if suits(model, text))
        if loras != request.loras:
            notes.append("--model dropped the built-in LoRA.")
        request = replace(request, prediction="", motion=motion, loras=loras)
    for text in pictures:
        request = _pictured(request, text)
    changes: Json = {"params": {**request.params, **(params or {})}}
    for key, value in values.items():
        if value is not None:
            changes[key] = tuple(value) if isinstance(value, list) else value
    if prompts:
        changes["prompt"] = prompts[0]
        changes["more_prompts"] = tuple(prompts[1:])
    return replace(request, **changes), notes


def _pictured(request: EditRequest, text: str) -> EditRequest:
    """Return the request with a picture, written as in `override`."""
    written, scale = split_weight(text)
    name, equals, file = written.partition("=")
    if not equals:
        file = written
    if not file or (equals and not name):
        raise RequestError(
            "--picture",
            "Expected NAME=FILE@SCALE or FILE@SCALE, the scale from 0 to "
            f"{MAX_SCALE}, got {shorten(text)}.",
        )
    picture = {"picture": file, "picture_scale": scale}
    if not equals:
        return replace(request, **picture)
    names = [region.name for region in request.regions]
    if name not in names:
        raise RequestError(
            "--picture", f"No region is named {shorten(name)}. {suggest(name, names)}"
        )
    regions = list(request.regions)
    place = names.index(name)
    regions[place] = replace(regions[place], **picture)
    return replace(request, regions=tuple(regions))
