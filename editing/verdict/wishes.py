"""Wishes: the words of each region of an edit, and what it might look like instead."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple, cast

import numpy as np
from jaxtyping import Int

from regrain.editing.media.labels import Labels
from regrain.editing.media.lazy_frames import Texts, evenly
from regrain.editing.models.files.words import with_article
from regrain.editing.params.phrases import words as words_of
from regrain.editing.request.boxes import Edges
from regrain.editing.request.edit_request import EditRequest
from regrain.editing.request.region import called

_FRAMES = 8  # at most, that are looked at
_GROWN = 1.2  # sides of a box: a tenth more on each side
_INSIDE = 0.9  # the share of a region's box by which it lies in another's
_ARTICLES = ("a", "an", "the", "another", "third")
# Of words that say nothing but how the thing is that is there.
_CLOTHES = ("wearing ", "with ", "in ")
# A word that says only what colour a thing has: the basic terms of English (Berlin and
# Kay 1969), and metals.
_COLOUR = re.compile(
    "black|white|red|green|yellow|blue|brown|purple|pink|orange|gr[ae]y|golden|silver"
)


class Wish(NamedTuple):
    """Words for what a region should look like.

    Attributes:
        region: What it is called; None for the whole frame.
        words: What it should become.
        others: What it might look like instead: whole phrases, each once.
        frames: Numbers of the frames that are looked at.
        boxes: Left, top, right and bottom of the square that shows it in each; it may
            reach beyond the frame.
        pictured: A picture says which colours it has, and the words, whose kinds are
            known, do not.
    """

    region: str | None
    words: str
    others: Sequence[str]
    frames: Int[np.ndarray, "frames"]
    boxes: Int[np.ndarray, "frames 4"]
    pictured: bool = False


def wishes(
    request: EditRequest,
    prompt: str,
    kinds: Sequence[str] = (),
    places: Sequence[str] = (),
    styles: Sequence[str] = (),
) -> list[Wish]:
    """Return what an edit by a prompt should show, in the regions that have words or,
    without regions, in the whole frame.

    Args:
        prompt: Of the edit, one of the request's `targets`.
        kinds, places, styles: Phrases that whoever looks knows, and those that it
            cannot tell, as in `CropReader`.
    """

    def told(text: str) -> str:
        for style in styles:
            text = text.replace(f" in {style}", "")
        return text.strip()

    if not request.edited:
        words = told(prompt)
        before = told(request.description)
        if words != prompt.strip() and _content(words) == _content(before):
            return []
        others = _different(words, before, (), (), ())
        edges = np.tile((0.0, 0.0, *request.clip.size), (len(request.clip), 1))
        return [Wish(None, words, others, *_squares(edges, 1.0))]
    extents = cast(Labels, request.labels).extents
    names = called(request.regions)
    found = []
    for region in request.edited:
        if not region.prompt.strip():
            continue
        asked = whole_phrase(region.prompt.strip(), region.source)
        words = told(asked)
        before = told(region.source)
        if words != asked and _content(words) == _content(before):
            continue  # nothing changes but what cannot be told
        edges = extents[region.label]
        beside = []
        for other in request.regions:
            if not _lies_in(extents[other.label], edges):
                beside += [told(other.prompt), told(other.source)]
        others = _different(words, before, beside, kinds, places)
        name = names[region.name]
        is_coloured = any(map(_COLOUR.fullmatch, _content(words)))
        pictured = bool(kinds and region.picture and not is_coloured)
        found.append(Wish(name, words, others, *_squares(edges, _GROWN), pictured))
    return found


def whole_phrase(words: str, source: str) -> str:
    """Return words that can be compared with other phrases: of a colour or clothes
    alone, together with what is there."""
    *before, thing = source.split() or [""]
    if thing and words.startswith(_CLOTHES):
        return f"{source} {words}"
    if thing and _COLOUR.fullmatch(words):
        coloured = f"{words} {thing}"
        if before in (["a"], ["an"]):
            return with_article(coloured)
        return " ".join([*before, coloured])
    return words


def _different(
    words: str,
    before: str,
    beside: Iterable[str],
    kinds: Sequence[str],
    places: Sequence[str],
) -> list[str]:
    """Return the phrases that say something else than `words`, each once.

    Args:
        words: The wish.
        before: Words for what was there, of which the wish may be a part.
        beside: Words for what is elsewhere. Where they hold all of the wish and more,
            they are of no other thing: a fox with a hat is a fox.
        kinds, places: Counted if the wish names a kind; else it is of a place, and
            things may be in it. Where the kind stays, other kinds do not count: the
            region may be a part, such as a head.
    """
    own = {*_content(words)}
    told = [before, *(text for text in beside if not own <= {*_content(text)})]
    named = own.intersection(word for kind in kinds for word in _content(kind))
    if named:
        known = places if named <= {*_content(before)} else (*kinds, *places)
        told += [text for text in known if own.isdisjoint(_content(text))]
    each = {_content(text): text for text in reversed(told)}
    each.pop(_content(words), None)
    return [text for key, text in each.items() if key]


def _content(text: str) -> Texts:
    """Return the words by which a phrase is told from others."""
    return tuple(word.text for word in words_of(text) if word.text not in _ARTICLES)


def _lies_in(edges: Edges, around: Edges) -> bool:
    """Tell whether a region's box is mostly inside another's, whose crop then shows it
    rightly, as a meadow shows those who stand on it."""
    lows = np.maximum(edges[:, :2], around[:, :2])
    highs = np.minimum(edges[:, 2:], around[:, 2:])
    shared = (highs - lows).clip(0).prod(1)
    own = (edges[:, 2:] - edges[:, :2]).prod(1)
    return bool(np.nansum(shared) >= _INSIDE * np.nansum(own))


def _squares(
    edges: Edges, grown: float
) -> tuple[Int[np.ndarray, "frames"], Int[np.ndarray, "frames 4"]]:
    """Return some of the frames that show a region, evenly spread, and the square
    around it in each, `grown` times as large."""
    shown = np.flatnonzero(~np.isnan(edges[:, 0]))
    frames = shown[[*evenly(len(shown), _FRAMES)]]
    lows, highs = np.split(edges[frames], 2, axis=1)
    reach = grown * (highs - lows).max(1, keepdims=True) / 2
    middles = (lows + highs) / 2
    corners = np.hstack([middles - reach, middles + reach])
    return frames, corners.round().astype(int)
