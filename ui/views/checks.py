"""What is wrong with a page's words and settings, as far as it is known without a model.

One function, `check`, answers while somebody types and again when a run begins. What may be run, the request
says: see `editing.request.edit_request`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from regrain.editing.errors import EditingError, PromptError
from regrain.editing.models.files.reader import Reader
from regrain.editing.models.files.words import Unknown
from regrain.editing.params.registry import check_params
from regrain.editing.request.compose import compose, missing_phrases
from regrain.editing.request.edit import Edit
from regrain.editing.request.edit_request import EditRequest
from regrain.editing.request.region import Region
from regrain.editing.request.runnable import check_runnable
from regrain.ui.session.build_request import build_request, length_errors, region_errors
from regrain.ui.session.method_choice import uses
from regrain.ui.session.session import Session
from regrain.ui.views.views import View

_MOST = 40  # of unknown words that are sent
_MOST_OFFERS = 3
_SILENT = "Write under “Change to” what one of the regions should become."
_QUALITIES = (
    "red|orange|yellow|green|blue|purple|violet|pink|brown|black|white|grey|gray|golden|silver|blond|dark|"
    "light|bright|big|large|huge|small|little|tiny|tall|short|long|old|young|new"
)
_THING = re.compile(rf"\b(?:a|an|the|another)\s+(?:(?:{_QUALITIES})\s+)*(?P<noun>\w+)", re.I)
_PLACE = re.compile(
    "left|right|top|bottom|front|back|background|foreground|middle|cent(?:re|er)|side", re.I
)


@dataclass(frozen=True)
class Diagnostic:
    """Something to be said at a field."""

    field: str  # as the request names it, such as `regions.left.prompt`
    text: str  # what is wrong, then what to do
    words: tuple[Unknown, ...] = ()  # words of the field that the model does not know
    offers: tuple[str, ...] = ()  # texts to put into the field with a click
    # "wrong" keeps a run from beginning, and so does "missing", said when one was wanted; "hint" does not
    kind: str = "wrong"


def check(session: Session, reader: Reader, asked: Edit) -> list[Diagnostic]:
    """Return all that is wrong, and hints, in the order of the page; `asked` is as its fields have it."""
    found = [
        *(
            _remark(error, session, "missing" if error.field == "regions" else "wrong")
            for error in region_errors(session, session.method)
        ),
        *_word_remarks(session, asked.model, reader),
        *_param_remarks(asked.method, asked.params),
        *_repeated(session),
        *_unbound(session),
    ]
    if not any(remark.kind == "wrong" for remark in found):
        try:  # the first thing that the request itself refuses
            check_runnable(build_request(session, asked, masked=False))
        except EditingError as error:
            nothing = error.field in ("regions", "prompt", "source_prompt")
            found.append(_remark(error, session, "missing" if nothing else "wrong"))
    gravest: dict[str, Diagnostic] = {}  # at each field
    for remark in sorted(found, key=lambda remark: remark.kind == "hint"):
        gravest.setdefault(remark.field, remark)
    order = _order(session)
    return sorted(gravest.values(), key=lambda remark: order.get(remark.field, len(order)))


def first_wrong(remarks: Iterable[Diagnostic]) -> Diagnostic | None:
    """What keeps a run from beginning, the uppermost first."""
    return next((remark for remark in remarks if remark.kind != "hint"), None)


def view(remarks: Sequence[Diagnostic], pressed: int = 0) -> View:
    """What the page marks.

    `pressed` counts attempts to run: then what is missing is said as well, and the first field focused.
    """
    wrong = first_wrong(remarks) if pressed else None
    return {
        "pressed": pressed,
        "focus": wrong.field if wrong else "",
        "remarks": [
            {
                "field": remark.field,
                "text": remark.text,
                "hint": remark.kind == "hint",
                "offers": [*remark.offers],
                "words": [{"word": word, "near": [*near]} for word, near in remark.words[:_MOST]],
            }
            for remark in remarks
            if pressed or remark.kind != "missing"
        ],
    }


def _word_remarks(session: Session, model: str, reader: Reader) -> Iterator[Diagnostic]:
    """Texts with unknown words or too many tokens; then whole prompts that are too long only together."""
    try:
        asked = build_request(session, Edit(method=session.method, model=model), masked=False)
    except EditingError:  # said with the regions
        return
    too_long = {error.field for error in length_errors(asked.regions)}
    texts = ((field, text) for field, text in _texts(asked) if field not in too_long)
    wrong = [remark for field, text in texts for remark in _readable(field, text, reader, session)]
    yield from wrong
    if wrong or too_long:
        return
    whole = next(
        (key for key in ("prompt", "source_prompt") if getattr(session, key).strip()), "regions"
    )
    for prompt in asked.targets:
        for error in reader.too_long(whole, prompt):
            yield _remark(error, session)


def _texts(asked: EditRequest) -> Iterator[tuple[str, str]]:
    """The fields with a prompt; all lines of the one that may have several under one name."""
    read_source = uses(asked.method).source_prompt
    for field, text in asked.texts():
        if field == "prompt":
            yield field, "\n".join((text, *asked.more_prompts))
        elif field != "more_prompts" and (field != "source_prompt" or read_source):
            yield field, text


def _readable(field: str, text: str, reader: Reader, session: Session) -> Iterator[Diagnostic]:
    unknown = tuple(reader.unknown(text))
    messages = [_unknown(unknown)] if unknown else []
    messages += [
        error.message for line in text.split("\n") for error in reader.too_long(field, line)
    ][:1]
    if messages:
        yield _remark(PromptError(field, " ".join(messages)), session, words=unknown)


def _unknown(words: Sequence[Unknown]) -> str:
    if len(words) == 1:
        (word, near), *_ = words
        advice = f"Did you mean “{near[0]}”?" if near else "Use another word."
        return f"The built-in model does not know “{word}”. {advice}"
    listed = ", ".join(f"“{unknown.word}”" for unknown in words[:3]) + (" ..." if words[3:] else "")
    return f"The built-in model does not know {listed}. Use other words."


def _param_remarks(method: str, params: Mapping[str, object]) -> Iterator[Diagnostic]:
    """Each parameter that is out of range or cannot be read."""
    for name, value in params.items():
        try:
            check_params(method, {name: value})
        except EditingError as error:
            if (
                error.field == f"params.{name}"
            ):  # one that only conflicts with another's default is not wrong
                yield Diagnostic(error.field, error.message)


def _repeated(session: Session) -> Iterator[Diagnostic]:
    """Prompts of one run that are the same."""
    lines = [" ".join(line.split()).casefold() for line in session.prompt.split("\n")]
    repeated = [n for n, line in enumerate(lines) if line and lines.index(line) < n]
    if repeated and uses(session.method).several:
        number = repeated[0]
        message = f"Line {number + 1} repeats line {lines.index(lines[number]) + 1}"
        yield Diagnostic("prompt", f"{message}, so both edits will be the same.", kind="hint")


def _unbound(session: Session) -> Iterator[Diagnostic]:
    """Regions whose words replace nothing in what the clip shows, and are added at its end."""
    if uses(session.method).regions == "ignored" or session.prompt.strip():
        return
    regions = tuple(session.state.regions.values())
    missing = missing_phrases(session.source_prompt, "", regions)
    for region in regions:
        if not region.prompt.strip() or not session.source_prompt.strip():
            continue
        words = region.prompt.strip()[:60]
        if words.casefold() == region.source.strip().casefold():
            shown = f"“{words}” is what it is now, so nothing changes."
            yield Diagnostic(f"regions.{region.name}.prompt", shown, kind="hint")
        if not region.source.strip():
            message = f"Say what it is now. Without that, “{words}” is only added to the prompt."
        elif region.label in missing:
            message = (
                f"“The clip shows” does not say this, so “{words}” is only added to the prompt."
            )
        else:
            continue
        offers = tuple(_unclaimed(session.source_prompt, regions))[:_MOST_OFFERS]
        yield Diagnostic(f"regions.{region.name}.source", message, offers=offers, kind="hint")


def things(text: str) -> list[str]:
    """The nouns of a text that follow an article, each once, without places."""
    nouns = dict.fromkeys(thing["noun"].lower() for thing in _THING.finditer(text))
    return [noun for noun in nouns if not _PLACE.fullmatch(noun)]


def _unclaimed(source_prompt: str, regions: Iterable[Region]) -> Iterator[str]:
    """Things in what the clip shows that no region is said to be: an article, colours or sizes, one word."""
    spans = compose(
        source_prompt, source_prompt, [replace(r, prompt=r.source) for r in regions]
    ).spans
    claimed = [span for span in spans.values() if span]
    for thing in _THING.finditer(source_prompt):
        if not _PLACE.fullmatch(thing["noun"]) and all(
            thing.end() <= start or stop <= thing.start() for start, stop in claimed
        ):
            yield thing[0]


def _remark(
    error: EditingError, session: Session, kind: str = "wrong", words: tuple[Unknown, ...] = ()
) -> Diagnostic:
    """An error, at the field of the page that it is about."""
    field, text = error.field, error.message
    first = next(iter(session.state.regions.values()), None)
    if field == "regions" and first:
        field = f"regions.{first.name}.prompt"
        text = _SILENT if kind == "missing" else text
    return Diagnostic("prompt" if field == "more_prompts" else field, text, words, kind=kind)


def _order(session: Session) -> dict[str, int]:
    """Where each field is on the page, from the top; parameters come last."""
    keys = ("name", "source", "prompt", "negative", "mask", "margin", "strength")
    names = [region.name for region in session.state.regions.values()]
    cards = [f"regions.{name}.{key}" for name in names for key in keys]
    fields = ["clip", "source_prompt", "prompt", "regions", *cards, "negative_prompt", "method"]
    return {field: number for number, field in enumerate(fields)}
