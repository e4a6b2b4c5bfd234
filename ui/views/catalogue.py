"""The choices of a page: examples, models, LoRA files, adapters. Nothing else is opened
for a stranger."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from regrain.editing.errors import EditingError, RequestError, suggest
from regrain.editing.models.files.configs import read_config
from regrain.editing.models.files.location import (
    BUILT_IN_MODEL,
    BUILT_IN_MOTION,
    ModelLocation,
    find,
    parse_lora,
)
from regrain.editing.models.files.offers import family_of
from regrain.editing.models.files.picture_heads import PUBLISHED, SEEING
from regrain.editing.models.files.reader import Reader, open_reader
from regrain.editing.models.files.words import read_groups
from regrain.editing.models.loading.load import local_models
from regrain.editing.models.pictures.picture_file import BUILT_IN, PictureFile, built_in
from regrain.editing.params.registry import METHODS, OFFERS
from regrain.editing.params.written import read_control, split_weight
from regrain.editing.pipeline.estimate import configurations
from regrain.editing.request.edit_request import EditRequest
from regrain.editing.request.project import is_name
from regrain.editing.storage.local_models import local_entries, models_folder
from regrain.ui.session.adapters import Entry, on_server
from regrain.ui.session.examples import Example
from regrain.ui.views import settings

log = logging.getLogger(__name__)
BUILT_IN_TITLE = "Built-in (drawings only)"
_BUILT_IN_CONTROL = "storybook/canny"
# Where files of a field belong, of which there may be none.
_FOLDERS = {
    "loras": "$REGRAIN_MODELS/loras",
    "picture_adapter": "$REGRAIN_MODELS/pictures",
}


class Catalogue:
    """The names of everything that can be chosen, and checks of what a browser sent.

    `examples` are in the order shown; `model_folder` holds the built-in model's
    recommendations and words.
    """

    def __init__(self, examples: Mapping[str, Example], model_folder: Path) -> None:
        self.examples = examples
        self._folder = model_folder
        self.groups = read_groups(model_folder) or {}
        self.models = [BUILT_IN_MODEL, *filter(is_name, local_models())]
        local = _named_entries()
        self.loras = _added(local, "loras", "*.safetensors")
        self.motions = [
            BUILT_IN_MOTION,
            *_added(local, "motion", "*.safetensors", "*/"),
        ]
        self.pictures = _added(local, "pictures", "*.safetensors")
        if built_in().is_file():
            self.pictures.insert(0, BUILT_IN)
        networks = [entry.name for entry in local if (entry / "config.json").is_file()]
        self.controls = [_BUILT_IN_CONTROL, *networks]
        self.adapters: dict[str, Entry] = on_server()

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
        """Check the choice of a model, a RequestError if it is not offered; nothing is
        downloaded."""
        if name not in self.models:
            raise _not_found("model", name, self.models)
        return str(name)

    def add(self, kind: Literal["models", "motions", "pictures"], id: str) -> None:
        """Offer what has been fetched from the hub."""
        known = getattr(self, kind)
        if id not in known:
            setattr(self, kind, [*known, id])

    def reader(self, model: str) -> Reader:
        """Return how an offered model reads prompts; a ModelError if its files cannot
        be read."""
        built_in = ModelLocation("folder", str(self._folder))
        return open_reader(built_in if model == BUILT_IN_MODEL else find(model))

    def values(
        self,
        method: str,
        model: str,
        given: Mapping[str, object],
        loras: Sequence[str] = (),
    ) -> dict[str, Any]:
        """Return every parameter as a run of a model with these LoRA files would have
        it; an EditingError if one is wrong."""
        folder = (
            self._folder
            if model == BUILT_IN_MODEL
            else (models_folder() or Path()) / model
        )
        return settings.values(method, folder, given, loras)

    def loras_of(self, added: Sequence[str]) -> list[str]:
        """Return the LoRA files among what is added to a model, with their weights."""
        return [text for text in added if split_weight(text)[0] in self.loras]

    def seeing(self, model: str) -> str:
        """Return the first picture adapter that fits a model, else the first; empty
        without any."""
        fitting = self._fitting(self._wide(model))
        return next(iter([*fitting, *self.pictures]), "")

    def blind(self, model: str) -> dict[str, str]:
        """Return what to say where a model sees no pictures, and what to ask the hub;
        empty if it does.

        Raises as `reader` does.
        """
        wide = self._wide(model)
        if self._fitting(wide):
            return {}
        if wide is None or wide in SEEING:
            return {
                "text": "No picture adapter for this model is here.",
                "ask": PUBLISHED,
            }
        text = "This model cannot look at pictures. Stable Diffusion 1.5 and SDXL can."
        return {"text": text, "ask": ""}

    def lacks(self, model: str) -> dict[str, str]:
        """Say of each method that a model cannot be used with why not; empty where its
        family is not known."""
        place = ModelLocation("folder", str(self._folder))
        family = family_of(place if model == BUILT_IN_MODEL else find(model))
        if family is None:
            return {}
        reasons = {}
        for name, method in METHODS.items():
            lacking = (method.needs & set(OFFERS)) - set(family.offers)
            if lacking:
                needed = " and ".join(OFFERS[offer] for offer in sorted(lacking))
                reasons[name] = f"“{method.title}” needs {needed}."
        return reasons

    def _wide(self, model: str) -> int | None:
        """Return how wide the text of a model is that looks at pictures; 0 of others,
        None if not known."""
        place = self._folder if model == BUILT_IN_MODEL else configurations(find(model))
        if place is None:
            return None
        unet = place / "unet" / "config.json"
        if unet.is_file():
            return int(read_config(unet, model).get("cross_attention_dim") or 0)
        return 0 if (place / "transformer").is_dir() else None

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
            _check_offered("loras", parse_lora(text).model, self.loras)
        if request.motion:
            name = parse_lora(request.motion, "motion", 0.0).model
            _check_offered("motion", name, self.motions)
        if request.picture_adapter:
            _check_offered("picture_adapter", request.picture_adapter, self.pictures)
        for spec in read_control(request.params.get("control")):
            _check_offered("params.control", spec.model, self.controls)


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
