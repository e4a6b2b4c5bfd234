"""Downloads for loading a model by its hub id: the files that are needed, and errors of
the hub."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path

from regrain.editing.errors import ModelError
from regrain.editing.models.files.location import find
from regrain.editing.storage.fetching import first_line, uncertified, unreachable
from regrain.editing.storage.safetensors_files import (
    DIFFUSERS,
    TRANSFORMERS,
    weight_files,
)

NETWORKS = ("unet/", "transformer/", "transformer_2/")
_STEMS = (
    *(f"{folder}diffusion_pytorch_model" for folder in (*NETWORKS, "vae/")),
    "text_encoder/model",
    "text_encoder_2/model",
)
_ENDS = (".safetensors", ".safetensors.index.json", "-*-of-*.safetensors")
_WEIGHTS = [f"{stem}{end}" for stem in _STEMS for end in _ENDS]
PIPELINE_FILES = (*_WEIGHTS, "*/*config.json", "tokenizer*/*", "*.json")
VARIANT_FILES = ("*.fp16*.safetensors", "*.fp16.json", "model.safetensors")
"""Files of weights of a part that has none under the usual names."""
PART_FILES = ("config.json", "diffusion_pytorch_model.safetensors")
READER_FILES = (
    "config.json",
    "model.safetensors*",
    "model-*-of-*.safetensors",
    "preprocessor_config.json",
    "tokenizer*.json",
    "vocab.json",
    "merges.txt",
    "words.json",
    "rule.json",
    "clear/config.json",
    "clear/model.safetensors",
)


def obtain(id: str, built_in: str, files: Sequence[str]) -> Path:
    """Return the file or folder of a model, downloaded if it is a hub id; see `find`
    and `download`."""
    source = find(id, "config.json", built_in)
    if source.kind == "hub":
        return Path(download(id, files))
    return Path(source.location)


def download(id: str, files: Sequence[str] = PIPELINE_FILES, fetch: bool = True) -> str:
    """Download the needed files of a hub repository, safetensors only, and return their
    local folder.

    Without `fetch`, only what was downloaded before is found. A part that has no
    weights under the usual names may have them in half precision alone.

    Raises:
        ModelError: See `hub_error`.
    """
    from huggingface_hub import snapshot_download

    def load(patterns: Sequence[str]) -> str:
        with hub_error(id):
            return snapshot_download(
                id, allow_patterns=list(patterns), local_files_only=not fetch
            )

    folder = load(files)
    lacking = []
    for config in Path(folder).glob("**/config.json"):
        name = config.parent.relative_to(folder).as_posix()
        part = "" if name == "." else f"{name}/"  # of one that is itself a part
        usual = [f"{part}{stem}.safetensors" for stem in (DIFFUSERS, TRANSFORMERS)]
        asked = any(matches(name, files) for name in usual)
        if asked and not weight_files(config.parent):
            lacking.append(part)
    if lacking and fetch:
        load([f"{part}{end}" for part in lacking for end in VARIANT_FILES])
    return folder


def matches(name: str, patterns: Iterable[str]) -> bool:
    """Tell whether a file is among those that some patterns name."""
    return any(fnmatch(name, pattern) for pattern in patterns)


@contextmanager
def hub_error(id: str) -> Iterator[None]:
    """Say in a line what the hub's client failed at.

    Raises:
        ModelError: The repository is gated, private or missing, or the hub cannot be
            reached.
    """
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        RepositoryNotFoundError,
    )

    away = unreachable()
    try:
        yield
    except GatedRepoError as error:
        raise ModelError(
            "model",
            f"{id!r} is gated. Accept its terms on the hub, then set HF_TOKEN or "
            "run `hf auth login`.",
        ) from error
    except RepositoryNotFoundError as error:
        raise ModelError(
            "model",
            f"{id!r} is missing from the hub, or private. Check the spelling or "
            "set HF_TOKEN.",
        ) from error
    except away as error:
        raise ModelError(
            "model",
            f"{id!r} is not downloaded, and the hub cannot be reached. Go online "
            "once, or use one that is here.",
        ) from error
    except (HfHubHTTPError, OSError) as error:
        raise ModelError(
            "model",
            f"{id!r} cannot be downloaded ({uncertified() or first_line(error)}). Try again, or "
            "use one that is here.",
        ) from error
