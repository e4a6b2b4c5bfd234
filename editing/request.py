"""A request for an edit: frozen values, checked once, without a model."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import cast

import numpy as np
from jaxtyping import Bool, UInt8

from editing.areas import grow_labels
from editing.clip import Clip
from editing.errors import MaskError, RequestError, shorten
from editing.frames import Frames, FrameSource
from editing.labels import Labels
from editing.prompts import Composed, compose
from editing.registry import check_params, find_method

# Light and dark in turn, each at least 3:1 against mid-grey (WCAG contrast).
PALETTE = ("#ffe11a", "#0b2a8c", "#6ff7ff", "#6b0f1a", "#b6ff6b", "#4a1470", "#ffd6ee", "#0d3b22")
MAX_SEED = 2**63 - 1
MIN_SIZE, MAX_SIZE = 64, 4096
MAX_PROMPTS = 8
MAX_LORAS = 8
MAX_MARGIN = 1024


def default_color(label: int) -> str:
    """Colour of a label that was given none, "#rrggbb"."""
    return PALETTE[(label - 1) % len(PALETTE)]


@dataclass(frozen=True)
class Region:
    """One thing in the clip and what it should become.

    Attributes:
        name: Unique in the request; names its files and its row in the report.
        label: Its value in the label arrays, 1..255.
        prompt: What it should become; empty keeps the source.
        source: What it is now, in the words of the source prompt.
        color: "#rrggbb"; empty takes the palette's.
        strength: How strongly its attention is modulated, 0..1.
        negative: What it should not become.
        margin: Pixels of the clip by which what it becomes may be larger than it is: how far beyond its mask
            the edit may reach, but never into another region. 0..1024.
        drawn: Used frames, from 0, whose mask a person made; elsewhere it was followed from there. For
            whoever goes on drawing; a run does not look at it.

    Raises:
        RequestError: A value is not allowed; the field is `regions.NAME.KEY`.
    """

    name: str
    label: int
    prompt: str = ""
    source: str = ""
    color: str = ""
    strength: float = 1.0
    negative: str = ""
    margin: int = 0
    drawn: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        self._require("name", self.name.strip() != "", "give the region a name")
        self._require(
            "label", _is_int(self.label) and 1 <= self.label <= 255, "use a whole number from 1 to 255"
        )
        self._require("strength", _is_fraction(self.strength), "use a number from 0 to 1")
        in_range = _is_int(self.margin) and 0 <= self.margin <= MAX_MARGIN
        self._require("margin", in_range, f"use a whole number of pixels from 0 to {MAX_MARGIN}")
        known = all(_is_int(frame) and frame >= 0 for frame in self.drawn)
        self._require("drawn", known, "use whole numbers from 0")
        if not self.color:
            object.__setattr__(self, "color", default_color(self.label))
        self._require(
            "color", re.fullmatch(r"#[0-9a-fA-F]{6}", self.color) is not None, "use the form #rrggbb"
        )

    def _require(self, key: str, holds: bool, allowed: str) -> None:
        if not holds:
            raise RequestError(
                f"regions.{self.name}.{key}", f"{shorten(getattr(self, key))} is not allowed; {allowed}."
            )


@dataclass(frozen=True, eq=False)
class EditRequest:
    """One edit, complete and checked except for what only a model knows.

    Attributes:
        clip: The frames.
        labels: Region of each source pixel, 0 = background, as an array or read by window; kept as
            `Labels`. None when there are no regions.
        regions: In list order, labels and names unique.
        source_prompt: What the clip shows.
        prompt: What it should show; empty composes it from the regions.
        negative_prompt: What it should not show.
        method: A key of `editing.methods.METHODS`.
        params: Given parameters only; the rest is decided when the run starts.
        model: Id of the backbone.
        seed: 0..2**63 - 1.
        size: Short side worked on, in pixels; None takes the model's.
        more_prompts: Further edits of the same clip, made in the same run: what it should show in each.
        loras: Files added to the backbone's weights, `FILE@WEIGHT`.

    Raises:
        MaskError: Labels of the wrong shape, with a value no region has, or a region without a pixel.
        RequestError: Any other value is not allowed.
    """

    clip: Clip
    labels: UInt8[np.ndarray | Frames, "frames height width"] | FrameSource | None
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

    def __post_init__(self) -> None:
        object.__setattr__(self, "regions", tuple(self.regions))
        object.__setattr__(self, "more_prompts", tuple(self.more_prompts))
        object.__setattr__(self, "loras", tuple(self.loras))
        self._require(
            "more_prompts",
            len(self.more_prompts) < MAX_PROMPTS and all(prompt.strip() for prompt in self.more_prompts),
            f"give at most {MAX_PROMPTS - 1} prompts, none of them empty",
        )
        self._require("loras", len(self.loras) <= MAX_LORAS, f"give at most {MAX_LORAS} files")
        self._require("model", self.model.strip() != "", "give the id of a model")
        self._require(
            "seed",
            _is_int(self.seed) and 0 <= self.seed <= MAX_SEED,
            f"use a whole number from 0 to {MAX_SEED}",
        )
        in_range = self.size is None or (_is_int(self.size) and MIN_SIZE <= self.size <= MAX_SIZE)
        self._require("size", in_range, f"use {MIN_SIZE} to {MAX_SIZE} pixels, or leave it out")
        find_method(self.method)
        check_params(self.method, self.params)
        object.__setattr__(self, "params", dict(self.params))
        self._check_unique()
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
        """What nothing should become: the negative prompt and those of the regions."""
        return ", ".join(filter(None, [self.negative_prompt, *(r.negative for r in self.regions)]))

    @property
    def edited(self) -> tuple[Region, ...]:
        """The regions that become something else."""
        return tuple(region for region in self.regions if region.prompt.strip())

    def read_areas(self, start: int, stop: int) -> UInt8[np.ndarray, "frames height width"]:
        """`labels` with every region grown by its margin: where each edit may reach.

        Args:
            start: First frame.
            stop: The frame after the last.

        Returns:
            Labels at the clip's size; 0 everywhere where there are no regions.
        """
        if self.labels is None:
            width, height = self.clip.size
            return np.zeros((stop - start, height, width), np.uint8)
        pixels = {region.label: region.margin for region in self.regions}
        return grow_labels(cast(Labels, self.labels).read(start, stop), pixels)

    def read_edited_mask(self, start: int, stop: int) -> Bool[np.ndarray, "frames height width"]:
        """Union of the edited regions' areas; True inside. The whole frame where no region has a prompt.

        Args:
            start: First frame.
            stop: The frame after the last.
        """
        if self.labels is None or not self.edited:
            width, height = self.clip.size
            return np.ones((stop - start, height, width), bool)
        return np.isin(self.read_areas(start, stop), [region.label for region in self.edited])

    @property
    def areas(self) -> UInt8[Frames, "frames height width"]:
        """What `read_areas` reads, as an array."""
        width, height = self.clip.size
        return Frames((len(self.clip), height, width), np.uint8, self.read_areas)

    @property
    def edited_mask(self) -> Bool[Frames, "frames height width"]:
        """What `read_edited_mask` reads, as an array."""
        width, height = self.clip.size
        return Frames((len(self.clip), height, width), bool, self.read_edited_mask)

    def check_runnable(self) -> None:
        """Refuse a request that is well-formed but cannot be run.

        Raises:
            RequestError: Nothing has a prompt, the method edits regions and none has one, it compares with a
                source prompt and there is none, or it makes one edit and there are several prompts.
        """
        method = find_method(self.method)
        if self.more_prompts and not method.several:
            raise RequestError(
                "more_prompts", f"{self.method} makes one edit a run. Remove them or choose another method."
            )
        if "source_prompt" in method.needs and not self.source_prompt.strip():
            raise RequestError(
                "source_prompt",
                f"empty, but {self.method} compares it with the prompt. Say what the clip shows.",
            )
        if "regions" in method.needs and not self.edited:
            raise RequestError(
                "regions",
                f"none has a prompt, but {self.method} edits regions. Give at least one region a prompt.",
            )
        if not self.edited and not self.prompt.strip():
            raise RequestError(
                "prompt", "empty, like that of every region. Say what the clip or a region should become."
            )

    def _require(self, key: str, holds: bool, allowed: str) -> None:
        if not holds:
            raise RequestError(key, f"{shorten(getattr(self, key))} is not allowed; {allowed}.")

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

    def _check_labels(self) -> None:
        if self.labels is None:
            if self.regions:
                raise MaskError(
                    "masks", "None were given, but there are regions. Add masks or remove the regions."
                )
            return
        labels = self.labels if isinstance(self.labels, Labels) else Labels(self.labels)
        width, height = self.clip.size
        expected = (len(self.clip), height, width)
        if labels.shape != expected:
            raise MaskError(
                "masks", f"Labels of shape {labels.shape} were given, but the clip needs {expected}."
            )
        known = {region.label: region for region in self.regions}
        if unlisted := sorted(labels.present - set(known)):
            said = f"They use label {unlisted[0]}, but the regions have {sorted(known)}"
            raise MaskError("masks", f"{said}. Add a region or erase it.")
        for label in sorted(set(known) - labels.present):
            raise MaskError(
                "masks",
                f"Region {known[label].name!r} (label {label}) is empty in every frame. Draw its mask.",
            )
        object.__setattr__(self, "labels", labels)


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_fraction(value: object) -> bool:
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and math.isfinite(value)
        and 0 <= value <= 1
    )
