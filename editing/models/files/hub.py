"""Models on the hub: which there are, what one is, and fetching it to where `load_backbone` finds it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import Any

from regrain.editing.errors import ModelError, shorten
from regrain.editing.models.files.configs import read_config
from regrain.editing.models.files.location import about
from regrain.editing.models.files.picture_heads import ENCODER, SEEING, near, tell
from regrain.editing.storage.fetching import Fetched, Fetching, watched
from regrain.editing.storage.safetensors_files import check_head

_NETWORKS = ("unet/", "transformer/")
_STEMS = [f"{part}diffusion_pytorch_model" for part in (*_NETWORKS, "vae/")]
_STEMS += ["text_encoder/model", "text_encoder_2/model"]
_ENDS = (".safetensors", ".safetensors.index.json", "-*-of-*.safetensors")
_WEIGHTS = [f"{stem}{end}" for stem in _STEMS for end in _ENDS]
PIPELINE_FILES = (*_WEIGHTS, "*/*config.json", "tokenizer*/*", "*.json")
PART_FILES = ("config.json", "diffusion_pytorch_model.safetensors")
ALLOWED_VARIABLE = "REGRAIN_ALLOWED_MODELS"
MOTION, PICTURES = "motion adapter", "picture adapter"
# Families that can be edited with and what is added to them, by the classes that the hub names.
_FAMILIES = {
    "StableDiffusionPipeline": "Stable Diffusion",
    "StableDiffusionXLPipeline": "SDXL",
    "WanPipeline": "Wan 2.1",
    "WanVACEPipeline": "Wan 2.1",
    "MotionAdapter": MOTION,
}
_NAMED = ("*ip-adapter*.safetensors", "*ip_adapter*.safetensors")  # files of picture adapters
_MOST = 4  # models of a family that a search finds


@dataclass(frozen=True)
class Listing:
    """What the hub says of a model.

    Attributes:
        id: `owner/name`, of a picture adapter with its file: `owner/name/file`.
        licence: Its name on the hub; empty if there is none.
        files: What is fetched, with bytes (0 if unknown): configurations, tokenizer, safetensors.
        family: Its family's title, or `MOTION`, or begins with `PICTURES`; empty if the hub does not say.
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
        return _parted(self.id)[0]


def allowed() -> tuple[str, ...] | None:
    """The hub ids that may be fetched: on a Space those of $REGRAIN_ALLOWED_MODELS, elsewhere all (None)."""
    listed = os.environ.get(ALLOWED_VARIABLE)
    if listed is None and not os.environ.get("SPACE_ID"):
        return None
    return tuple(filter(None, (id.strip() for id in (listed or "").split(","))))


def describe(id: str) -> Listing:
    """Ask the hub about a model.

    Raises:
        ModelError: It may not be fetched here, the hub cannot be reached, or it is neither a model nor a
            motion or picture adapter in safetensors.
    """
    repository, file, info = _asked(id)
    return _picture_adapter(repository, file, info) if file else _whole(repository, info)


def _parted(id: str) -> tuple[str, str]:
    """A repository, and the file of it that an id names; mostly none."""
    owner, _, rest = id.partition("/")
    name, _, file = rest.partition("/")
    return f"{owner}/{name}" if rest else owner, file


def _asked(id: str) -> tuple[str, str, Any]:
    """As `_parted`, and what the hub knows of the repository, if it may be fetched from."""
    repository, file = _parted(id)
    known = allowed()
    if known is not None and not {id, repository} & {*known}:
        listed = f"Choose one of {', '.join(known)}." if known else "Use a model of the list."
        raise ModelError("model", f"{id[:60]!r} may not be fetched here. {listed}")
    from huggingface_hub import HfApi

    with hub_error(repository):
        return repository, file, HfApi().model_info(repository, files_metadata=True)


def _whole(id: str, info: Any) -> Listing:
    """A repository that is a model or a motion adapter."""
    sizes, tags = _sizes(info), _tags(info)
    wanted = {
        name: sizes[name] for name in sorted(sizes) if any(fnmatch(name, p) for p in PIPELINE_FILES)
    }
    pipeline = tags.get("diffusers", "")
    if pipeline and pipeline not in _FAMILIES:
        advice = f"Choose a model for one of {', '.join(_FAMILIES)}."
        raise ModelError("model", f"{id!r} is for diffusers' {pipeline}. {advice}")
    family = _FAMILIES.get(pipeline, "")
    if sizes.keys() >= set(PART_FILES) and _config(id).get("_class_name") == "MotionAdapter":
        family, wanted = MOTION, {name: sizes[name] for name in PART_FILES}
    elif not any(name.startswith(_NETWORKS) and name.endswith(".safetensors") for name in wanted):
        advice = "Choose a model for diffusers."
        raise ModelError(
            "model", f"{id!r} has no UNet in safetensors, and no transformer. {advice}"
        )
    return _listing(id, info, wanted, family)


def _picture_adapter(id: str, file: str, info: Any) -> Listing:
    """A picture adapter: a file of a repository, and the image encoder there that it was trained with."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import SafetensorsParsingError

    sizes, named = _sizes(info), f"{id}/{file}"
    if file not in sizes or not file.endswith(".safetensors"):
        said = f"{shorten(id)} has no {shorten(file)} in safetensors"
        raise ModelError("model", f"{said}. Choose another file.")
    try:
        with hub_error(named), about("model"):
            head = HfApi().parse_safetensors_file_metadata(id, file)
            told = tell(named, {name: tuple(tensor.shape) for name, tensor in head.tensors.items()})
    except SafetensorsParsingError as error:
        said = f"{shorten(named)} is damaged or not a .safetensors file. Choose another."
        raise ModelError("model", said) from error
    files = [file]
    if told.kind != "drawn":
        encoders = {
            PurePosixPath(name).parent for name in sizes if name.endswith(f"{ENCODER}/config.json")
        }
        for place in near(PurePosixPath(file), encoders):
            if _config(id, f"{place}/").get(told.encodes) == told.width:
                files += [f"{place}/config.json", f"{place}/model.safetensors"]
                break
    if len(files) == 1 != (told.kind == "drawn") or not {*files} <= sizes.keys():
        said = f"{shorten(named)} has no {ENCODER}/ beside it that gives {told.width} numbers in safetensors"
        raise ModelError("model", f"{said}. Choose another.")
    family = f"{PICTURES} for {SEEING[told.cross]}" if told.cross in SEEING else PICTURES
    return _listing(named, info, {name: sizes[name] for name in files}, family)


def _sizes(info: Any) -> dict[str, int]:
    return {file.rfilename: file.size or 0 for file in info.siblings or ()}


def _tags(info: Any) -> dict[str, str]:
    return dict(tag.split(":", 1) for tag in info.tags or () if ":" in tag)


def _listing(id: str, info: Any, files: Mapping[str, int], family: str) -> Listing:
    licence = (info.card_data or {}).get("license") or _tags(info).get("license", "")
    return Listing(id, str(licence), files, family, bool(info.gated))


def _config(id: str, folder: str = "") -> dict[str, Any]:
    """The configuration in a folder of a repository."""
    from huggingface_hub import hf_hub_download

    with hub_error(id):
        path = hf_hub_download(id, f"{folder}config.json")
    return read_config(Path(path), id)


def search(words: str) -> list[Listing]:
    """The most downloaded models of every family whose ids hold these words, and motion and picture adapters.

    Only those that may be fetched. Of words that are an id, what that repository has.

    Raises:
        ModelError: The hub cannot be reached, or has nothing of that id that can be used here.
    """
    from huggingface_hub import HfApi

    if "/" in words:
        return _offered(words)

    ids = dict.fromkeys(allowed() or ())
    asked = [(f"diffusers:{pipeline}", words or None) for pipeline in _FAMILIES]
    asked += [(None, words or "motion-adapter"), (None, words or "ip-adapter")]
    for tag, named in dict.fromkeys(asked) if allowed() is None else ():
        with hub_error("the list of models"):
            found = HfApi().list_models(filter=tag, search=named, sort="downloads", limit=_MOST)
            ids |= {model.id: None for model in found}
    return _usable(_offered, ids)


def _offered(id: str) -> list[Listing]:
    """What an id offers: a model or an adapter, or all picture adapters of a repository; see `describe`."""
    repository, file, info = _asked(id)
    adapters = [
        name for name in sorted(_sizes(info)) if any(fnmatch(name.lower(), p) for p in _NAMED)
    ]
    if file:
        return [_picture_adapter(repository, file, info)]
    found = _usable(lambda name: [_picture_adapter(repository, name, info)], adapters)
    return found or [_whole(repository, info)]


def _usable(find: Callable[[str], list[Listing]], names: Iterable[str]) -> list[Listing]:
    """All that is found by names, a few at a time, of those that can be used."""

    def found(name: str) -> list[Listing]:
        try:
            return find(name)
        except ModelError:  # has pickles alone, for instance
            return []

    with ThreadPoolExecutor(_MOST) as pool:
        return [*chain.from_iterable(pool.map(found, names))]


def fetch(listing: Listing) -> Iterator[Fetched]:
    """Fetch the files of a model, telling how far it is a few times a second.

    Closing this generator stops it. What has come stays in the cache, and is not fetched again.

    Raises:
        ModelError: The hub cannot be reached or refuses, the disk is too small, or what came is damaged.
    """
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.constants import HF_HUB_CACHE

    id = listing.repository
    places = {name: try_to_load_from_cache(id, name) for name in listing.files}
    missing = sum(size for name, size in listing.files.items() if not isinstance(places[name], str))
    folder = Path(HF_HUB_CACHE).absolute()
    free = shutil.disk_usage(
        next(place for place in (folder, *folder.parents) if place.exists())
    ).free
    if missing > free:
        sizes = f"{missing / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free"
        raise ModelError(
            "model", f"{listing.id!r} needs {sizes}. Make room, or set HF_HOME to another disk."
        )

    def work(fetching: Fetching) -> None:
        with hub_error(id):
            fetching.load(id, listing.files)
        for name in listing.files:
            place = try_to_load_from_cache(id, name)
            if name.endswith(".safetensors") and isinstance(place, str):
                _check(Path(place))

    return watched(work, listing.size)


def _check(file: Path) -> None:
    """Refuse a file that is damaged; it is removed, so that it can be fetched again."""
    try:
        check_head(file, "model")
    except ModelError:
        file.resolve().unlink(missing_ok=True)
        file.unlink(missing_ok=True)
        raise


@contextmanager
def hub_error(id: str) -> Iterator[None]:
    """Say in a line what the hub's client failed at.

    Raises:
        ModelError: The repository is gated, private or missing, or the hub cannot be reached.
    """
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
    )
    from huggingface_hub.utils import httpx

    away = (LocalEntryNotFoundError, OfflineModeIsEnabled, ConnectionError, httpx.TransportError)
    try:
        yield
    except (HfHubHTTPError, OSError, *away) as error:
        if isinstance(error, GatedRepoError):
            reason = (
                "is gated. Accept its terms on the hub, then set HF_TOKEN or run `hf auth login`"
            )
        elif isinstance(error, RepositoryNotFoundError):
            reason = "is missing from the hub, or private. Check the spelling or set HF_TOKEN"
        elif isinstance(error, away):
            reason = (
                "is not downloaded, and the hub cannot be reached. Go online once, or use storybook"
            )
        else:
            cause = str(error).strip().splitlines()[0]
            reason = f"cannot be downloaded ({cause}). Try again, or use storybook"
        raise ModelError("model", f"{id!r} {reason}.") from error
