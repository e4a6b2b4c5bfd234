"""Models on the hub: search, description, and fetching to where `load_backbone` finds
them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fnmatch import fnmatch
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from regrain.editing.errors import ModelError, shorten
from regrain.editing.models.files.configs import read_config
from regrain.editing.models.files.download import (
    NETWORKS,
    PIPELINE_FILES,
    hub_error,
)
from regrain.editing.models.files.location import about
from regrain.editing.models.files.picture_heads import (
    ENCODER,
    SEEING,
    Head,
    near,
    read_head,
)
from regrain.editing.storage.fetching import Fetched, Fetching, list_files, watched
from regrain.editing.storage.safetensors_files import (
    TRANSFORMERS,
    check_head,
    choose_weights,
)

ALLOWED_VARIABLE = "REGRAIN_ALLOWED_MODELS"
MOTION, PICTURES = "motion adapter", "picture adapter"
# Families that can be edited with and what is added to them, by the classes that the
# hub names.
_FAMILIES = {
    "StableDiffusionPipeline": "Stable Diffusion",
    "StableDiffusionXLPipeline": "SDXL",
    "WanPipeline": "Wan 2.1",
    "WanVACEPipeline": "Wan 2.1",
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
        family: Its family's title, or `MOTION`, or begins with `PICTURES`; empty if the
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
        repository, _ = _split_id(self.id)
        return repository


class _Asked(NamedTuple):
    """An id that was looked up on the hub."""

    repository: str
    file: str  # the file of it that the id names; mostly empty
    info: Any  # the hub's `ModelInfo`


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


def describe(id: str) -> Listing:
    """Ask the hub about a model.

    Raises:
        ModelError: It may not be fetched here, the hub cannot be reached, or it is
            neither a model nor a motion or picture adapter in safetensors.
    """
    asked = _ask(id)
    if asked.file:
        return _list_picture_adapter(asked.repository, asked.file, asked.info)
    return _list_whole(asked.repository, asked.info)


def _split_id(id: str) -> tuple[str, str]:
    """Split an id into a repository and the file of it that it names, which is mostly
    empty."""
    owner, _, rest = id.partition("/")
    name, _, file = rest.partition("/")
    return f"{owner}/{name}" if rest else owner, file


def _ask(id: str) -> _Asked:
    """Look an id up on the hub, if it may be fetched from there."""
    from huggingface_hub import HfApi

    repository, file = _split_id(id)
    known = allowed()
    if known is not None and id not in known and repository not in known:
        listed = (
            f"Choose one of {', '.join(known)}."
            if known
            else "Use a model of the list."
        )
        raise ModelError("model", f"{id[:60]!r} may not be fetched here. {listed}")
    with hub_error(repository):
        return _Asked(
            repository, file, HfApi().model_info(repository, files_metadata=True)
        )


def _list_whole(id: str, info: Any) -> Listing:
    """List a repository that is a model or a motion adapter."""
    pipeline = _tags(info).get("diffusers", "")
    if pipeline and pipeline not in _FAMILIES:
        raise ModelError(
            "model",
            f"{id!r} is for diffusers' {pipeline}. Choose a model for one of "
            f"{', '.join(_FAMILIES)}.",
        )

    sizes = list_files(info)
    own = choose_weights(sizes)
    part = own if "config.json" in sizes else None
    if part is not None and _config(id).get("_class_name") == "MotionAdapter":
        return _listing(id, info, ["config.json", *part.names], MOTION)

    names = _of_pipeline(sizes)
    weights = [name for name in names if name.endswith(".safetensors")]
    if not any(name.startswith(NETWORKS) for name in weights):
        raise ModelError(
            "model",
            f"{id!r} has no UNet in safetensors, and no transformer. Choose a "
            "model for diffusers.",
        )
    return _listing(id, info, names, _FAMILIES.get(pipeline, ""))


def _of_pipeline(names: Iterable[str]) -> list[str]:
    """Choose the files of a model: as `download` does, those of a variant where a part
    has no others."""
    chosen = {name for name in names if _matches(name, PIPELINE_FILES)}
    for part in {PurePosixPath(name).parent for name in chosen}:
        inside = [name for name in names if PurePosixPath(name).parent == part]
        found = choose_weights(PurePosixPath(name).name for name in inside)
        configured = f"{part}/config.json" in chosen
        taken = any(
            name.endswith(".safetensors") for name in chosen.intersection(inside)
        )
        if configured and found and not taken:
            chosen |= {f"{part}/{name}" for name in found.names}
            chosen |= {name for name in inside if _matches(name, ("*.fp16.json",))}
    return sorted(chosen)


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatch(name, pattern) for pattern in patterns)


def _list_picture_adapter(id: str, file: str, info: Any) -> Listing:
    """List a picture adapter: a file of a repository, and the image encoder there that
    it needs."""
    sizes = list_files(info)
    if file not in sizes or not file.endswith(".safetensors"):
        raise ModelError(
            "model",
            f"{shorten(id)} has no {shorten(file)} in safetensors. Choose another "
            "file.",
        )
    named = f"{id}/{file}"
    head = _read_remote_head(id, file, named)
    files = [file]
    if head.kind != "drawn":
        encoder = _encoder_of(head, id, file, sizes)
        if encoder is None:
            raise ModelError(
                "model",
                f"{shorten(named)} has no {ENCODER}/ beside it that gives "
                f"{head.width} numbers in safetensors. Choose another.",
            )
        files += encoder
    model = SEEING.get(head.cross)
    family = f"{PICTURES} for {model}" if model else PICTURES
    return _listing(named, info, files, family)


def _read_remote_head(id: str, file: str, named: str) -> Head:
    """Read the head of a picture adapter on the hub, without fetching its weights."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import SafetensorsParsingError

    try:
        with hub_error(named), about("model"):
            found = HfApi().parse_safetensors_file_metadata(id, file)
            shapes = {
                name: tuple(tensor.shape) for name, tensor in found.tensors.items()
            }
            return read_head(named, shapes)
    except SafetensorsParsingError as error:
        raise ModelError(
            "model",
            f"{shorten(named)} is damaged or not a .safetensors file. Choose another.",
        ) from error


def _encoder_of(
    head: Head, id: str, file: str, sizes: Mapping[str, int]
) -> list[str] | None:
    """Find the files of the image encoder that fits an adapter; None without a whole
    one in safetensors."""
    configs = [name for name in sizes if name.endswith(f"{ENCODER}/config.json")]
    folders = {PurePosixPath(name).parent for name in configs}
    for folder in near(PurePosixPath(file), folders):
        if _config(id, f"{folder}/").get(head.encodes) == head.width:
            inside = [
                PurePosixPath(name).name
                for name in sizes
                if PurePosixPath(name).parent == folder
            ]
            chosen = choose_weights(inside, TRANSFORMERS)
            if chosen is None:
                return None
            names = ("config.json", *chosen.names)
            return [f"{folder}/{name}" for name in names]
    return None


def _tags(info: Any) -> dict[str, str]:
    """Return the tags of the form `key:value`."""
    return dict(tag.split(":", 1) for tag in info.tags or () if ":" in tag)


def _listing(id: str, info: Any, names: Iterable[str], family: str) -> Listing:
    licence = (info.card_data or {}).get("license") or _tags(info).get("license", "")
    sizes = list_files(info)
    files = {name: sizes[name] for name in names}
    return Listing(id, str(licence), files, family, bool(info.gated))


def _config(id: str, folder: str = "") -> dict[str, Any]:
    """Download and read the configuration in a folder of a repository."""
    from huggingface_hub import hf_hub_download

    with hub_error(id):
        path = hf_hub_download(id, f"{folder}config.json")
    return read_config(Path(path), id)


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
    ids = _popular(words) if known is None else known
    return _usable(_offered, dict.fromkeys(ids))


def _popular(words: str) -> list[str]:
    """Return the ids of the most downloaded models and adapters of each kind, some of
    them twice."""
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
    return ids


def _offered(id: str) -> list[Listing]:
    """List what an id offers: a model or an adapter, or all picture adapters of a
    repository."""
    repository, file, info = _ask(id)
    if file:
        return [_list_picture_adapter(repository, file, info)]
    adapters = [
        name for name in sorted(list_files(info)) if _matches(name.lower(), _NAMED)
    ]
    found = _usable(
        lambda name: [_list_picture_adapter(repository, name, info)], adapters
    )
    return found or [_list_whole(repository, info)]


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
    id = listing.repository
    missing = sum(
        size for name, size in listing.files.items() if _cached(id, name) is None
    )
    _check_room(listing.id, missing)

    def work(fetching: Fetching) -> None:
        with hub_error(id):
            fetching.load(id, listing.files)
        for name in listing.files:
            place = _cached(id, name)
            if place is not None and name.endswith(".safetensors"):
                _check(place)

    return watched(work, listing.size, listing.size - missing)


def _cached(id: str, name: str) -> Path | None:
    """Find a file of a repository that was fetched before."""
    from huggingface_hub import try_to_load_from_cache

    place = try_to_load_from_cache(id, name)
    return Path(place) if isinstance(place, str) else None


def _check_room(id: str, needed: int) -> None:
    """Check that so many bytes fit on the disk of the hub's cache."""
    from huggingface_hub.constants import HF_HUB_CACHE

    cache = Path(HF_HUB_CACHE).absolute()
    there = next(folder for folder in (cache, *cache.parents) if folder.exists())
    free = shutil.disk_usage(there).free
    if needed > free:
        raise ModelError(
            "model",
            f"{id!r} needs {needed / 1000000000.0:.1f} GB, and "
            f"{free / 1000000000.0:.1f} GB are free. Make room, or set HF_HOME to "
            "another disk.",
        )


def _check(file: Path) -> None:
    """Refuse a file that is damaged; it is removed, so that it can be fetched again."""
    try:
        check_head(file, "model")
    except ModelError:
        file.resolve().unlink(missing_ok=True)
        file.unlink(missing_ok=True)
        raise
