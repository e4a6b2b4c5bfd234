"""Models on the hub: search, description, and fetching to where `load_backbone` finds
them."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from regrain.editing.errors import ModelError, shorten
from regrain.editing.models.files.configs import read_config
from regrain.editing.models.files.download import (
    NETWORKS,
    PIPELINE_FILES,
    READER_FILES,
    hub_error,
    matches,
)
from regrain.editing.models.files.location import about
from regrain.editing.models.files.picture_heads import (
    ENCODER,
    SEEING,
    Head,
    near,
    read_head,
)
from regrain.editing.storage.fetching import (
    Fetched,
    Fetching,
    list_files,
    unreachable,
    watched,
)
from regrain.editing.storage.safetensors_files import (
    TRANSFORMERS,
    check_head,
    choose_weights,
)
from regrain.editing.storage.texts import Json

if TYPE_CHECKING:
    from huggingface_hub import ModelInfo

ALLOWED_VARIABLE = "REGRAIN_ALLOWED_MODELS"
MOTION, PICTURES = "motion adapter", "picture adapter"
READER = "CLIP model"  # which looks at results
# Families that can be edited with and what is added to them, by the classes that the
# hub names.
_FAMILIES = {
    "StableDiffusionPipeline": "Stable Diffusion",
    "LatentConsistencyModelPipeline": "Stable Diffusion",
    "StableDiffusionXLPipeline": "SDXL",
    "WanPipeline": "Wan 2.1",
    "WanVACEPipeline": "Wan 2.1 VACE",
    "MotionAdapter": MOTION,
}
# files of picture adapters
_NAMED = ("*ip-adapter*.safetensors", "*ip_adapter*.safetensors")
_MOST = 4  # models of a family that a search finds


@dataclass(frozen=True)
class Listing:
    """A model as the hub describes it.

    Attributes:
        id: `owner/name`, of a picture adapter with its file: `owner/name/file`.
        licence: Its name on the hub; empty if there is none.
        files: The files to fetch, with bytes (0 if unknown): configurations, tokenizer,
            safetensors.
        family: Its family's title, `MOTION`, `READER`, or begins with `PICTURES`; empty if the
            hub does not say.
        gated: Whether its terms have to be accepted on the hub first.
    """

    id: str
    licence: str
    files: Mapping[str, int]
    family: str = ""
    gated: bool = False

    @property
    def size(self) -> int:
        """Bytes to fetch; 0 if unknown."""
        return sum(self.files.values())

    @property
    def repository(self) -> str:
        """`owner/name`."""
        return "/".join(self.id.split("/", 2)[:2])


def allowed() -> tuple[str, ...] | None:
    """Return the hub ids that may be fetched; None if all may.

    On a Space they are those of $REGRAIN_ALLOWED_MODELS, none without it; elsewhere
    all, unless it is set.
    """
    listed = os.environ.get(ALLOWED_VARIABLE)
    if listed is None and not os.environ.get("SPACE_ID"):
        return None
    ids = [id.strip() for id in (listed or "").split(",")]
    return tuple(id for id in ids if id)


def reachable(seconds: float = 3.0) -> bool:
    """Tell, within so many seconds, whether the hub answers."""
    from huggingface_hub import constants, get_session

    answers: list[int] = []

    def ask() -> None:
        with suppress(*unreachable()):
            answer = get_session().head(constants.ENDPOINT, timeout=seconds)
            answers.append(answer.status_code)

    # A name that is being looked up cannot be stopped; the thread is left behind.
    asking = threading.Thread(target=ask, name="hub", daemon=True)
    asking.start()
    asking.join(seconds)
    return bool(answers)


def describe(id: str) -> Listing:
    """Ask the hub about a model.

    Raises:
        ModelError: It may not be fetched here, the hub cannot be reached, or it is
            neither a model nor a motion or picture adapter in safetensors.
    """
    repository, file = _look_up(id)
    return repository.picture_adapter(file) if file else repository.whole()


def _look_up(id: str) -> tuple[_Repository, str]:
    """Look an id up on the hub, if it may be fetched from there; with the file of the
    repository that it names, which is mostly empty."""
    from huggingface_hub import HfApi

    owner, name, file = (*id.split("/", 2), "", "")[:3]
    repository = f"{owner}/{name}" if name else owner
    known = allowed()
    if known is not None and id not in known and repository not in known:
        listed = "Use a model of the list."
        if known:
            listed = f"Choose one of {', '.join(known)}."
        raise ModelError("model", f"{id[:60]!r} may not be fetched here. {listed}")
    with hub_error(repository):
        info = HfApi().model_info(repository, files_metadata=True)
    return _Repository(repository, info), file


class _Repository:
    """A repository that was looked up on the hub."""

    def __init__(self, id: str, info: ModelInfo) -> None:
        self.id = id
        self.info = info
        self.sizes = list_files(info)
        tags = (tag.split(":", 1) for tag in info.tags or () if ":" in tag)
        self.tags = dict(tags)

    def whole(self) -> Listing:
        """List it as a model, a motion adapter or a CLIP model."""
        pipeline = self.tags.get("diffusers", "")
        if pipeline and pipeline not in _FAMILIES:
            raise ModelError(
                "model",
                f"{self.id!r} is for diffusers' {pipeline}. Choose a model for one of "
                f"{', '.join(_FAMILIES)}.",
            )
        own = choose_weights(self.sizes)
        part = own if "config.json" in self.sizes else None
        config = {} if part is None else self._config()
        if part is not None and config.get("_class_name") == "MotionAdapter":
            return self._listing(["config.json", *part.names], MOTION)
        if config.get("model_type") == "clip":
            names = [name for name in self.sizes if matches(name, READER_FILES)]
            return self._listing(names, READER)
        names = self._of_pipeline()
        weights = [name for name in names if name.endswith(".safetensors")]
        if not any(name.startswith(NETWORKS) for name in weights):
            raise ModelError(
                "model",
                f"{self.id!r} has no UNet in safetensors, and no transformer. Choose a "
                "model for diffusers.",
            )
        return self._listing(names, self._family(_FAMILIES.get(pipeline, "")))

    def _family(self, title: str) -> str:
        """Return the title of its family; of a Wan, of which the class says neither
        version nor size, what its name says, and that it does."""
        named = self.id.lower()
        if not title.startswith("Wan"):
            return title
        found = title
        if "wan2.2" in named:
            found = title.replace("2.1", "2.2")
            found += " 5B" if "-5b" in named else ""
        elif "-14b" in named:
            found += ", 14B"
        return title if found == title else f"{found} by its name"

    def _of_pipeline(self) -> list[str]:
        """Choose the files of a model: as `download` does, those of a variant where a
        part has no others."""
        chosen = {name for name in self.sizes if matches(name, PIPELINE_FILES)}
        for part in {PurePosixPath(name).parent for name in chosen}:
            inside = self._inside(part)
            found = choose_weights(inside)
            taken = (
                name.endswith(".safetensors") and f"{part}/{name}" in chosen
                for name in inside
            )
            if f"{part}/config.json" in chosen and found and not any(taken):
                more = [name for name in inside if name.endswith(".fp16.json")]
                chosen |= {f"{part}/{name}" for name in (*found.names, *more)}
        return sorted(chosen)

    def _inside(self, folder: PurePosixPath) -> list[str]:
        """Return the names of the files of a folder."""
        paths = [PurePosixPath(name) for name in self.sizes]
        return [path.name for path in paths if path.parent == folder]

    def picture_adapter(self, file: str) -> Listing:
        """List a picture adapter: a file, and the image encoder that it needs."""
        if file not in self.sizes or not file.endswith(".safetensors"):
            raise ModelError(
                "model",
                f"{shorten(self.id)} has no {shorten(file)} in safetensors. Choose "
                "another file.",
            )
        named = f"{self.id}/{file}"
        head = self._head(file, named)
        files = [file]
        if head.kind != "drawn":
            encoder = self._encoder_of(head, file)
            if not encoder:
                raise ModelError(
                    "model",
                    f"{shorten(named)} has no {ENCODER}/ beside it that gives "
                    f"{head.width} numbers in safetensors. Choose another.",
                )
            files += encoder
        model = SEEING.get(head.cross)
        return self._listing(
            files, f"{PICTURES} for {model}" if model else PICTURES, named
        )

    def _head(self, file: str, named: str) -> Head:
        """Read the head of a picture adapter, without fetching its weights."""
        from huggingface_hub import HfApi
        from huggingface_hub.errors import SafetensorsParsingError

        try:
            with hub_error(named), about("model"):
                found = HfApi().parse_safetensors_file_metadata(self.id, file)
                tensors = found.tensors.items()
                return read_head(
                    named, {name: tuple(one.shape) for name, one in tensors}
                )
        except SafetensorsParsingError as error:
            raise ModelError(
                "model",
                f"{shorten(named)} is damaged or not a .safetensors file. Choose "
                "another.",
            ) from error

    def _encoder_of(self, head: Head, file: str) -> list[str]:
        """Find the files of the image encoder that fits an adapter; none without a
        whole one in safetensors."""
        configs = [
            name for name in self.sizes if name.endswith(f"{ENCODER}/config.json")
        ]
        folders = {PurePosixPath(name).parent for name in configs}
        for folder in near(PurePosixPath(file), folders):
            if self._config(f"{folder}/").get(head.encodes) == head.width:
                chosen = choose_weights(self._inside(folder), TRANSFORMERS)
                names = ("config.json", *chosen.names) if chosen else ()
                return [f"{folder}/{name}" for name in names]
        return []

    def _listing(self, names: Iterable[str], family: str, id: str = "") -> Listing:
        licence = (self.info.card_data or {}).get("license") or self.tags.get("license")
        files = {name: self.sizes[name] for name in names}
        gated = bool(self.info.gated)
        return Listing(id or self.id, str(licence or ""), files, family, gated)

    def _config(self, folder: str = "") -> Json:
        """Download and read the configuration in a folder."""
        from huggingface_hub import hf_hub_download

        with hub_error(self.id):
            path = hf_hub_download(self.id, f"{folder}config.json")
        return read_config(Path(path), self.id)


def search(words: str) -> list[Listing]:
    """Find the most downloaded models of every family whose ids hold these words, and
    adapters.

    Only those that may be fetched. Of words that are an id, what that repository has.

    Raises:
        ModelError: The hub cannot be reached, or has nothing of that id that can be
            used here.
    """
    if "/" in words:
        return _offered(words)
    known = allowed()
    if known is not None:
        return _usable(_offered, dict.fromkeys(known))
    from huggingface_hub import HfApi

    asked = [(f"diffusers:{pipeline}", words or None) for pipeline in _FAMILIES]
    asked += [(None, words or "motion-adapter"), (None, words or "ip-adapter")]
    ids = []
    for tag, named in dict.fromkeys(asked):
        with hub_error("the list of models"):
            found = HfApi().list_models(
                filter=tag, search=named, sort="downloads", limit=_MOST
            )
            ids += [model.id for model in found]
    return _usable(_offered, dict.fromkeys(ids))


def _offered(id: str) -> list[Listing]:
    """List what an id offers: a model or an adapter, or all picture adapters of a
    repository."""
    repository, file = _look_up(id)
    if file:
        return [repository.picture_adapter(file)]
    adapters = [name for name in repository.sizes if matches(name.lower(), _NAMED)]
    found = _usable(lambda name: [repository.picture_adapter(name)], sorted(adapters))
    return found or [repository.whole()]


def _usable(
    find: Callable[[str], list[Listing]], names: Iterable[str]
) -> list[Listing]:
    """Return all that `find` finds by names, a few at a time, leaving out what cannot
    be used."""

    def found(name: str) -> list[Listing]:
        try:
            return find(name)
        except ModelError:  # has pickles alone, for instance
            return []

    with ThreadPoolExecutor(_MOST) as pool:
        return [*chain.from_iterable(pool.map(found, names))]


def fetch(listing: Listing) -> Iterator[Fetched]:
    """Fetch the files of a model, telling how far it is a few times a second.

    Closing this generator stops it. What has come stays in the cache, and is not
    fetched again.

    Raises:
        ModelError: The hub cannot be reached or refuses, the disk is too small, or what
            came is damaged.
    """
    from huggingface_hub.constants import HF_HUB_CACHE

    id = listing.repository
    missing = sum(
        size for name, size in listing.files.items() if _cached(id, name) is None
    )
    cache = Path(HF_HUB_CACHE).absolute()
    there = next(folder for folder in (cache, *cache.parents) if folder.exists())
    free = shutil.disk_usage(there).free
    if missing > free:
        raise ModelError(
            "model",
            f"{listing.id!r} needs {missing / 1e9:.1f} GB, and {free / 1e9:.1f} GB are "
            "free. Make room, or set HF_HOME to another disk.",
        )

    def work(fetching: Fetching) -> None:
        with hub_error(id):
            fetching.load(id, listing.files)
        for name in listing.files:
            place = _cached(id, name)
            if place is not None and name.endswith(".safetensors"):
                try:
                    check_head(place, "model")
                except ModelError:  # so that it can be fetched again
                    place.resolve().unlink(missing_ok=True)
                    place.unlink(missing_ok=True)
                    raise

    return watched(work, listing.size, listing.size - missing)


def _cached(id: str, name: str) -> Path | None:
    """Find a file of a repository that was fetched before."""
    from huggingface_hub import try_to_load_from_cache

    place = try_to_load_from_cache(id, name)
    return Path(place) if isinstance(place, str) else None
