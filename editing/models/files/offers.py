"""Offers of a model to methods, from its configuration alone: no weights, no torch."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from regrain.editing.errors import ModelError, shorten
from regrain.editing.models.files.config_keys import family_of_scheduler
from regrain.editing.models.files.configs import read_json
from regrain.editing.models.files.lora_file import stated_prediction
from regrain.editing.models.files.schedulers import NEAREST
from regrain.editing.models.files.sidecar import read_sidecar
from regrain.editing.params.registry import SUPPORTED
from regrain.editing.storage.safetensors_files import check_head

if TYPE_CHECKING:
    from regrain.editing.models.files.location import ModelLocation

STABLE_DIFFUSION = frozenset({"inversion", "image_unet", "features", "control"})
"""Offers of `StableDiffusion`: keys of `editing.params.registry.OFFERS`."""

WAN = frozenset({"flow"})
"""Offers of `Wan`."""

_NO_INVERSION = STABLE_DIFFUSION - {"inversion"}
# Models by the number of input channels, if latents have four.
_CHANNELS = {
    5: "a model that reads depth",
    8: "a model that reads a picture and instructions (InstructPix2Pix)",
}
_UNET = "UNet2DConditionModel"
# Inputs that a UNet may need and gets from nobody here, by the key that asks for them.
_CONDITIONS = {
    "class_embed_type": "a model that reads a class or a picture's vector (unCLIP)",
    "num_class_embeds": "a model that reads a class",
    "encoder_hid_dim_type": "a model that reads vectors of pictures (Kandinsky)",
}
_OTHER_MARKS = {
    "edm_vpred": "an EDM model (CosXL)",
    "edm_": "an EDM model (Playground 2.5)",
}
_SIDES = (64, 4096)  # the least and the largest, in pixels
V_MARK = "v_pred"
"""An empty tensor of a single file that says that it predicts v."""
_OPENCLIP_TABLE = "cond_stage_model.model.token_embedding.weight"
_CONFIGS = (  # in the order of the arguments of `family_of_configs`
    "model_index.json",
    "unet/config.json",
    "scheduler/scheduler_config.json",
    "transformer/config.json",
)
_WAN = ("WanTransformer3DModel", "WanVACETransformer3DModel")


class Family(NamedTuple):
    """A kind of model, as shown to users, and the offers of its backbone; none if it is
    not supported."""

    title: str
    offers: frozenset[str]


def family_of(source: ModelLocation) -> Family | None:
    """Find the kind of a model; None if its configuration is not on this machine or
    cannot be read."""
    if source.kind == "file":
        return _of_file(Path(source.location))
    if source.kind == "folder":
        configs = [_read(Path(source.location, name)) for name in _CONFIGS]
        return family_of_configs(*configs)

    from huggingface_hub import try_to_load_from_cache

    places = [try_to_load_from_cache(source.location, name) for name in _CONFIGS]
    configs = [_read(Path(place)) if isinstance(place, str) else {} for place in places]
    return family_of_configs(*configs)


def check_family(family: Family | None, id: str) -> None:
    """Refuse a model of a family that is not supported."""
    if family and not family.offers:
        said = f"{shorten(id)} is {family.title}, which is not supported"
        raise ModelError("model", f"{said}. Use {SUPPORTED}.")


def family_of_configs(
    index: Mapping,
    unet: Mapping,
    scheduler: Mapping,
    transformer: Mapping | None = None,
) -> Family | None:
    """Find the kind of a model by its index, and the configuration of its parts; all
    may be empty."""
    if transformer and transformer.get("_class_name") in _WAN:
        return _wan(index, transformer)
    if unet:
        return _stable_diffusion(index, unet, scheduler)
    if "_class_name" in index:
        return _unsupported(str(index["_class_name"]))
    return None


def _unsupported(title: str) -> Family:
    return Family(title, frozenset())


def _other_kind(unet: Mapping, scheduler: Mapping) -> str | None:
    """Return what a model is whose UNet or schedule is not Stable Diffusion's."""
    kind = unet.get("_class_name", _UNET)
    if kind != _UNET:
        return f"a model with a {shorten(kind)}"
    for key, title in _CONDITIONS.items():
        if unet.get(key):
            return title
    name = scheduler.get("_class_name")
    if name is None or str(name) in NEAREST:
        return None
    return family_of_scheduler(name) or f"a model with {shorten(name)}"


def _stable_diffusion(index: Mapping, unet: Mapping, scheduler: Mapping) -> Family:
    other = _other_kind(unet, scheduler)
    if other is not None:
        return _unsupported(other)
    channels = _channels(unet, "in_channels")
    added = unet.get("addition_embed_type")
    latents = _channels(unet, "out_channels")
    inpaints = channels == 2 * latents + 1
    if channels != latents and not inpaints:
        return _unsupported(
            _CHANNELS.get(channels, f"a model with {channels} input channels")
        )
    if added is None and inpaints:
        return Family("Stable Diffusion for inpainting", _NO_INVERSION)
    if added is None:
        return Family("Stable Diffusion", STABLE_DIFFUSION)
    if added != "text_time":
        return _unsupported(f"a model with embeddings of {shorten(added)}")
    if index.get("text_encoder", [""])[0] is None:
        return _unsupported("the refiner of SDXL")
    if inpaints:
        return Family("SDXL for inpainting", _NO_INVERSION)
    whole = scheduler.get("rescale_betas_zero_snr")
    if scheduler.get("timestep_spacing") == "trailing" and not whole:
        # A few steps without guidance cannot be inverted.
        return Family("SDXL Turbo or Lightning", _NO_INVERSION)
    return Family("SDXL", STABLE_DIFFUSION)


def _channels(unet: Mapping, key: str) -> int:
    """Return a number of channels; of what is none, loading says what is wrong."""
    given = unet.get(key, 4)
    return given if isinstance(given, int) else 4


def _wan(index: Mapping, transformer: Mapping) -> Family:
    """Recognise Wan 2.1 from text.

    Wan 2.2 has a second transformer or coarser latents; models from pictures have more
    input channels.
    """
    library, *_ = index.get("transformer_2") or [None]
    if library or index.get("expand_timesteps"):
        return _unsupported("Wan 2.2")
    channels = transformer.get("in_channels", 16)
    if channels != (transformer.get("out_channels") or channels):
        return _unsupported(f"Wan with {channels} input channels")
    return Family("Wan 2.1", WAN)


class FileHead(NamedTuple):
    """What the head of a .safetensors file says: names of tensors, and metadata."""

    names: frozenset[str]
    metadata: Mapping[str, str]


def check_file(path: Path) -> FileHead:
    """Check that a .safetensors file is whole, and return what its head says.

    Raises:
        ModelError: It is damaged.
    """
    from safetensors import SafetensorError, safe_open

    check_head(path, "model")
    try:
        with safe_open(path, framework="np") as file:
            return FileHead(frozenset(file.keys()), file.metadata() or {})
    except (SafetensorError, OSError):
        said = f"{shorten(path.name)} is damaged or incomplete. Download it again."
        raise ModelError("model", said) from None


def stated_side(metadata: Mapping[str, str], name: str) -> int | None:
    """Return the short side of the pictures on which a single file says that it was
    trained, in pixels; None if it does not say.

    Raises:
        ModelError: It is no such side.
    """
    stated = metadata.get("modelspec.resolution", "")
    if not stated:
        return None
    found = re.fullmatch(r"(\d{2,4})(?:x(\d{2,4}))?", stated.replace(" ", "").lower())
    side = min(int(found[1]), int(found[2] or found[1])) if found else 0
    if not _SIDES[0] <= side <= _SIDES[1]:
        said = f"{name} has resolution {shorten(stated)}, which is not supported"
        raise ModelError("model", f"{said}. Use another.")
    return side


def is_silent(source: ModelLocation) -> bool:
    """Tell whether a model of Stable Diffusion on this machine does not say what it
    predicts.

    Raises:
        ModelError: What is beside a file cannot be read.
    """
    if source.kind == "hub":
        return False
    place = Path(source.location)
    if source.kind == "folder":
        levels = _read(place / _CONFIGS[2])
        return (place / _CONFIGS[1]).is_file() and "prediction_type" not in levels
    head = check_file(place)
    if V_MARK in head.names or stated_prediction(head.metadata):
        return False
    return "prediction_type" not in read_sidecar(place, version_of(head.names))


def read_names(path: Path) -> frozenset[str]:
    """Read the names of the tensors of a file; none of one that is damaged."""
    try:
        return check_file(path).names
    except ModelError:
        return frozenset()  # loading it says what is wrong


def version_of(names: Collection[str]) -> str:
    """Recognise the version of a single file by the names of its text encoders: sd1,
    sd2 or sdxl."""
    if any(name.startswith("conditioner.embedders.") for name in names):
        return "sdxl"
    return "sd2" if _OPENCLIP_TABLE in names else "sd1"


def other_kind_of(names: Collection[str]) -> str | None:
    """Return the kind of a single file, as shown to users, if the names of its tensors
    say that it is one that is not supported."""
    for start, title in _OTHER_MARKS.items():
        if any(name.startswith(start) for name in names):
            return title
    return None


def _of_file(path: Path) -> Family:
    names = read_names(path)
    title = other_kind_of(names)
    if title is not None:
        return _unsupported(title)
    prefix = "conditioner.embedders."
    embedders = {name.split(".")[2] for name in names if name.startswith(prefix)}
    if embedders == {"0"}:
        return _unsupported("the refiner of SDXL")
    return Family("SDXL" if embedders else "Stable Diffusion", STABLE_DIFFUSION)


def _read(path: Path) -> dict:
    try:
        content = read_json(path, path.name)
    except ModelError:
        return {}
    return content if isinstance(content, dict) else {}
