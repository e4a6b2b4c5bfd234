"""The choices of a page: examples, models, LoRA files, adapters. Nothing else is opened
for a stranger."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from regrain.editing.errors import (
    EditingError,
    ModelError,
    RequestError,
    shorten,
    suggest,
)
from regrain.editing.models.files.facts import UNET, ModelFacts, facts_at, facts_of
from regrain.editing.models.files.hub import is_here, may_fetch
from regrain.editing.models.files.location import (
    BUILT_IN_CONTROL,
    BUILT_IN_FAST,
    BUILT_IN_MODEL,
    BUILT_IN_MOTION,
    ModelLocation,
    find,
    parse_lora,
)
from regrain.editing.models.files.lora_file import fast_lora, lora_facts
from regrain.editing.models.files.reader import Reader, open_reader
from regrain.editing.models.files.words import with_article
from regrain.editing.models.loading.load import local_models
from regrain.editing.models.pictures.picture_file import BUILT_IN, PictureFile, built_in
from regrain.editing.models.pictures.picture_heads import SEEING
from regrain.editing.params.registry import METHODS, OFFERS, find_method, resolve_params
from regrain.editing.params.written import read_control, split_weight
from regrain.editing.request.edit import Edit
from regrain.editing.request.edit_request import EditRequest
from regrain.editing.request.project import is_name
from regrain.editing.request.usual import lacking, usual_way
from regrain.editing.storage.folders import trouble
from regrain.editing.storage.local_models import local_entries, models_folder
from regrain.editing.verdict.crop_reader import reader_of
from regrain.ui.server.own_machine import is_own_machine
from regrain.ui.session.examples import Example, Examples
from regrain.ui.values.adapters import Entries, on_server
from regrain.ui.values.fields import Values
from regrain.ui.values.known_models import KNOWN

log = logging.getLogger(__name__)
BUILT_IN_TITLE = "Built-in (drawings only)"
_DRAWN = 4  # things that are offered below an empty field
# Where files of a field belong, of which there may be none.
_FOLDERS = {
    "loras": "$REGRAIN_MODELS/loras",
    "picture_adapter": "$REGRAIN_MODELS/pictures",
    "reader": "$REGRAIN_MODELS/readers",
}


class Catalogue:
    """The names of everything that can be chosen, and checks of what a browser sent.

    `examples` are in the order shown; `model_folder` holds the built-in model's
    recommendations and words.
    """

    def __init__(self, examples: Examples, model_folder: Path) -> None:
        self.examples = examples
        self._folder = model_folder
        self.groups = self._facts(BUILT_IN_MODEL).groups or {}
        self._first = _signature()

    @property
    def changed(self) -> bool:
        """Whether other files are here than when the page was made."""
        return _signature() != self._first

    @property
    def models(self) -> list[str]:
        """Models: the built-in one, those of $REGRAIN_MODELS, known ones of the hub that
        were fetched."""
        known = (one.id for one in KNOWN if may_fetch(one.id) and is_here(one.id))
        return [BUILT_IN_MODEL, *_here().models, *known]

    @property
    def loras(self) -> list[str]:
        """LoRA files."""
        return _here().loras

    @property
    def motions(self) -> list[str]:
        """Motion adapters."""
        return [BUILT_IN_MOTION, *_here().motions]

    @property
    def pictures(self) -> list[str]:
        """Picture adapters."""
        first = [BUILT_IN] if built_in().is_file() else []
        return [*first, *_here().pictures]

    @property
    def readers(self) -> list[str]:
        """CLIP models that look at results."""
        first = filter(None, [reader_of("", BUILT_IN_MODEL)])
        return [*first, *_here().readers]

    @property
    def controls(self) -> list[str]:
        """Control networks."""
        return [BUILT_IN_CONTROL, *_here().controls]

    @property
    def adapters(self) -> Entries:
        """Tuned models, by key."""
        return _here().adapters

    @property
    def model_choices(self) -> list[tuple[str, str]]:
        """The models as the page calls them, with their ids."""
        return [
            (BUILT_IN_TITLE if id == BUILT_IN_MODEL else id, id) for id in self.models
        ]

    def example(self, name: object) -> Example:
        """Look an example up; a RequestError if there is none of that name."""
        if not isinstance(name, str) or name not in self.examples:
            raise _not_found("example", name, [*self.examples])
        return self.examples[name]

    def model(self, name: object) -> str:
        """Check the choice of a model: one that is offered, the id of one that was
        fetched from the hub, a path on one's own machine. Nothing is downloaded.

        Raises:
            RequestError: It is not here.
            ModelError: It is a file that is damaged, or a path to no model.
        """
        id = str(name)
        if id in self.models:
            if id.lower().endswith(".safetensors"):
                _ = facts_of(id).head
        elif self.lacks_files(id):
            said = f"{shorten(id)} is not on this machine yet."
            raise RequestError("model", f"{said} Fetch it by Get a model on the page.")
        elif is_own_machine() and os.path.isabs(id):
            head = facts_of(id).head
            if head:
                head.check_whole()
        elif not _is_of_hub(id):
            raise _not_found("model", name, self.models)
        return id

    def is_usable(self, name: object) -> bool:
        """Tell whether a model may be chosen; see `model`."""
        try:
            self.model(name)
        except EditingError:
            return False
        return True

    def lacks_files(self, name: object) -> bool:
        """Tell whether a model is one of the hub that may be fetched and was not."""
        return _is_of_hub(str(name)) and not is_here(str(name))

    def _facts(self, model: str) -> ModelFacts:
        if model == BUILT_IN_MODEL:
            return facts_at(ModelLocation("folder", str(self._folder)), model)
        return facts_of(model)

    def is_silent(self, model: object) -> bool:
        """Tell whether a model on this machine does not say what it predicts."""
        if model == BUILT_IN_MODEL or not self.is_usable(model):
            return False
        try:
            return facts_of(str(model)).is_silent
        except ModelError:  # a run says what is wrong with it
            return False

    def reader(self, model: str) -> Reader:
        """Return how an offered model reads prompts; a ModelError if its files cannot
        be read."""
        return open_reader(self._facts(model))

    def values(
        self,
        method: str,
        model: str,
        given: Values,
        loras: Sequence[str] = (),
    ) -> dict[str, Any]:
        """Return every parameter as a run of a model with these LoRA files would have
        it; an EditingError if one is wrong."""
        usual = self._facts(model).recommended(loras)
        return resolve_params(method, given, usual.get(method, {}))[0].model_dump()

    def loras_of(self, added: Sequence[str]) -> list[str]:
        """Return the LoRA files among what is added to a model, with their weights."""
        known = [*self.loras, BUILT_IN_FAST]
        return [text for text in added if split_weight(text)[0] in known]

    def check_lora(self, name: str, model: str) -> None:
        """Refuse a LoRA that reads another text than a model.

        Raises:
            ModelError: It does, or is damaged.
        """
        own = lora_facts(name).text_width
        wide = self._wide(model)
        if own and wide and own != wide:
            raise ModelError(
                "loras",
                f"{shorten(name)} was made for models whose text is {own} wide; that of {shorten(model)} is "
                f"{wide}. Choose such a model, then add it.",
            )

    def guesses(self, asked: Edit) -> list[str]:
        """Say what a model, with its LoRA files, may be; see `ModelFacts.guesses`."""
        return self._facts(asked.model).guesses(self.loras_of(asked.loras))

    def seeing(self, model: str, method: str, chosen: str = "") -> str:
        """Return the picture adapter that is chosen, or else the first that fits a
        model, or else the first; empty without any, or if the method sees pictures by
        itself."""
        if find_method(method).sees_pictures:
            return ""
        if chosen:
            return chosen
        fitting = self._fitting(self._wide(model))
        return next(iter([*fitting, *self.pictures]), "")

    def blind(self, model: str, method: str) -> str:
        """Return what to say where a model sees no pictures; empty if it does, or the
        method does by itself.

        Raises as `reader` does.
        """
        if METHODS[method].sees_pictures:
            return ""
        wide = self._wide(model)
        if self._fitting(wide):
            return ""
        if wide is None or wide in SEEING:
            return (
                "No picture adapter for this model is here. Put an IP-Adapter and its "
                f"image_encoder/ into {_FOLDERS['picture_adapter']}."
            )
        family = self._facts(model).family
        if family and "vace" in family.offers:
            return "With this model, the method VACE looks at pictures."
        return "This model cannot look at pictures. Stable Diffusion 1.5 and SDXL can."

    def instructs(self, model: str) -> bool:
        """Tell whether a model is told what to do, not what is seen in the end: the
        published ones that see the source are taught instructions.

        Raises as `reader` does.
        """
        family = self._facts(model).family
        return bool(family and "source" in family.offers)

    def drawn(self, model: str) -> list[str] | None:
        """Return some things that a model can draw, the best drawn first; None where
        that is not known, of all but the built-in one."""
        if model != BUILT_IN_MODEL:
            return None
        return [with_article(kind) for kind in self.groups.get("Kinds", ())][:_DRAWN]

    def lacks(self, model: str) -> dict[str, str]:
        """Say of each method that a model cannot be used with why not; empty where its
        family is not known."""
        facts = self._facts(model)
        reasons = {}
        for name, method in METHODS.items():
            # of what is added where the method is chosen, too
            family = facts.family_with(usual_way(model, name).loras)
            if family and (absent := lacking(name, family)):
                needed = " and ".join(OFFERS[offer] for offer in sorted(absent))
                reasons[name] = f"“{method.title}” needs {needed}."
        return reasons

    def _wide(self, model: str) -> int | None:
        """Return how wide the text of a model is that looks at pictures; 0 of others,
        None if not known."""
        facts = self._facts(model)
        if (facts.folder / UNET).is_file():
            return int(facts.config(UNET).get("cross_attention_dim") or 0)
        return 0 if facts.is_video else None

    def _fitting(self, wide: int | None) -> list[str]:
        if wide is None:  # then it is not the built-in model
            return [name for name in self.pictures if name != BUILT_IN]
        return [name for name in self.pictures if _text_width(name) == wide]

    def check(self, request: EditRequest) -> None:
        """Refuse weights beside the model that are not offered: a project may name any.

        Raises:
            RequestError: It names some.
        """
        for text in request.loras:
            name = parse_lora(text).model
            if name != fast_lora(request.model):  # it comes with the model
                _check_offered("loras", name, self.loras)
        if request.motion:
            name = parse_lora(request.motion, "motion", 0.0).model
            _check_offered("motion", name, self.motions)
        if request.picture_adapter:
            _check_offered("picture_adapter", request.picture_adapter, self.pictures)
        if request.reader:
            _check_offered("reader", request.reader, self.readers)
        for spec in read_control(request.params.get("control")):
            _check_offered("params.control", spec.model, self.controls)


def _is_of_hub(id: str) -> bool:
    """Tell whether a model is one of the hub that may be fetched here."""
    with suppress(ModelError):
        return may_fetch(id) and find(id).kind == "hub"
    return False


@dataclass(frozen=True)
class _Here:
    """The names of what is in $REGRAIN_MODELS, by kind."""

    models: list[str]
    loras: list[str]
    motions: list[str]
    pictures: list[str]
    readers: list[str]
    controls: list[str]
    adapters: Entries


def _here() -> _Here:
    """Return what is in $REGRAIN_MODELS now: it is read anew when it has changed."""
    return _read(_signature())


@lru_cache(1)
def _read(signature: tuple[object, ...]) -> _Here:
    local = _named_entries()
    return _Here(
        models=[name for name in local_models() if is_name(name)],
        loras=_added(local, "loras", "*.safetensors"),
        motions=_added(local, "motion", "*.safetensors", "*/"),
        pictures=_added(local, "pictures", "*.safetensors"),
        readers=_added(local, "readers", "*/"),
        controls=[e.name for e in local if (e / "config.json").is_file()],
        adapters=on_server(),
    )


def _signature() -> tuple[object, ...]:
    """Return what tells that the folder has changed: the times of its entries."""
    seen: list[object] = [models_folder()]
    for entry in local_entries():
        with suppress(OSError):
            seen.append((entry.name, entry.stat().st_mtime_ns))
    return tuple(seen)


def _check_offered(field: str, name: str, known: list[str]) -> None:
    if name not in known:
        raise _not_found(field, name, known)


def _added(local: list[Path], folder: str, *patterns: str) -> list[str]:
    """Return the files of a kind in one folder of $REGRAIN_MODELS, as a project names
    them."""
    names = set()
    for entry in local:
        if entry.name == folder:
            for pattern in patterns:
                names |= {
                    file.name.removesuffix(".safetensors")
                    for file in entry.glob(pattern)
                    if not trouble(file)
                }
    return sorted(f"{folder}/{name}" for name in names if is_name(name))


def _text_width(adapter: str) -> int:
    """Return how wide the text is of models that a picture adapter fits; 0 if it cannot
    be read."""
    try:
        return PictureFile(adapter, fetch=False).cross
    except EditingError:
        return 0


def _not_found(field: str, name: object, known: list[str]) -> RequestError:
    shown = f"{str(name)[:60]!r} was not found"
    if not known and field in _FOLDERS:
        return RequestError(field, f"{shown}. Put it into {_FOLDERS[field]}.")
    return RequestError(field, f"{shown}. {suggest(str(name), known)}")


def _named_entries() -> list[Path]:
    """Return the entries of $REGRAIN_MODELS that a project file could name."""
    entries = []
    for entry in local_entries():
        if is_name(entry.name):
            entries.append(entry)
        else:
            allowed = "letters, digits, '.', '_' and '-'"
            log.warning(
                "%r is left out: a model's name may hold %s", entry.name, allowed
            )
    return entries
