"""What the head of a picture adapter tells of it, and where its encoder stands."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import PurePath
from typing import Literal, NamedTuple, TypeVar

from regrain.editing.errors import ModelError, shorten

FIELD = "picture_adapter"
ENCODER = "image_encoder"
PUBLISHED = "h94/IP-Adapter"
# The models that published adapters are made for, by the width of their text.
SEEING = {768: "Stable Diffusion", 2048: "SDXL"}
FACES = "needs faces found by InsightFace, whose models are for research alone"
Kind = Literal["plain", "plus", "full", "drawn"]
# What tells each kind, and the weight whose last side is as wide as the encoder.
_TOLD: dict[Kind, tuple[str, str]] = {
    "plain": ("proj.weight", "proj.weight"),
    "drawn": ("reader.0.weight", "proj_in.weight"),
    "plus": ("latents", "proj_in.weight"),
    "full": ("proj.3.weight", "proj.0.weight"),
}

_Place = TypeVar("_Place", bound=PurePath)


class Told(NamedTuple):
    """What the head of an adapter tells."""

    kind: Kind
    width: int  # of what the encoder gives
    cross: int  # width of the text that the model reads

    @property
    def encodes(self) -> str:
        """The setting of an encoder that says how wide it is."""
        return "projection_dim" if self.kind == "plain" else "hidden_size"


def tell(id: str, shapes: Mapping[str, tuple[int, ...]]) -> Told:
    """What an adapter is, by the names and shapes of its weights.

    Raises:
        ModelError: It is none, or of a kind that is not supported.
    """
    own = {
        n.removeprefix("image_proj."): s for n, s in shapes.items() if n.startswith("image_proj.")
    }
    if (
        own.keys() & {"perceiver_resampler.proj_in.weight"}
        or {"norm.weight", "proj.0.weight"} <= own.keys()
    ):
        raise ModelError(FIELD, f"{shorten(id)} {FACES}. Use a plain, Plus or Full face adapter.")
    kind = next((kind for kind, (key, _) in _TOLD.items() if key in own), None)
    keys = [n for n in shapes if re.fullmatch(r"ip_adapter\.\d+\.to_[kv]_ip\.weight", n)]
    if kind is None or not keys or _TOLD[kind][1] not in own:
        raise ModelError(FIELD, f"{shorten(id)} is not a picture adapter. Use an IP-Adapter.")
    if extra := [n for n in shapes if not n.startswith("image_proj.") and n not in keys]:
        raise ModelError(FIELD, f"{shorten(id)} has {shorten(extra[0])}. Use a plain IP-Adapter.")
    return Told(kind, own[_TOLD[kind][1]][-1], shapes[keys[0]][-1])


def near(weights: PurePath, encoders: Iterable[_Place]) -> list[_Place]:
    """Which folders of encoders are those of an adapter: beside it, then in the folders above."""
    beside, above = weights.parent, weights.parent.parent
    found = [at for at in encoders if at.parent in (beside, above) or at.parent.parent == above]
    return sorted(found, key=lambda at: (at.parent != beside, at.parent == above, at))
