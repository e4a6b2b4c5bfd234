"""What a page may choose: examples, methods, models, LoRA files. Nothing else is opened for a stranger."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from regrain.editing.errors import EditingError, RequestError, suggest
from regrain.editing.models.files.configs import read_config
from regrain.editing.models.files.location import ModelLocation, find, parse_lora
from regrain.editing.models.files.picture_heads import PUBLISHED, SEEING
from regrain.editing.models.files.reader import Reader, open_reader
from regrain.editing.models.files.words import read_groups
from regrain.editing.models.loading.load import on_shelf
from regrain.editing.models.pictures.picture_file import BUILT_IN, PictureFile, built_in
from regrain.editing.params.written import read_control
from regrain.editing.pipeline.estimate import configurations
from regrain.editing.request.edit_request import EditRequest
from regrain.editing.request.project import is_name
from regrain.editing.storage.local_models import local_entries, models_folder
from regrain.ui.session.adapters import Entry, on_server
from regrain.ui.session.clips import BUILT_IN_MOTION
from regrain.ui.session.examples import Example
from regrain.ui.views import settings

log = logging.getLogger(__name__)
BUILT_IN_MODEL, BUILT_IN_TITLE = "storybook", "Built-in (drawings only)"
_BUILT_IN_CONTROL = "storybook/canny"
_FOLDERS = {
    "loras": "$REGRAIN_MODELS/loras",
    "picture_adapter": "$REGRAIN_MODELS/pictures",
}  # may be empty


def moving(model: object, asked: str) -> str:
    """A motion adapter that was asked for, unless it is the built-in model's and the model is another."""
    own = asked.partition("@")[0] == BUILT_IN_MOTION
    return "" if own and model != BUILT_IN_MODEL else asked


class Catalogue:
    """What can be chosen, and checks of what a browser sent.

    `examples` are in the order shown; `model_folder` holds the built-in model's recommendations and words.
    """

    def __init__(self, examples: Mapping[str, Example], model_folder: Path) -> None:
        self.examples, self._folder = examples, model_folder
        self.groups = read_groups(model_folder) or {}
        shelf = _shelf()
        self.models = [BUILT_IN_MODEL, *filter(is_name, on_shelf())]
        self.loras = _added(shelf, "loras", "*.safetensors")
        motions = {*_added(shelf, "motion", "*.safetensors"), *_added(shelf, "motion", "*/")}
        self.motions = [BUILT_IN_MOTION, *sorted(motions)]
        own = [BUILT_IN] if built_in().is_file() else []
        self.pictures = [*own, *_added(shelf, "pictures", "*.safetensors")]
        networks = [entry.name for entry in shelf if (entry / "config.json").is_file()]
        self.controls = [_BUILT_IN_CONTROL, *networks]
        self.adapters: dict[str, Entry] = on_server()

    @property
    def model_choices(self) -> list[tuple[str, str]]:
        """The models as they are called on the page, with their ids."""
        return [(BUILT_IN_TITLE if id == BUILT_IN_MODEL else id, id) for id in self.models]

    def example(self, name: object) -> Example:
        """Look an example up; a RequestError if there is none of that name."""
        if not isinstance(name, str) or name not in self.examples:
            raise _not_found("example", name, [*self.examples])
        return self.examples[name]

    def model(self, name: object) -> str:
        """Check the choice of a model, a RequestError if it is not offered; nothing is downloaded."""
        if name not in self.models:
            raise _not_found("model", name, self.models)
        return str(name)

    def add(self, kind: Literal["models", "motions", "pictures"], id: str) -> None:
        """Offer what has been fetched from the hub."""
        known = getattr(self, kind)
        if id not in known:
            setattr(self, kind, [*known, id])

    def reader(self, model: str) -> Reader:
        """How a model that is offered reads prompts; a ModelError if its files cannot be read."""
        built_in = ModelLocation("folder", str(self._folder))
        return open_reader(built_in if model == BUILT_IN_MODEL else find(model))

    def values(self, method: str, model: str, given: Mapping[str, object]) -> dict[str, Any]:
        """Every parameter as a run of a model would have it; an EditingError if one given is wrong."""
        folder = self._folder if model == BUILT_IN_MODEL else (models_folder() or Path()) / model
        return settings.values(method, folder, given)

    def seeing(self, model: str) -> str:
        """The first picture adapter that fits a model, else the first; empty without any."""
        return next(iter([*self._fitting(self._wide(model)), *self.pictures]), "")

    def blind(self, model: str) -> dict[str, str]:
        """What to say where a model sees no pictures, and what to ask the hub; raises as `reader` does."""
        if self._fitting(wide := self._wide(model)):
            return {}
        if wide is None or wide in SEEING:
            return {"text": "No picture adapter for this model is here.", "ask": PUBLISHED}
        return {
            "text": "This model cannot look at pictures. Stable Diffusion 1.5 and SDXL can.",
            "ask": "",
        }

    def _wide(self, model: str) -> int | None:
        """How wide the text of a model is that looks at pictures; 0 of others, None where it is not known."""
        place = self._folder if model == BUILT_IN_MODEL else configurations(find(model))
        if place is None or not (place / "unet" / "config.json").is_file():
            return 0 if place and (place / "transformer").is_dir() else None
        return int(
            read_config(place / "unet" / "config.json", model).get("cross_attention_dim") or 0
        )

    def _fitting(self, wide: int | None) -> list[str]:
        if wide is None:  # then it is not the built-in model
            return [name for name in self.pictures if name != BUILT_IN]
        return [name for name in self.pictures if _text_width(name) == wide]

    def check(self, request: EditRequest) -> None:
        """A RequestError if weights beside the model are not offered: a project may name any."""
        for text in request.loras:
            if (name := parse_lora(text).model) not in self.loras:
                raise _not_found("loras", name, self.loras)
        if (
            request.motion
            and (name := parse_lora(request.motion, "motion", 0.0).model) not in self.motions
        ):
            raise _not_found("motion", name, self.motions)
        if (name := request.picture_adapter) and name not in self.pictures:
            raise _not_found("picture_adapter", name, self.pictures)
        for spec in read_control(request.params.get("control")):
            if spec.model not in self.controls:
                raise _not_found("params.control", spec.model, self.controls)


def _added(shelf: list[Path], folder: str, pattern: str) -> list[str]:
    """What one folder of $REGRAIN_MODELS holds of a kind, as a project names it."""
    files = [file for entry in shelf if entry.name == folder for file in entry.glob(pattern)]
    names = [file.name.removesuffix(".safetensors") for file in files]
    return sorted(f"{folder}/{name}" for name in names if is_name(name))


def _text_width(adapter: str) -> int:
    """How wide the text is of models that a picture adapter fits; 0 if it cannot be read."""
    try:
        return PictureFile(adapter, fetch=False).cross
    except EditingError:
        return 0


def _not_found(field: str, name: object, known: list[str]) -> RequestError:
    if not known and field in _FOLDERS:
        return RequestError(
            field, f"{str(name)[:60]!r} was not found. Put it into {_FOLDERS[field]}."
        )
    return RequestError(field, f"{str(name)[:60]!r} was not found. {suggest(str(name), known)}")


def _shelf() -> list[Path]:
    """What the folder $REGRAIN_MODELS holds, as far as a project file could name it."""
    entries = local_entries()
    for name in (entry.name for entry in entries if not is_name(entry.name)):
        log.warning(
            "%r is left out: a model's name may hold letters, digits, '.', '_' and '-'", name
        )
    return [entry for entry in entries if is_name(entry.name)]
