"""The request of an edit: frozen values, checked once, without a model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, cast

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from regrain.editing.errors import MaskError, RequestError, shorten
from regrain.editing.media.clip import Clip
from regrain.editing.media.labels import Labels, fade_inwards, grow_labels
from regrain.editing.media.lazy_frames import FrameSource, LazyFrames
from regrain.editing.models.adapters import AdapterFacts, check_frames, find_adapter, read_facts
from regrain.editing.params.base import MethodParams
from regrain.editing.params.registry import check_params, find_method
from regrain.editing.request.compose import Composed, compose
from regrain.editing.request.keyframes import check_keyframes
from regrain.editing.request.region import TEXTS, Region, clean, is_int

MAX_SEED = 2**63 - 1
MIN_SIZE, MAX_SIZE = 64, 4096
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
        size: Working size of the short side, 64..4096 pixels; None takes the model's.
        more_prompts: Prompts of further edits of the same clip in the same run.
        loras: LoRA files added to the backbone's weights, `FILE@WEIGHT`.
        adapter: An adapter tuned on the clip, a path or a name in $REGRAIN_MODELS; see `models.adapters`.

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

    def __post_init__(self) -> None:
        object.__setattr__(self, "regions", tuple(self.regions))
        object.__setattr__(self, "loras", tuple(self.loras))
        for key in ("source_prompt", "prompt", "negative_prompt"):
            object.__setattr__(self, key, clean(key, getattr(self, key)))
        for region in self.regions:
            for key in TEXTS:
                clean(f"regions.{region.name}.{key}", getattr(region, key))
        more = tuple(clean(f"more_prompts.{i}", prompt) for i, prompt in enumerate(self.more_prompts))
        object.__setattr__(self, "more_prompts", more)
        self._require(
            "more_prompts",
            len(self.more_prompts) < MAX_PROMPTS and all(prompt.strip() for prompt in self.more_prompts),
            f"at most {MAX_PROMPTS - 1} prompts, none of them empty",
        )
        self._require("loras", len(self.loras) <= MAX_LORAS, f"at most {MAX_LORAS} files")
        self._require("model", self.model.strip() != "", "the id of a model")
        is_seed = is_int(self.seed) and 0 <= self.seed <= MAX_SEED
        self._require("seed", is_seed, f"a whole number from 0 to {MAX_SEED}")
        in_range = self.size is None or (is_int(self.size) and MIN_SIZE <= self.size <= MAX_SIZE)
        self._require("size", in_range, f"a whole number of pixels from {MIN_SIZE} to {MAX_SIZE}, or nothing")
        self._require("adapter", isinstance(self.adapter, str), "a path or a name")
        find_method(self.method)
        check_params(self.method, self.params)
        object.__setattr__(self, "params", dict(self.params))
        self._check_unique()
        self._check_drawn()
        self._check_labels()

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
        return self._negatives[0]

    @property
    def negative_spans(self) -> dict[int, tuple[int, int]]:
        """By label, the characters [start, stop) of `negatives` that are a region's own."""
        return self._negatives[1]

    @cached_property
    def _negatives(self) -> tuple[str, dict[int, tuple[int, int]]]:
        text, spans = self.negative_prompt, {}
        for region in filter(lambda region: region.negative, self.regions):
            text += ", " if text else ""
            spans[region.label] = (len(text), len(text) + len(region.negative))
            text += region.negative
        return text, spans

    def texts(self) -> Iterator[tuple[str, str]]:
        """Every field with a prompt, and its text."""
        for key in ("source_prompt", "prompt", "negative_prompt"):
            yield key, getattr(self, key)
        for prompt in self.more_prompts:
            yield "more_prompts", prompt
        for region in self.regions:
            for key in ("source", "prompt", "negative"):
                yield f"regions.{region.name}.{key}", getattr(region, key)

    @property
    def edited(self) -> tuple[Region, ...]:
        """The regions that have a prompt."""
        return tuple(region for region in self.regions if region.prompt.strip())

    def margin_of(self, region: Region) -> int:
        """Pixels of the clip by which a region's edit may reach beyond its mask; 0 without an edit."""
        if not region.prompt.strip():
            return 0
        return region.effective_margin(self.clip.size)

    def read_areas(self, start: int, stop: int) -> UInt8[np.ndarray, "frames height width"]:
        """Read `labels` with every region grown by its margin: where each edit may reach.

        Args:
            start: First frame.
            stop: The frame after the last.

        Returns:
            Labels at the clip's size; 0 everywhere without regions.
        """
        if self.labels is None:
            width, height = self.clip.size
            return np.zeros((stop - start, height, width), np.uint8)
        pixels = {region.label: self.margin_of(region) for region in self.regions}
        return grow_labels(cast(Labels, self.labels).read(start, stop), pixels)

    def read_edited_mask(self, start: int, stop: int) -> Bool[np.ndarray, "frames height width"]:
        """Read the union of the edited regions' areas, True inside; the whole frame if no region is edited.

        Args:
            start: First frame.
            stop: The frame after the last.
        """
        if self.labels is None or not self.edited:
            width, height = self.clip.size
            return np.ones((stop - start, height, width), bool)
        return np.isin(self.read_areas(start, stop), [region.label for region in self.edited])

    def read_opacity(self, start: int, stop: int) -> Float32[np.ndarray, "frames height width"] | None:
        """Read how much of the edit is shown inside its area, 0..1; None where no edited region is feathered.

        Args:
            start: First frame.
            stop: The frame after the last.
        """
        feathers = {region.label: region.feather for region in self.edited if region.feather}
        if not feathers or self.labels is None:
            return None
        return fade_inwards(self.read_areas(start, stop), feathers, [region.label for region in self.edited])

    def edits_any(self, frames: Iterable[int]) -> bool:
        """Whether any of these frames shows a pixel that is edited."""
        return any(self.read_edited_mask(frame, frame + 1).any() for frame in frames)

    @property
    def areas(self) -> UInt8[LazyFrames, "frames height width"]:
        """`read_areas` as an array."""
        width, height = self.clip.size
        return LazyFrames((len(self.clip), height, width), np.uint8, self.read_areas)

    @property
    def edited_mask(self) -> Bool[LazyFrames, "frames height width"]:
        """`read_edited_mask` as an array."""
        width, height = self.clip.size
        return LazyFrames((len(self.clip), height, width), bool, self.read_edited_mask)

    def check_runnable(self) -> None:
        """Check that the request has the prompts that its method needs.

        Raises:
            ModelError: The adapter is missing or was tuned on another number of frames.
            RequestError: A key frame, a cut or the pixel to map is outside the clip; there is no prompt; the
                method edits regions and no region has one; it needs a source prompt and there is none; or it
                makes one edit and there are several prompts.
        """
        method = find_method(self.method)
        if self.more_prompts and not method.several:
            raise RequestError(
                "more_prompts", f"{self.method} makes one edit per run. Remove them or use another method."
            )
        self.check_source()
        self.adapter_facts()
        self._check_frames(check_params(self.method, self.params))
        if "regions" in method.needs and not self.edited:
            raise RequestError(
                "regions", f"No region has a prompt, but {self.method} edits regions. Give one a prompt."
            )
        if not self.edited and not self.prompt.strip():
            raise RequestError(
                "prompt", "No prompt is set, for the clip or any region. Say what it should become."
            )

    def adapter_facts(self) -> AdapterFacts | None:
        """What the adapter belongs to; None without one.

        Raises:
            ModelError: The file is missing or no adapter, or it was tuned on another number of frames.
        """
        if not self.adapter:
            return None
        facts = read_facts(find_adapter(self.adapter))
        if self.method != "tune_a_video" or self.params.get("start") != "noise":
            check_frames(facts, len(self.clip))
        return facts

    def check_source(self) -> None:
        """Check that there is a source prompt if the method needs one.

        Raises:
            RequestError: There is none.
        """
        if "source_prompt" in find_method(self.method).needs and not self.source_prompt.strip():
            raise RequestError(
                "source_prompt", f"{self.method} needs it, but it is empty. Describe what the clip shows."
            )

    def _check_frames(self, params: MethodParams) -> None:
        """Check that frames and pixels that parameters name are inside the clip."""
        count, (width, height) = len(self.clip), self.clip.size
        check_keyframes(params.keyframes, count)
        if beyond := [frame for frame in params.cuts or () if frame >= count]:
            raise RequestError(
                "params.cuts", f"Frame {beyond[0]} is outside the clip. Choose frames from 1 to {count - 1}."
            )
        pixel = getattr(params, "heat_pixel", None)
        if pixel and (pixel.frame >= count or pixel.x >= width or pixel.y >= height):
            raise RequestError(
                "params.heat_pixel",
                f"Pixel {pixel.frame},{pixel.x:g},{pixel.y:g} is outside the clip. Choose a frame from 0 to "
                f"{count - 1} and a pixel inside {width} x {height}.",
            )

    def _require(self, key: str, holds: bool, expected: str) -> None:
        if not holds:
            raise RequestError(key, f"Expected {expected}, got {shorten(getattr(self, key))}.")

    def _check_unique(self) -> None:
        for key in ("label", "name"):
            seen: set[object] = set()
            for index, region in enumerate(self.regions):
                # Names become file names, which some systems compare without case.
                value = str(getattr(region, key)).casefold()
                if value in seen:
                    shown = shorten(getattr(region, key))
                    raise RequestError(
                        f"regions.{index}.{key}", f"{shown} is used twice. Give each region its own."
                    )
                seen.add(value)

    def _check_drawn(self) -> None:
        for region in self.regions:
            for key in ("drawn", "clicked"):
                if beyond := [frame for frame in getattr(region, key) if frame >= len(self.clip)]:
                    said = f"Frame {beyond[0]} is outside the clip. Choose from 0 to {len(self.clip) - 1}."
                    raise RequestError(f"regions.{region.name}.{key}", said)

    def _check_labels(self) -> None:
        if self.labels is None:
            if self.regions:
                raise MaskError("masks", "Regions need masks. Add masks or remove the regions.")
            return
        labels = self.labels if isinstance(self.labels, Labels) else Labels(self.labels)
        width, height = self.clip.size
        expected = (len(self.clip), height, width)
        if labels.shape != expected:
            raise MaskError("masks", f"Expected labels of shape {expected}, got {labels.shape}.")
        known = {region.label: region for region in self.regions}
        if unlisted := sorted(labels.present - set(known)):
            raise MaskError(
                "masks",
                f"No region has label {unlisted[0]}, but the masks do. Add a region or erase the label.",
            )
        for label in sorted(set(known) - labels.present):
            raise MaskError(
                "masks", f"Region {known[label].name!r} (label {label}) is empty in every frame. Draw it."
            )
        object.__setattr__(self, "labels", labels)


def override(
    request: EditRequest,
    *,
    method: str | None = None,
    params: Mapping[str, object] | None = None,
    prompts: Sequence[str] = (),
    **values: Any,
) -> tuple[EditRequest, list[str]]:
    """Replace values of a request.

    Args:
        request: The request.
        method: Another method; the request's parameters then go, since they are of its own method.
        params: Parameters; the others stay.
        prompts: The prompt, and those of further edits.
        values: Other fields by name; None keeps a field.

    Returns:
        The request, and notes for the report.

    Raises:
        RequestError: A value is not allowed.
    """
    notes = []
    if method is not None and method != request.method:
        if request.params:
            dropped = ", ".join(sorted(request.params))
            notes.append(f"--method {method} dropped the project's params for {request.method}: {dropped}.")
        request = replace(request, method=method, params={})
    given = {key: value for key, value in values.items() if value is not None}
    if prompts:
        given |= {"prompt": prompts[0], "more_prompts": tuple(prompts[1:])}
    return replace(request, params={**request.params, **(params or {})}, **given), notes
