"""Offers of a model to methods, from its configuration alone: no weights, no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

from regrain.editing.errors import ModelError, shorten
from regrain.editing.models.files.config_keys import CLASSES
from regrain.editing.models.files.schedulers import NEAREST
from regrain.editing.params.registry import SUPPORTED

STABLE_DIFFUSION = frozenset({"inversion", "image_unet", "features", "control"})
"""Offers of `StableDiffusion`: keys of `editing.params.registry.OFFERS`."""

WAN = frozenset({"flow"})
"""Offers of `Wan`."""

VACE = WAN | {"vace"}
"""Offers of one with control blocks."""

FIRST = frozenset({"first_frame"})
"""Offers of one whose tokens have a timestep each, beside these."""

_NO_INVERSION = STABLE_DIFFUSION - {"inversion"}
BESIDE = {
    "": (STABLE_DIFFUSION, ""),
    "hole": (_NO_INVERSION, " for inpainting"),
    "source": (_NO_INVERSION | {"source"}, " that sees the source (InstructPix2Pix)"),
}
"""Offers of models, and how their kind is called, by what they read beside their
latents."""
# Models by the number of input channels, if latents have four.
_CHANNELS = {5: "a model that reads depth"}
_UNET = "UNet2DConditionModel"
# Inputs that a UNet may need and gets from nobody here, by the key that asks for them.
_CONDITIONS = {
    "class_embed_type": "a model that reads a class or a picture's vector (unCLIP)",
    "num_class_embeds": "a model that reads a class",
    "encoder_hid_dim_type": "a model that reads vectors of pictures (Kandinsky)",
}
CONTROLLED = "WanVACETransformer3DModel"
"""The class of a Wan with control blocks."""
_LARGE = 40  # heads of Wan with 14 billion weights


Beside = Literal["", "hole", "source"]
"""What a network reads beside its own latents: nothing; a mask and the latents of what
is around it, as an inpainting model; or the source's latents, as InstructPix2Pix."""


class Family(NamedTuple):
    """A kind of model, as shown to users, and the offers of its backbone; none if it is
    not supported."""

    title: str
    offers: frozenset[str] = frozenset()


def check_family(family: Family | None, id: str) -> None:
    """Refuse a model of a family that is not supported."""
    if family and not family.offers:
        raise ModelError(
            "model",
            f"{shorten(id)} is {family.title}, which is not supported. Use "
            f"{SUPPORTED}.",
        )


def family_of_configs(
    index: Mapping,
    unet: Mapping,
    scheduler: Mapping,
    transformer: Mapping | None = None,
) -> Family | None:
    """Find the kind of a model by its index, and the configuration of its parts; all
    may be empty."""
    if transformer and transformer.get("_class_name") in CLASSES["transformer"]:
        return _wan(index, transformer)
    if unet:
        return _stable_diffusion(index, unet, scheduler)
    if "_class_name" in index:
        return Family(str(index["_class_name"]))
    return None


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
    return f"a model with {shorten(name)}"


def _stable_diffusion(index: Mapping, unet: Mapping, scheduler: Mapping) -> Family:
    other = _other_kind(unet, scheduler)
    if other is not None:
        return Family(other)
    # of what is no number, loading says what is wrong
    channels, latents = (
        given if isinstance(given, int) else 4
        for given in (unet.get("in_channels", 4), unet.get("out_channels", 4))
    )
    added = unet.get("addition_embed_type")
    if index.get("is_cosxl_edit"):
        return Family("CosXL Edit")
    if added not in (None, "text_time"):
        return Family(f"a model with embeddings of {shorten(added)}")
    if added and index.get("text_encoder", [""])[0] is None:
        return Family("the refiner of SDXL")
    return reading("SDXL" if added else "Stable Diffusion", channels, latents)


def kind_beside(channels: int, latents: int) -> Beside | None:
    """Return what a network with so many input channels reads beside its latents; None
    if that is not known."""
    kinds: dict[int, Beside] = {
        latents: "",
        2 * latents + 1: "hole",
        2 * latents: "source",
    }
    return kinds.get(channels)


def reading(title: str, channels: int, latents: int) -> Family:
    """Return the kind of a model of Stable Diffusion whose first layer reads so many
    channels; `title` is that of its version."""
    beside = kind_beside(channels, latents)
    if beside is None:
        other = f"a model with {channels} input channels"
        return Family(_CHANNELS.get(channels, other))
    offers, reads = BESIDE[beside]
    return Family(f"{title}{reads}", offers)


def _wan(index: Mapping, transformer: Mapping) -> Family:
    """Recognise Wan 2.1 and 2.2 from text.

    Wan 2.2 has a second transformer and a level at which that takes over, or coarser
    latents and a timestep for each token, which is 0 in a first frame that is given;
    other models from pictures have more input channels.
    """
    library, *_ = index.get("transformer_2") or [None]
    is_pair = bool(library or index.get("boundary_ratio"))
    channels = transformer.get("in_channels", 16)
    if channels != (transformer.get("out_channels") or channels):
        return Family(f"Wan with {channels} input channels (one from pictures has 36)")
    title = "Wan 2.2" if is_pair else "Wan 2.1"
    is_large = transformer.get("num_attention_heads") == _LARGE and not is_pair
    size = ", 14B" if is_large else ""
    if transformer["_class_name"] == CONTROLLED:
        return Family(f"{title} VACE{size}", VACE)
    if index.get("expand_timesteps"):
        return Family("Wan 2.2 5B", WAN | FIRST)
    return Family(f"{title}{size}", WAN)
