"""Faults of a page's words and settings, as far as they are known without a model.

One function, `check`, answers while somebody types and again when a run begins. The
request itself says what may be run: see `editing.request.edit_request`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from regrain.editing.errors import EditingError, PromptError
from regrain.editing.models.files.reader import Reader
from regrain.editing.models.files.words import Unknown
from regrain.editing.params.phrases import WORD
from regrain.editing.params.registry import check_params
from regrain.editing.request.compose import compose
from regrain.editing.request.edit import Edit
from regrain.editing.request.edit_request import EditRequest
from regrain.editing.request.region import Region
from regrain.editing.request.runnable import check_runnable
from regrain.editing.request.usual import picture_doubts
from regrain.ui.session.build_request import build_request, length_errors, region_errors
from regrain.ui.session.session import Session
from regrain.ui.values.fields import Values
from regrain.ui.values.method_choice import uses
from regrain.ui.views.shown import ChecksView, Remark, UnknownWord

_MOST = 40  # of unknown words that are sent
_MOST_OFFERS = 3
# Fields of the page, from the top, and those of a region's card below them.
_ABOVE = ("clip", "source_prompt", "prompt", "regions")
_OF_CARD = ("name", "source", "prompt", "negative", "mask", "margin", "strength")
_SILENT = "Write under “Make it” what one of the regions should become."
_SAME = "Every region stays what it is, so there is nothing to edit. Write what one of them should become."
_QUALITIES = (
    "red|orange|yellow|green|blue|purple|violet|pink|brown|black|white|grey|gray|golden|silver|blond|dark|"
    "light|bright|big|large|huge|small|little|tiny|tall|short|long|old|young|new"
)
_THING = re.compile(
    rf"\b(?:a|an|the|another)\s+(?:(?:{_QUALITIES})\s+)*(?P<noun>{WORD})", re.I
)
_PLACE = re.compile(
    "left|right|top|bottom|front|back|background|foreground|middle|cent(?:re|er)|side",
    re.I,
)


@dataclass(frozen=True)
class Diagnostic:
    """A remark at a field."""

    field: str  # as the request names it, such as `regions.left.prompt`
    text: str  # the fault, then what to do
    words: tuple[Unknown, ...] = ()  # words of the field that the model does not know
    offers: tuple[str, ...] = ()  # texts to put into the field with a click
    # "wrong" keeps a run from beginning, and so does "missing", said when one was
    # wanted; "hint" does not
    kind: str = "wrong"

    @property
    def hint(self) -> bool:
        """True if a run may begin all the same."""
        return self.kind == "hint"


def check(
    session: Session, reader: Reader, asked: Edit, guesses: Sequence[str] = ()
) -> list[Diagnostic]:
    """List the faults, and hints, in the order of the page; `asked` is as its fields
    have it, `guesses` is said of its model."""
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
    if guesses:
        found.append(Diagnostic("model", " ".join(guesses), kind="hint"))
    doubts = picture_doubts(asked, session.state.regions.values())
    found += [Diagnostic("method", doubt, kind="hint") for doubt in doubts]
    if not any(remark.kind == "wrong" for remark in found):
        try:  # the first thing that the request itself refuses
            check_runnable(build_request(session, asked, masked=False))
        except EditingError as error:
            nothing = error.field in ("regions", "prompt", "source_prompt")
            found.append(_remark(error, session, "missing" if nothing else "wrong"))
        found += _unchanged(session)
    # At each field; what is missing is said once a run is wanted, so it hides nothing.
    gravest: dict[tuple[str, bool], Diagnostic] = {}
    for remark in sorted(found, key=lambda remark: remark.hint):
        gravest.setdefault((remark.field, remark.kind == "missing"), remark)
    # In their order on the page, from the top; parameters come last.
    names = [region.name for region in session.state.regions.values()]
    cards = [f"regions.{name}.{key}" for name in names for key in _OF_CARD]
    order = [*_ABOVE, *cards, "negative_prompt", "method"]
    return sorted(
        gravest.values(),
        key=lambda remark: (
            order.index(remark.field) if remark.field in order else len(order)
        ),
    )


def first_wrong(remarks: Iterable[Diagnostic]) -> Diagnostic | None:
    """Return the uppermost remark that keeps a run from beginning."""
    return next((remark for remark in remarks if not remark.hint), None)


def view(
    remarks: Sequence[Diagnostic], pressed: int = 0, kinds: Sequence[str] = ()
) -> ChecksView:
    """Return the remarks as the page marks them, with `kinds` in place of a word that
    is like none.

    `pressed` counts attempts to run: after one, missing things are said as well, and
    the first field focused.
    """
    wrong = first_wrong(remarks) if pressed else None
    said = []
    for remark in remarks:
        if pressed or remark.kind != "missing":
            words = [
                UnknownWord(word, [*(near or kinds)])
                for word, near in remark.words[:_MOST]
            ]
            offers = [*remark.offers]
            said.append(Remark(remark.field, remark.text, remark.hint, offers, words))
    return ChecksView(pressed, wrong.field if wrong else "", said)


def _word_remarks(session: Session, model: str, reader: Reader) -> Iterator[Diagnostic]:
    """Yield texts with unknown words or too many tokens; or else whole prompts that are
    too long together."""
    try:
        asked = build_request(
            session, Edit(method=session.method, model=model), masked=False
        )
    except EditingError:  # said with the regions
        return
    too_long = {error.field for error in length_errors(asked.regions)}
    wrong = list[Diagnostic]()
    for field, text in _texts(asked):
        if field not in too_long:
            wrong += _readable(field, text, reader, session)
    yield from wrong
    if wrong or too_long:
        return
    if session.prompt.strip():
        whole = "prompt"
    elif session.source_prompt.strip():
        whole = "source_prompt"
    else:
        whole = "regions"
    for prompt in asked.targets:
        for error in reader.too_long(whole, prompt):
            yield _remark(error, session)


def _texts(asked: EditRequest) -> Iterator[tuple[str, str]]:
    """Yield the fields with a prompt that is read; all lines of the one that may have
    several as one text."""
    unread = ["more_prompts"]  # which are lines of "prompt"
    if not uses(asked.method).source_prompt:
        unread.append("source_prompt")
    for field, text in asked.texts():
        if field == "prompt":
            yield field, "\n".join((text, *asked.more_prompts))
        elif field not in unread:
            yield field, text


def _readable(
    field: str, text: str, reader: Reader, session: Session
) -> Iterator[Diagnostic]:
    unknown = tuple(reader.unknown(text))
    messages = [_unknown(unknown)] if unknown else []
    too_long = (
        error for line in text.split("\n") for error in reader.too_long(field, line)
    )
    if first := next(too_long, None):
        messages.append(first.message)
    if messages:
        # Of a real clip the page asks for another model before words matter.
        later = unknown and not first and not session.opened.drawn
        kind = "missing" if later else "wrong"
        error = PromptError(field, " ".join(messages))
        yield _remark(error, session, kind, unknown)


def _unknown(words: Sequence[Unknown]) -> str:
    if len(words) == 1:
        word, near = words[0]
        advice = f"Did you mean “{near[0]}”?" if near else "Use another word."
        return f"The built-in model does not know “{word}”. {advice}"
    listed = ", ".join(f"“{unknown.word}”" for unknown in words[:3])
    more = " ..." if len(words) > 3 else ""
    return f"The built-in model does not know {listed}{more}. Use other words."


def _param_remarks(method: str, params: Values) -> Iterator[Diagnostic]:
    """Yield each parameter that is out of range or cannot be read."""
    for name, value in params.items():
        try:
            check_params(method, {name: value})
        except EditingError as error:
            # One that only conflicts with another's default is not wrong.
            if error.field == f"params.{name}":
                yield Diagnostic(error.field, error.message)


def _repeated(session: Session) -> Iterator[Diagnostic]:
    """Yield a hint at the first of the run's prompts that repeats another."""
    if not uses(session.method).several:
        return
    seen: dict[str, int] = {}
    for number, line in enumerate(session.prompt.split("\n"), 1):
        words = " ".join(line.split()).casefold()
        if words in seen:
            message = f"Line {number} repeats line {seen[words]}"
            yield Diagnostic(
                "prompt", f"{message}, so both edits will be the same.", kind="hint"
            )
            return
        if words:
            seen[words] = number


def _unchanged(session: Session) -> Iterator[Diagnostic]:
    """Yield a remark if all words of the regions say what they are already, and nothing
    else is edited."""
    if uses(session.method).regions == "ignored" or session.prompt.strip():
        return
    written = [one for one in session.state.regions.values() if one.prompt.strip()]
    if not written or any(one.picture for one in session.state.regions.values()):
        return
    for region in written:
        if region.prompt.strip().casefold() != region.source.strip().casefold():
            return
    yield Diagnostic(f"regions.{written[0].name}.prompt", _SAME, kind="missing")


def _unbound(session: Session) -> Iterator[Diagnostic]:
    """Yield hints at regions whose words replace nothing in the source prompt, and are
    added at its end; or, where nothing is said of the clip, stand for what it shows."""
    if uses(session.method).regions == "ignored" or session.prompt.strip():
        return
    is_told = bool(session.source_prompt.strip())
    if not is_told and not uses(session.method).source_prompt:
        return
    becomes = (
        "is only added to the prompt" if is_told else "is taken for what the clip shows"
    )
    regions = tuple(session.state.regions.values())
    missing = compose(session.source_prompt, "", regions).missing
    for region in regions:
        words = region.prompt.strip()[:60]
        if not words:
            continue
        if words.casefold() == region.source.strip().casefold():
            shown = f"“{words}” is what it is now, so nothing changes."
            yield Diagnostic(f"regions.{region.name}.prompt", shown, kind="hint")
        if not region.source.strip():
            message = f"Say what it is now. Without that, “{words}” {becomes}."
        elif region.label in missing:
            message = f"“The clip shows” does not say this, so “{words}” is only added to the prompt."
        else:
            continue
        offers = tuple(_unclaimed(session.source_prompt, regions))[:_MOST_OFFERS]
        yield Diagnostic(
            f"regions.{region.name}.source", message, offers=offers, kind="hint"
        )


def _unclaimed(source_prompt: str, regions: Iterable[Region]) -> Iterator[str]:
    """Yield things of the source prompt that no region claims: an article, colours or
    sizes, one word."""
    unchanged = [replace(region, prompt=region.source) for region in regions]
    spans = compose(source_prompt, source_prompt, unchanged).spans
    claimed = [span for span in spans.values() if span]
    for thing in _THING.finditer(source_prompt):
        free = all(
            thing.end() <= start or stop <= thing.start() for start, stop in claimed
        )
        if free and not _PLACE.fullmatch(thing["noun"]):
            yield thing[0]


def _remark(
    error: EditingError,
    session: Session,
    kind: str = "wrong",
    words: tuple[Unknown, ...] = (),
) -> Diagnostic:
    """Place an error at the field of the page that it is about."""
    field = error.field
    text = error.message
    first = next(iter(session.state.regions.values()), None)
    if field == "more_prompts":
        field = "prompt"
    elif field == "regions" and first:
        field = f"regions.{first.name}.prompt"
        if kind == "missing":
            text = _SILENT
    return Diagnostic(field, text, words, kind=kind)
