"""Single .safetensors files of Stable Diffusion: what their heads say before any weights
are read."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from regrain.editing.errors import ModelError, shorten
from regrain.editing.models.files.config_keys import PREDICTIONS, unsupported
from regrain.editing.models.files.configs import check_config
from regrain.editing.models.files.offers import Family, check_family, reading
from regrain.editing.models.files.wan_file import beginning
from regrain.editing.params.registry import SUPPORTED
from regrain.editing.removed import instead
from regrain.editing.storage.local_models import ASSETS
from regrain.editing.storage.safetensors_files import read_shapes
from regrain.editing.storage.texts import Json

CHECKPOINTS = ASSETS / "checkpoints"
UNET, VAE = "model.diffusion_model.", "first_stage_model."
CLIP_TEXT, OPENCLIP_TEXT = "transformer.text_model.", "model."
_FIRST_OF_XL = "conditioner.embedders.0."
# Of each version, its text encoders.
TEXT = {
    "sd1": {"text_encoder": f"cond_stage_model.{CLIP_TEXT}"},
    "sd2": {"text_encoder": f"cond_stage_model.{OPENCLIP_TEXT}"},
    "sdxl": {
        "text_encoder": f"{_FIRST_OF_XL}{CLIP_TEXT}",
        "text_encoder_2": f"conditioner.embedders.1.{OPENCLIP_TEXT}",
    },
}
# How `modelspec.architecture` begins.
_ARCHITECTURES = {
    "sd1": "stable-diffusion-v1",
    "sd2": "stable-diffusion-v2",
    "sdxl": "stable-diffusion-xl",
}
# Empty tensors that say what a file predicts, and that its last level has no signal.
V_MARK, ZERO_SNR = "v_pred", "ztsnr"
_OTHER_MARKS = {
    "edm_vpred": "an EDM model (CosXL)",
    "edm_": "an EDM model (Playground 2.5)",
}
_V_SIDE = 768
_SIDES = (64, 4096)  # the least and the largest, in pixels
_LATENTS = 4  # channels
_FIRST_LAYER = f"{UNET}input_blocks.0.0.weight"
_OPENCLIP_TABLE = "cond_stage_model.model.token_embedding.weight"


class FileHead(NamedTuple):
    """Values of the head of a .safetensors file.

    Attributes:
        path: The file.
        names: Of its tensors.
        metadata: Its texts by key.
        channels: Channels that its first layer reads; those of latents if it has none.
    """

    path: Path
    names: frozenset[str]
    metadata: Mapping[str, str]
    channels: int = _LATENTS

    @property
    def version(self) -> str:
        """sd1, sd2 or sdxl, by the names of its text encoders."""
        if any(name.startswith("conditioner.embedders.") for name in self.names):
            return "sdxl"
        return "sd2" if _OPENCLIP_TABLE in self.names else "sd1"

    @property
    def family(self) -> Family:
        """Its kind."""
        if self.other_kind:
            return Family(self.other_kind)
        title = "SDXL" if self.version == "sdxl" else "Stable Diffusion"
        return reading(title, self.channels, _LATENTS)

    @property
    def other_kind(self) -> str | None:
        """Its kind, as shown to users, if that is not supported; None if it is, or is
        not known."""
        if beginning(self.names) is not None:
            return "the transformer of a Wan alone"
        if f"{_FIRST_OF_XL}{OPENCLIP_TEXT}token_embedding.weight" in self.names:
            return "the refiner of SDXL"
        if self.version != "sdxl" and f"{UNET}label_emb.0.0.weight" in self.names:
            return "a model that reads a class or a picture's vector (unCLIP)"
        for start, title in _OTHER_MARKS.items():
            if any(name.startswith(start) for name in self.names):
                return title
        return None

    def check_whole(self) -> None:
        """Refuse a file of another kind, or without a part, by a ModelError."""
        name = shorten(self.path.name)
        version = self.version
        if beginning(self.names) is not None:
            raise ModelError(
                "model",
                f"{name} is the transformer of a Wan alone. Put it into a folder of "
                "Wan for diffusers, beside text_encoder/, and name it there.",
            )
        check_family(self.family, self.path.name)
        needed = {
            "UNet": _FIRST_LAYER,
            "autoencoder": f"{VAE}encoder.conv_in.weight",
        }
        for part in TEXT[version]:
            needed[part.replace("_", " ")] = token_table(version, part)
        for part, key in needed.items():
            if key not in self.names:
                raise ModelError(
                    "model",
                    f"{name} has no {part} ({key}). Use a complete Stable "
                    "Diffusion checkpoint.",
                )
        stated = self.metadata.get("modelspec.architecture", "").lower()
        other = stated and not stated.startswith(_ARCHITECTURES[version])
        if other or "edm" in stated:
            raise unsupported(name, "architecture", stated, f"Use {SUPPORTED}")
        steps = self.metadata.get("modelspec.timestep_range", "")
        if steps.replace(" ", "") not in ("", "0,999", "0,1000"):
            raise unsupported(
                name, "timestep_range", steps, "Use a model for all timesteps"
            )

    def side(self, prediction: object) -> int | None:
        """Return the short side of the pictures on which it says that it was trained,
        in pixels, or 2.x that predicts v; None of others. A ModelError if it is no such
        side."""
        stated = stated_side(self.metadata, self.path.name)
        is_wide = self.version == "sd2" and prediction == "v_prediction"
        return stated or (_V_SIDE if is_wide else None)

    @property
    def skipped_layers(self) -> int:
        """How many of the last layers of the text encoder it says to leave out; a
        ModelError if there are more than usual, except for 1.x."""
        version = self.version
        stated = self.metadata.get("modelspec.encoder_layer", "")
        if version == "sdxl" and stated == "1":  # which trainers write unheeded
            return 0
        usual = 1 if version == "sd1" else 2
        layer = int(stated) if re.fullmatch(r"[1-9]", stated) else usual
        if layer != usual and version != "sd1" or stated not in ("", str(layer)):
            raise unsupported(
                shorten(self.path.name), "encoder_layer", stated, "Use another"
            )
        return layer - usual

    @property
    def scheduler(self) -> Json:
        """Its schedule as scheduler_config.json would say it, without `prediction_type`
        if nothing says it; a ModelError if it has a value that is not supported."""
        name = shorten(self.path.name)
        known = stock_config(self.version, "scheduler", "scheduler_config.json")
        del known["prediction_type"]
        said = self.metadata.get("ss_zero_terminal_snr")
        if ZERO_SNR in self.names or said == "True":
            known |= {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
        stated = stated_prediction(self.metadata)
        if V_MARK in self.names:
            stated = "v_prediction"
        if stated not in ("", *PREDICTIONS):
            raise ModelError(
                "model",
                f"{name} predicts {shorten(stated)}, which is not supported. Use "
                "another.",
            )
        if stated:
            known["prediction_type"] = stated
        return check_config(known, "scheduler", name)

    def check_silence(self) -> None:
        """Refuse a file that leaves what it predicts to a .yaml beside it, by a
        ModelError."""
        is_there = any(self.path.with_suffix(end).exists() for end in (".yaml", ".yml"))
        if is_there and "prediction_type" not in self.scheduler:
            said = f"A .yaml beside {shorten(self.path.name)} is not read"
            raise ModelError("model", f"{said}. {instead('.yaml')}")


def read_head(path: Path) -> FileHead:
    """Check that a .safetensors file is whole, and read its head; a ModelError if it is
    damaged."""
    shapes, metadata = read_shapes(path)
    shape = shapes.get(_FIRST_LAYER, ())
    channels = shape[1] if len(shape) > 1 else _LATENTS
    return FileHead(path, frozenset(shapes), metadata, channels)


def stock_config(version: str, part: str, name: str = "config.json") -> Json:
    """Read a configuration of a published model of a version."""
    return json.loads((CHECKPOINTS / version / part / name).read_text(encoding="utf-8"))


def token_table(version: str, part: str) -> str:
    """Return the key of a text encoder's table of tokens."""
    prefix = TEXT[version][part]
    if prefix.endswith(CLIP_TEXT):
        prefix += "embeddings."
    return f"{prefix}token_embedding.weight"


def stated_side(metadata: Mapping[str, str], name: str) -> int | None:
    """Return the short side of the pictures on which a file says that it was trained, in
    pixels; None if it does not. A ModelError names the file if it is no such side."""
    stated = metadata.get("modelspec.resolution", "")
    if not stated:
        return None
    text = stated.replace(" ", "").lower()
    found = re.fullmatch(r"(\d{2,4})(?:x(\d{2,4}))?", text)
    side = min(int(found[1]), int(found[2] or found[1])) if found else 0
    if not _SIDES[0] <= side <= _SIDES[1]:
        raise unsupported(shorten(name), "resolution", stated, "Use another")
    return side


def stated_prediction(metadata: Mapping[str, str]) -> str:
    """Return what the metadata of a file say that the network predicts, as diffusers
    names it if it is known; empty if they do not."""
    stated = metadata.get("modelspec.prediction_type", "").lower()
    if metadata.get("ss_v_parameterization") == "True" or stated == "v":
        return "v_prediction"
    return "epsilon" if stated.startswith("eps") else stated
