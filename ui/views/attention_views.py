"""Pictures of attention: while a run goes on, and of its result."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from PIL import Image

from regrain.editing.attention.averages import PICTURE, RegionAttention
from regrain.editing.media.lazy_frames import Rgb
from regrain.editing.media.mask_pictures import default_color
from regrain.editing.params.base import ModulatedParams
from regrain.editing.params.registry import METHODS
from regrain.editing.pipeline.pictures import heat, washed
from regrain.editing.recipe.events import EditResult, Preview
from regrain.editing.request.edit_request import EditRequest
from regrain.editing.request.region import Region, called
from regrain.ui.server.media import as_url, data_url, shrunk
from regrain.ui.views.shown import (
    AreaStep,
    AreasView,
    AttentionMap,
    AttentionView,
    HeatStrip,
    LiveView,
    WordMaps,
    WordsView,
)

_SHOWN = 8  # frames in a strip, steps in a row
_FEW = 4  # frames of the small pictures, of which there are many
_MAPPED = 16  # frames with a map to be inspected
_WHOLE = "all"  # steps together
_OF_REGION = f"{PICTURE} of "  # begins the name of a map of a region's picture
_STRIP_SIDE = 128  # pixels of a frame in a strip
_PREVIEW_SIDE = 320  # pixels of a frame that is shown as large as the clip
_NOTHING = 1e-12
# What previews of a stage show, where it is not the edit.
_STAGES = {"inverting": "The clip turns to noise"}
# Heading and captions of a pair of pictures of attention, by whether masks guide it.
_LOOKS = {
    True: (
        "Attention on each region’s words",
        "without guidance",
        "guided by the masks",
    ),
    False: ("Attention on the new words", "on its own", "with the source’s attention"),
}


def live(event: Preview, request: EditRequest, stage: str = "editing") -> LiveView:
    """Show the frames the model expects at a step of a stage, and the attention on
    words."""
    picked = spread(len(event.frames))
    colors = _colors(event.attention, request.regions)

    # Of maps as large as the frames, most would be drawn to be thrown away.
    small = {i: np.asarray(shrunk(event.frames[i], _STRIP_SIDE)) for i in picked}

    strips = []
    for name, maps in event.attention.items():
        color, label = colors[name]
        heated = [
            data_url(heat(small[i], maps[i], color), _STRIP_SIDE, 70) for i in picked
        ]
        strips.append(HeatStrip(name, _caption(name, request), color, label, heated))
    return LiveView(
        caption=_STAGES.get(stage, "Preview"),
        frames=[data_url(event.frames[i], _PREVIEW_SIDE, 76) for i in picked],
        indices=[event.indices[i] + 1 for i in picked],
        heat=strips,
    )


def _caption(name: str, request: EditRequest) -> str:
    """Say what a map of attention shows: a region's words, a word of the prompt, or a
    picture's share."""
    words = {
        region.name: region.prompt or region.source or region.name
        for region in request.regions
    }
    if name == PICTURE:
        return "Share of the picture"
    if name.startswith(_OF_REGION):
        whose = called(request.regions).get(name.removeprefix(_OF_REGION))
        return f"Share of the picture of “{whose}”"
    return f"Attention on “{words.get(name, name)}”"


def attention(outcome: EditResult, request: EditRequest) -> AttentionView:
    """Show maps to be laid over the clip, by region or word: of all steps, and of the
    first, middle and last."""
    colors = _colors(outcome.attention, request.regions)
    picked = spread(len(outcome.source), _MAPPED)
    names = called(request.regions)
    by_masks = issubclass(METHODS[request.method].Params, ModulatedParams)
    heading, *captions = _LOOKS[by_masks]

    shown = []
    for name, maps in outcome.attention.items():
        color, label = colors[name]
        caption = _caption(name, request)
        parts = {_WHOLE: maps, **maps.parts}
        is_picture = name == PICTURE or name.startswith(_OF_REGION)
        of_map = AttentionMap(
            name=names.get(name, caption if is_picture else name),
            caption=caption,
            color=color,
            label=label,
            parts=[*parts],
            sheet=_sheet([*parts.values()], picked),
        )
        shown.append(of_map)
    return AttentionView(heading, captions, [i + 1 for i in picked], shown)


def _sheet(parts: Sequence[RegionAttention], picked: Sequence[int]) -> str:
    """Return a PNG data URL: a row of maps before and a row after the change for each
    part, on one scale."""
    rows = []
    for part in parts:
        rows.append(np.asarray(part.before)[picked])
        rows.append(np.asarray(part.after)[picked])
    brightest = max(*[float(row.max()) for row in rows], _NOTHING)
    sheet = np.concatenate([np.concatenate(list(row), axis=1) for row in rows])
    picture = Image.fromarray((sheet * (255 / brightest)).astype(np.uint8))
    return as_url(picture, "png")


def words(outcome: EditResult) -> WordsView | None:
    """Show a small picture for each word of source and edit, in a few frames of the
    clip."""
    if outcome.words is None:
        return None
    picked = spread(len(outcome.source), _FEW)
    frames = {i: outcome.source[i] for i in picked}
    return WordsView(
        indices=[i + 1 for i in picked],
        source=_word_rows(outcome.words.source, frames),
        edit=_word_rows(outcome.words.edit, frames),
    )


def _word_rows(
    maps: Mapping[str, np.ndarray], frames: Mapping[int, Rgb]
) -> list[WordMaps]:
    """Show the attention on each word as heat over some frames."""
    rows = []
    for word, values in maps.items():
        brightest = max(float(values.max()), _NOTHING)
        shown = []
        for i, frame in frames.items():
            look = heat(frame, values[i] / brightest, default_color(1))
            shown.append(data_url(look, 96, 60))
        rows.append(WordMaps(word, shown))
    return rows


def areas(outcome: EditResult) -> AreasView | None:
    """Show the area the edit was kept to, at a few steps and in a few frames of the
    clip."""
    if not outcome.step_areas:
        return None
    picked = spread(len(outcome.source), _FEW)
    numbers = sorted(outcome.step_areas)
    steps = []
    for step in [numbers[i] for i in spread(len(numbers))]:
        area = outcome.step_areas[step]
        looks = [washed(outcome.source[i], area[i], default_color(1)) for i in picked]
        frames = [data_url(look, 128, 66) for look in looks]
        steps.append(AreaStep(step + 1, frames))
    return AreasView([i + 1 for i in picked], steps)


def _colors(
    names: Iterable[str], regions: Sequence[Region]
) -> dict[str, tuple[str, int]]:
    """Return colour and label of each heat map: its region's; for a word of the prompt,
    the next free."""
    colors = {region.name: (region.color, region.label) for region in regions}
    colors |= {_OF_REGION + name: color for name, color in colors.items()}
    label = max((region.label for region in regions), default=0)
    for name in names:
        if name not in colors:
            label += 1
            colors[name] = default_color(label), label
    return colors


def spread(count: int, most: int = _SHOWN) -> list[int]:
    """Return at most so many indices, evenly spread, the first and the last among
    them."""
    picked = min(count, most)
    gaps = max(1, picked - 1)
    return sorted({round(i * (count - 1) / gaps) for i in range(picked)})
