"""Published models that edit real clips: what is known of each before it is fetched."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from regrain.editing.models.files.offers import STABLE_DIFFUSION, VACE, WAN, Family
from regrain.editing.models.files.schedulers import GUIDED_LCM, proposed
from regrain.editing.storage.memory import NEEDS, Need

# Of weights and configurations, in a folder that loads as it is.
_FILES = (
    "*.json",
    "tokenizer*/*",
    "*/diffusion_pytorch_model.safetensors",
    "text_encoder*/model.safetensors",
    "*-of-*.safetensors",
)


@dataclass(frozen=True)
class Offered:
    """A published model.

    Attributes:
        id: Its repository on the hub.
        title: As shown to users.
        good: What it is good for, in a sentence.
        family: Its kind, and what it offers.
        licence: Its name on the hub.
        size: Bytes to fetch; if they are `counted`, of weights of two bytes each.
        method: The method that the page uses with it.
        params: Parameters that suit it, where they are not the method's.
    """

    id: str
    title: str
    good: str
    family: Family
    licence: str
    size: int
    method: str
    params: Mapping[str, object] = field(default_factory=dict)
    counted: bool = False

    @property
    def need(self) -> Need:
        """The memory of its family, at the smallest side that it is used at."""
        title = self.family.title
        return next(need for need in NEEDS if title.startswith(need.family))

    def command(self, folder: str) -> str:
        """Return the command that fetches it into a folder of models."""
        files = " ".join(f'--include "{name}"' for name in _FILES)
        place = f"{folder}/{self.id.split('/')[1]}"
        return f'hf download {self.id} {files} --local-dir "{place}"'


OFFERED = {
    one.id: one
    for one in (
        Offered(
            id="stable-diffusion-v1-5/stable-diffusion-v1-5",
            title="Stable Diffusion 1.5",
            good="Gives each region a new kind and shape; most methods were made with it.",
            family=Family("Stable Diffusion", STABLE_DIFFUSION),
            licence="creativeml-openrail-m",
            size=4_270_000_000,
            method="videograin",
        ),
        Offered(
            id="SimianLuo/LCM_Dreamshaper_v7",
            title="LCM Dreamshaper",
            good="Edits in 4 steps where others take 20, so that it is the soonest done.",
            family=Family(
                "Stable Diffusion, LCM", STABLE_DIFFUSION - frozenset({"inversion"})
            ),
            licence="mit",
            size=4_270_000_000,
            method="infedit",
            params=proposed({}, GUIDED_LCM)["infedit"],
        ),
        Offered(
            id="stabilityai/stable-diffusion-xl-base-1.0",
            title="SDXL",
            good="Draws finer detail, and takes the most memory and time.",
            family=Family("SDXL", STABLE_DIFFUSION),
            licence="openrail++",
            size=13_880_000_000,
            method="videograin",
        ),
        Offered(
            id="Wan-AI/Wan2.1-T2V-1.3B-Diffusers",
            title="Wan 2.1, 1.3B",
            good="A video model: it knows motion, so edits hold still.",
            family=Family("Wan 2.1", WAN),
            licence="apache-2.0",
            size=28_920_000_000,
            method="flow_regions",
        ),
        Offered(
            id="Wan-AI/Wan2.1-VACE-1.3B-diffusers",
            title="Wan 2.1 VACE, 1.3B",
            good="Draws regions anew, in any shape, by words and a picture for each; old motion is lost.",
            family=Family("Wan 2.1 VACE", VACE),
            licence="apache-2.0",
            size=15_900_000_000,
            method="vace",
            counted=True,
        ),
        Offered(
            id="Wan-AI/Wan2.1-VACE-14B-diffusers",
            title="Wan 2.1 VACE, 14B",
            good="The same with eight times the weights, for cards of 80 GB.",
            family=Family("Wan 2.1 VACE, 14B", VACE),
            licence="apache-2.0",
            size=46_300_000_000,
            method="vace",
            counted=True,
        ),
    )
}
"""Published models by id. Sizes, rounded, and licences are as the hub's pages listed them,
or counted; nothing was fetched to check them."""

_SD, _LCM, _XL, _WAN, _VACE, _VACE_14 = OFFERED
WISHES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "steady": ("Steady motion", (_WAN, _SD, _LCM, _XL)),
    "shape": ("New shape", (_VACE, _VACE_14, _SD, _XL, _WAN, _LCM)),
    "fast": ("Fast", (_LCM, _SD, _WAN, _XL)),
    "laptop": ("On a laptop", (_LCM, _SD, _WAN, _XL)),
}
"""What somebody may wish, by name: its title, and the models that suit it, the best
first."""
