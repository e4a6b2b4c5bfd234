"""Published models that edit real clips: what is known of each before it is fetched."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Known:
    """A published model.

    Attributes:
        id: Its repository on the hub.
        title: As shown to users.
        good: What it is good for, in a sentence.
        family: Its kind, by which memory is planned.
        licence: Its name on the hub.
        size: Bytes to fetch; if they are `counted`, of weights of two bytes each.
        steps: Steps of an edit.
    """

    id: str
    title: str
    good: str
    family: str
    licence: str
    size: int
    counted: bool = False
    steps: int = 50


KNOWN = (
    Known(
        id="stable-diffusion-v1-5/stable-diffusion-v1-5",
        title="Stable Diffusion 1.5",
        good="Gives each region a new kind and shape; most methods were made with it.",
        family="Stable Diffusion",
        licence="creativeml-openrail-m",
        size=4_270_000_000,
    ),
    Known(
        id="SimianLuo/LCM_Dreamshaper_v7",
        title="LCM Dreamshaper",
        good="Edits in 4 steps where others take 20, so that it is the soonest done.",
        family="Stable Diffusion",
        licence="mit",
        size=4_270_000_000,
        steps=4,
    ),
    Known(
        id="timbrooks/instruct-pix2pix",
        title="InstructPix2Pix",
        good="Sees the clip while it draws, and is told what to do: turn the cat into a fox.",
        family="Stable Diffusion",
        licence="mit",
        size=4_270_000_000,
    ),
    Known(
        id="stabilityai/stable-diffusion-xl-base-1.0",
        title="SDXL",
        good="Draws finer detail, for twice the memory of Stable Diffusion 1.5.",
        family="SDXL",
        licence="openrail++",
        size=13_880_000_000,
    ),
    Known(
        id="Wan-AI/Wan2.1-T2V-1.3B-Diffusers",
        title="Wan 2.1, 1.3B",
        good="A video model: it knows motion, so edits hold still.",
        family="Wan 2.1",
        licence="apache-2.0",
        size=28_920_000_000,
    ),
    Known(
        id="Wan-AI/Wan2.1-VACE-1.3B-diffusers",
        title="Wan 2.1 VACE, 1.3B",
        good="Draws regions anew, in any shape, by words and a picture for each; old motion is lost.",
        family="Wan 2.1 VACE",
        licence="apache-2.0",
        size=15_900_000_000,
        counted=True,
    ),
    Known(
        id="Wan-AI/Wan2.1-VACE-14B-diffusers",
        title="Wan 2.1 VACE, 14B",
        good="The same with eight times the weights.",
        family="Wan 2.1 VACE, 14B",
        licence="apache-2.0",
        size=46_300_000_000,
        counted=True,
    ),
)
"""Sizes, rounded, and licences are as the hub's pages listed them, or counted; nothing
was fetched to check them."""
