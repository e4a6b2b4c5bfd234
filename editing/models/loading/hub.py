"""Models on the hub: what one is, and fetching it with progress to where `load_backbone` finds it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch

from regrain.editing.errors import ModelError
from regrain.editing.storage.fetching import Fetched, Fetching, watched

_WEIGHTS = [f"{part}/{stem}{rest}"
            for part, stem in (("unet", "diffusion_pytorch_model"), ("vae", "diffusion_pytorch_model"),
                               ("text_encoder", "model"), ("text_encoder_2", "model"))
            for rest in (".safetensors", ".safetensors.index.json", "-*-of-*.safetensors")]  # fmt: skip
PIPELINE_FILES = (*_WEIGHTS, "*/*config.json", "tokenizer*/*", "*.json")
ALLOWED_VARIABLE = "REGRAIN_ALLOWED_MODELS"


@dataclass(frozen=True)
class Listing:
    """What the hub says of a model.

    Attributes:
        id: `owner/name`.
        licence: Its name on the hub; empty if there is none.
        files: What is fetched, with bytes (0 if unknown): configurations, tokenizer, safetensors.
    """

    id: str
    licence: str
    files: Mapping[str, int]

    @property
    def size(self) -> int:
        """Bytes to fetch; 0 if unknown."""
        return sum(self.files.values())


def allowed() -> tuple[str, ...] | None:
    """The hub ids that may be fetched: on a Space those of $REGRAIN_ALLOWED_MODELS, elsewhere all (None)."""
    listed = os.environ.get(ALLOWED_VARIABLE)
    if listed is None and not os.environ.get("SPACE_ID"):
        return None
    return tuple(filter(None, (id.strip() for id in (listed or "").split(","))))


def describe(id: str) -> Listing:
    """Ask the hub about a model.

    Raises:
        ModelError: It may not be fetched here, the hub cannot be reached, or it is no model in safetensors.
    """
    known = allowed()
    if known is not None and id not in known:
        listed = f"Choose one of {', '.join(known)}." if known else "Use a model of the list."
        raise ModelError("model", f"{id[:60]!r} may not be fetched here. {listed}")
    from huggingface_hub import HfApi

    with hub_error(id):
        info = HfApi().model_info(id, files_metadata=True)
    sizes = {file.rfilename: file.size or 0 for file in info.siblings or ()}
    wanted = {name: sizes[name] for name in sorted(sizes) if any(fnmatch(name, p) for p in PIPELINE_FILES)}
    if not any(name.startswith("unet/") and name.endswith(".safetensors") for name in wanted):
        advice = "Choose a Stable Diffusion model for diffusers."
        raise ModelError("model", f"{id!r} has no UNet in safetensors. {advice}")
    tagged = [tag.removeprefix("license:") for tag in info.tags or () if tag.startswith("license:")]
    licence = (info.card_data or {}).get("license") or next(iter(tagged), "")
    return Listing(id, str(licence), wanted)


def fetch(listing: Listing) -> Iterator[Fetched]:
    """Fetch the files of a model, telling how far it is a few times a second.

    Closing this generator stops it. What has come stays in the cache.

    Raises:
        ModelError: The hub cannot be reached or refuses, or the disk is full.
    """

    def work(fetching: Fetching) -> None:
        with hub_error(listing.id):
            fetching.load(listing.id, listing.files)

    return watched(work, listing.size)


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
            reason = "is gated. Accept its terms on the hub, then set HF_TOKEN or run `hf auth login`"
        elif isinstance(error, RepositoryNotFoundError):
            reason = "is missing from the hub, or private. Check the spelling or set HF_TOKEN"
        elif isinstance(error, away):
            reason = "is not downloaded, and the hub cannot be reached. Go online once, or use storybook"
        else:
            cause = str(error).strip().splitlines()[0]
            reason = f"cannot be downloaded ({cause}). Try again, or use storybook"
        raise ModelError("model", f"{id!r} {reason}.") from error
