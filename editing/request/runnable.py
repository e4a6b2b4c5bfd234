"""Checks that a request can run: its prompts, its frames, and the adapter that it
names."""

from __future__ import annotations

import re

from regrain.editing.errors import RequestError, shorten
from regrain.editing.media.clip import check_inside
from regrain.editing.media.images import read_picture
from regrain.editing.media.lazy_frames import Rgba
from regrain.editing.models.adapters import (
    AdapterFacts,
    check_frames,
    find_adapter,
    read_facts,
)
from regrain.editing.models.files.location import PictureSpec
from regrain.editing.params.registry import find_method
from regrain.editing.request.boxes import read_focus
from regrain.editing.request.edit_request import EditRequest

_SHAPE = 0.02  # most by which a first frame's shape may differ from the clip's
# As other programs write into prompts; here it would be read as words. What comes after
# it in an error, with the first group of the pattern.
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)\s*"
_ELSEWHERE = {
    r"(?i:<\s*(?:lora|lyco|hypernet)\s*:[^<>]*>)": "which would be read as words. "
    "Remove it, and give the file as a LoRA.",
    r"<\w+:[^<>]*>": "which would be read as words. Remove it.",
    # no time of day, and no ratio
    rf"(?:\(|(?<=\)))\s*([^():]*[^():\d\s])\s*:\s*{_NUMBER}\)": "a weight that is not read. "
    "Write {} alone.",
    r"\{([^{}|]*)\|[^{}]*\}": "a choice that is not made here. Write one, such as {}.",
    r"(?<!\w)__[\w*/-]+?__(?!\w)": "which no list of words replaces here. Write a word.",
    rf"\[[^\[\]]*[^\[\]\d\s]\s*:\s*{_NUMBER}\]|\[[^\[\]]*\|[^\[\]]*\]": "words that "
    "change during a run, which is not done here. Write one of them.",
    r"\w{2}\+\+|\)(?:\+|\d*\.\d)|\.(?:swap|blend|and)\(|(?:^|\s)--[a-z]+|\w\s?::": "a "
    "weight or an instruction, which is not read. Leave it out.",
    r"(?i:\bembedding:\S+)": "an embedding, which is not read. Remove it.",
    # no words of a text that is in capitals
    r"(?<![A-Z][\s,])\b(?:AND|AND_[A-Z]+|BREAK|ADD(?:BASE|COMM|ROW|COL))\b"
    r"(?!\W+(?:[A-Z]{2}|[A-Z]\b))": "which is no instruction here. Write it in small "
    "letters, or leave it out.",
}


def check_runnable(request: EditRequest) -> None:
    """Check that a request has the prompts that its method needs.

    Raises:
        ModelError: The adapter is missing or was tuned on another number of frames.
        RequestError: A picture cannot be read or has no adapter; a key frame, a cut or
            the pixel to map is outside the clip; there is no prompt; the method edits
            regions and no region has one; it needs a source prompt and there is none;
            it makes one edit and there are several prompts; or a text has what other
            programs read in it.
    """
    method = find_method(request.method)
    if request.more_prompts and not method.several:
        raise RequestError(
            "more_prompts",
            f"{request.method} makes one edit per run. Remove them or use another method.",
        )
    check_source(request)
    adapter_facts(request)
    params = request.decided
    count = len(request.clip)
    check_inside("params.keyframes", params.keyframes.frames, count)
    check_inside("params.cuts", params.cuts or (), count, first=1)
    if "regions" in method.needs and not request.edited:
        raise RequestError(
            "regions",
            f"No region has a prompt, but {request.method} edits regions. Give "
            "one a prompt.",
        )
    for asked in request.pictures:
        pixels = read_picture(asked.path, asked.field)
        if params.begins_given:
            _check_first(request, asked, pixels)
        elif not method.sees_pictures and not request.picture_adapter:
            raise RequestError(
                asked.field,
                "A picture needs a picture adapter, but none is chosen. Choose one "
                "in picture_adapter.",
            )
    if method.sees_pictures and request.picture_adapter:
        raise RequestError(
            "picture_adapter",
            f"{request.method} sees pictures without one. Remove it.",
        )
    if not request.edited and not request.prompt.strip() and not request.picture:
        raise RequestError(
            "prompt",
            "No prompt is set, for the clip or any region. Say what it should become.",
        )


def _check_first(request: EditRequest, asked: PictureSpec, picture: Rgba) -> None:
    """Refuse, by a RequestError, a picture that cannot be the clip's first frame."""
    if asked.label:
        raise RequestError(
            asked.field,
            "With first_frame only a picture of the whole frame is seen. Remove it.",
        )
    width, height = request.clip.size
    rows, columns, _ = picture.shape
    if abs(columns * height / (rows * width) - 1) > _SHAPE:
        raise RequestError(
            "picture",
            f"It has {columns} x {rows} pixels, but as the first frame it needs the shape of "
            f"the clip, {width} x {height}. Crop it, or leave first_frame out.",
        )
    if request.picture_scale is not None:
        raise RequestError(
            "picture_scale", "A first frame is taken as it is. Leave the scale out."
        )
    if read_focus(request.focus).kind not in ("auto", "off"):
        raise RequestError(
            "focus", "A first frame is of the whole clip. Set focus to off."
        )


def check_source(request: EditRequest) -> None:
    """Refuse, by a RequestError, texts with what other programs read in them, and a
    request without a source prompt if its method needs one."""
    for field, text in request.texts():
        for pattern, said in _ELSEWHERE.items():
            if found := re.search(pattern, text):
                part = shorten((found.groups() or found)[0])
                raise RequestError(
                    field, f"It has {shorten(found[0])}, {said.format(part)}"
                )
    method = find_method(request.method)
    if "source_prompt" in method.needs and not request.description:
        raise RequestError(
            "source_prompt",
            f"{method.title} must know what is there now. Say what a region is, or "
            "describe the clip.",
        )


def adapter_facts(request: EditRequest) -> AdapterFacts | None:
    """Return what the file of the adapter says of it, None without one; a ModelError if
    it does not fit."""
    if not request.adapter:
        return None
    facts = read_facts(find_adapter(request.adapter))
    check_frames(facts, len(request.clip))
    return facts
