"""Facts of a model from its files, before anything is loaded: each file is opened once,
when it is first asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from regrain.editing.errors import ModelError, shorten
from regrain.editing.models.files.config_keys import (
    check_index,
    check_known,
    check_text_encoder,
    class_in_index,
    unused_parts,
)
from regrain.editing.models.files.configs import (
    check_config,
    read_defaults,
    read_json,
)
from regrain.editing.models.files.file_head import (
    CHECKPOINTS,
    FileHead,
    read_head,
)
from regrain.editing.models.files.location import ModelLocation, find
from regrain.editing.models.files.lora_file import lora_facts
from regrain.editing.models.files.offers import (
    Family,
    family_of_configs,
    reading,
)
from regrain.editing.models.files.schedulers import (
    GUIDED_LCM,
    Defaults,
    FewStep,
    OtherScheduler,
    by_name,
    by_scheduler,
    other_scheduler,
    proposed,
)
from regrain.editing.models.files.wan_file import WanFiles, config_of, read_wan
from regrain.editing.models.files.words import Words, read_groups, split_words
from regrain.editing.storage.fetching import cached
from regrain.editing.storage.safetensors_files import state_of, weight_files
from regrain.editing.storage.texts import Json

INDEX = "model_index.json"
UNET, TRANSFORMER = "unet/config.json", "transformer/config.json"
EXPERTS = ("transformer", "transformer_2")
"""Folders of the networks of Wan 2.2: for high noise, and for low noise."""
LEVELS = "scheduler/scheduler_config.json"


class ModelFacts:
    """Facts of a model that was found.

    Attributes:
        id: The model's id, for messages and for its name.
        source: Where it is.
        weights: The file or folder of its weights.
    """

    def __init__(self, id: str, source: ModelLocation, place: Path) -> None:
        self.id = id
        self.source = source
        self.weights = place
        self._read: Json = {}

    @cached_property
    def folder(self) -> Path:
        """The folder of its configurations; of a single file those of its version. One
        on the hub that was not fetched has none there."""
        return CHECKPOINTS / self.head.version if self.head else self.weights

    def _content(self, name: str) -> Any:
        """Return the content of a JSON file of the folder; a ModelError if it cannot be
        read."""
        if name not in self._read:
            part, _, file = name.partition("/")
            if file == "config.json" and part in self.files:
                found = self._config_of(part)
            else:
                found = read_json(self.folder / name, self.place(name))
            self._read[name] = found
        return self._read[name]

    def glance(self, name: str) -> Json:
        """Return a configuration unchecked; empty if it cannot be read."""
        content = None
        with suppress(ModelError):  # loading says what is wrong
            content = self._content(name)
        return content if isinstance(content, dict) else {}

    def config(self, name: str) -> Json:
        """Return a configuration, checked; a ModelError if it cannot be read, or is
        not supported."""
        part, _, _ = name.rpartition("/")
        if part == "scheduler" and self.is_video:
            part = "flow"
        return check_config(self._content(name), part, self.place(name))

    def known_config(self, name: str) -> Json:
        """Return a configuration as `config` does, of which the library knows all keys.
        Imports that library."""
        content = self.config(name)
        part, _, _ = name.partition("/")
        if part.startswith("text_encoder"):
            kind = "UMT5Config" if self.is_video else "CLIPTextConfig"
            check_text_encoder(content, self.place(name), kind)
        else:
            check_known(content, part, self.place(name))
        return content

    def place(self, name: str) -> str:
        """Name a file of the folder in a message."""
        named = name if "/" in name else f"{self.folder.name}/{name}"
        return f"{shorten(self.id)}: {named}"

    def _here(self, name: str) -> Json:
        """Return a configuration, checked; empty without the file."""
        return self.config(name) if (self.folder / name).is_file() else {}

    @property
    def is_video(self) -> bool:
        """True if its network is a transformer and no UNet."""
        return bool(self.networks) and not (self.folder / "unet").is_dir()

    @cached_property
    def networks(self) -> tuple[str, ...]:
        """The folders of its transformers, of `EXPERTS`; not one that its index leaves
        out. A file that was named is in place of the only one."""
        if self.source.file:
            return EXPERTS[:1]
        index = self.glance(INDEX)
        return tuple(
            part
            for part in EXPERTS
            if (self.folder / part).is_dir() and index.get(part) != [None, None]
        )

    @cached_property
    def files(self) -> Mapping[str, tuple[WanFiles, ...]]:
        """Files of its transformers whose weights have the names of Wan's authors, by
        their folders: control blocks alone come after what they are added to. None of
        a folder that is diffusers'.

        Raises:
            ModelError: A file is damaged, or the one that was named is of another kind.
        """
        if not self.is_video:
            return {}
        found = {}
        is_pair = len(self.networks) > 1
        for part in self.networks:
            base = read_wan(weight_files(self.folder / part), is_pair)
            if self.source.file:
                found[part] = self._with_named(base)
            elif base.start is not None:
                found[part] = (base,)
        return found

    def _with_named(self, base: WanFiles) -> tuple[WanFiles, ...]:
        """Return the file that was named, after `base` if it has control blocks
        alone."""
        own = read_wan([Path(self.source.file)])
        if own.start is None:
            raise ModelError(
                "model",
                f"{own.title} is not a Wan with the names of its authors. Use one, or "
                "the folder that it is in.",
            )
        return (own,) if own.is_whole else (base, own)

    def _config_of(self, part: str) -> Json:
        """Return the configuration of a transformer by its files."""
        files = self.files[part]
        name = f"{part}/config.json"
        path = self.folder / name
        is_alone = self.source.file and len(files) == 1
        may_lack = files[0].is_whole and not path.is_file()
        told = {} if is_alone or may_lack else read_json(path, self.place(name))
        return config_of(files, told)

    @property
    def _wan_files(self) -> list[WanFiles]:
        return [one for files in self.files.values() for one in files]

    @cached_property
    def head(self) -> FileHead | None:
        """The head of a single file; a ModelError if it is damaged."""
        is_file = self.source.kind == "file"
        return read_head(Path(self.source.location)) if is_file else None

    @cached_property
    def family(self) -> Family | None:
        """Its kind; None if its configuration is not on this machine or cannot be
        read."""
        family = few = None
        with suppress(ModelError):  # loading says what is wrong
            others = [one.other_kind for one in self._wan_files if one.other_kind]
            if self.head:
                family = self.head.family
            elif others:
                family = others[0]
            else:
                second = "transformer_2" in self.networks
                network = next(iter(self.networks), EXPERTS[0])
                family = family_of_configs(
                    self.glance(INDEX)
                    | ({"transformer_2": [second]} if second else {}),
                    self.glance(UNET),
                    self._with_class(self.glance(LEVELS)),
                    self.glance(f"{network}/config.json"),
                )
            few = self.few_step()
        if family and few and self.is_video and few.title == "Self Forcing":
            return Family("Self-Forcing, which draws block after block")
        if family and few:
            title = f"{family.title}, {few.title}"
            return Family(title, family.offers - {"inversion"})
        return family

    def family_with(self, loras: Sequence[str]) -> Family | None:
        """Return its kind with LoRA files, which may make its network read more than
        its latents; None as of `family`.

        Raises:
            ModelError: A LoRA cannot be found, or is damaged.
        """
        family = self.family
        latents = self.glance(UNET).get("out_channels", 4)
        for channels in (lora_facts(text).channels for text in loras):
            is_wider = channels not in (0, latents) and not self.is_video
            if is_wider and family and family.offers:
                family = reading(family.title, channels, latents)
        return family

    def side_with(self, loras: Sequence[str]) -> int | None:
        """Return the short side in pixels at which it works by one of some LoRA files;
        None if none says so."""
        sides = (lora_facts(text).side for text in loras)
        return next(filter(None, sides), None)

    @cached_property
    def index(self) -> Json:
        """Its model_index.json, checked; empty without one."""
        index = self._here(INDEX)
        check_index(index, f"{shorten(self.id)}: {INDEX}", self.is_video)
        return index

    @cached_property
    def scheduler(self) -> Json:
        """Its scheduler_config.json, checked, with the class that the index names, by
        which diffusers goes; empty without the file."""
        if self.head:
            return self.head.scheduler
        return self._with_class(self._here(LEVELS))

    def _with_class(self, scheduler: Json) -> Json:
        named = class_in_index(self.glance(INDEX), "scheduler")
        return scheduler | {"_class_name": named} if scheduler and named else scheduler

    @property
    def is_silent(self) -> bool:
        """True if it is of Stable Diffusion, is on this machine, and does not say what
        it predicts."""
        is_here = self.source.kind != "hub" and (self.folder / UNET).is_file()
        return is_here and "prediction_type" not in self.scheduler

    def _kinds(self, loras: Sequence[str]) -> list[FewStep]:
        """The kinds of few-step models that LoRA files, and its own, are or may be."""
        found = [lora_facts(text).kind for text in loras]
        told = self._here(UNET).get("time_cond_proj_dim")
        spaced = GUIDED_LCM if told else by_scheduler(self.scheduler)
        files = [self.head] if self.head else self._wan_files
        metadata = {key: one.metadata[key] for one in files for key in one.metadata}
        named = by_name(self.id, metadata)
        if spaced and named and named.title in spaced.title:
            spaced = spaced._replace(sign="")  # two signs
        return [kind for kind in (*found, spaced, named) if kind]

    def few_step(self, loras: Sequence[str] = ()) -> FewStep | None:
        """Recognise a model that draws in few steps: by a LoRA, by the configuration of
        its UNet or scheduler, or by its published name; or by two signs, neither of
        which proves it."""
        return next((kind for kind in self._kinds(loras) if not kind.sign), None)

    def guesses(self, loras: Sequence[str] = ()) -> list[str]:
        """Say what it, or a LoRA, may be by one sign alone, which changes nothing, and
        what to set if it is."""
        if self.few_step(loras):
            return []
        return [kind.guess for kind in self._kinds(loras)]

    def notes(
        self, loras: Sequence[str], prediction: str, reads_last_layer: bool
    ) -> list[str]:
        """Say what its files, and LoRA files, tell that is not done; see
        `LoraFacts.notes`."""
        said = self.guesses(loras) + unused_parts(self.index)
        for text in loras:
            said += lora_facts(text).notes(prediction, reads_last_layer)
        return said

    def other_scheduler(self, loras: Sequence[str] = ()) -> OtherScheduler | None:
        """Return the scheduler that it names, if that is not here; a few-step model's
        kind names its sampler."""
        return None if self.few_step(loras) else other_scheduler(self.scheduler)

    @property
    def doubts(self) -> list[str]:
        """A few words on what is used for a scheduler that is not here, and `guesses`;
        none if that is not known without loading."""
        said = []
        with suppress(ModelError):  # loading it says what is wrong
            other = self.other_scheduler()
            if other is not None and self._here(UNET):
                said.append(f"{other.sampler} for its {other.title}")
            said += self.guesses()
        return said

    @cached_property
    def defaults(self) -> Defaults:
        """The parameters that its folder recommends, by method."""
        return read_defaults(self.folder / "defaults.json", self.id)

    def recommended(self, loras: Sequence[str] = ()) -> Defaults:
        """Return the parameters that suit it with these LoRA files, by method.

        Those of a LoRA come before those of the model's folder, and these before those
        of its scheduler.
        """
        own = proposed(self.scheduler, self.few_step(loras))
        added = [lora_facts(text) for text in loras]
        layers = [own, self.defaults]
        if any(one.kind and not one.kind.sign for one in added):
            layers.append(own)
        layers += [one.defaults for one in added]
        merged: Defaults = {}
        for layer in layers:
            for method, values in layer.items():
                merged[method] = merged.get(method, {}) | values
        return merged

    @cached_property
    def groups(self) -> dict[str, tuple[str, ...]] | None:
        """The words and phrases that it knows, by group; None if it takes any."""
        return read_groups(self.folder)

    @cached_property
    def words(self) -> Words:
        """The words that it knows, lower case; None if it takes any."""
        if self.groups is None:
            return None
        texts = (" ".join(phrases) for phrases in self.groups.values())
        return frozenset(word for text in texts for word in split_words(text))


def facts_of(id: str) -> ModelFacts:
    """Find a model by its id, see `find`, and return its facts; those of the same files
    are returned again."""
    return facts_at(find(id), id)


def facts_at(source: ModelLocation, id: str) -> ModelFacts:
    """Return the facts of a model that was found; of one on the hub, those of the files
    that were fetched."""
    place = Path(source.location)
    if source.kind == "hub":
        for name in (UNET, TRANSFORMER, INDEX):
            if found := cached(id, name):
                place = found.parents[name.count("/")]
                break
    return _facts(id, source, place, state_of(place))


@lru_cache(maxsize=16)
def _facts(id: str, source: ModelLocation, place: Path, state: object) -> ModelFacts:
    """Make facts; `state` is that of the files, which the cache compares."""
    return ModelFacts(id, source, place)
