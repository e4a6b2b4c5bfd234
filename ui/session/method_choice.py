"""The choice of a method, and what each makes of what the page offers, read from its record alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from regrain.editing.params.base import ModulatedParams
from regrain.editing.params.registry import METHODS, Method

View = dict[str, Any]


@dataclass(frozen=True)
class Uses:
    """What a method does with what a person can give."""

    # Whether it needs them, takes them where there are any, or ignores them
    regions: Literal["needed", "taken", "ignored"]
    source_prompt: (
        bool  # whether it reads what the clip shows, if only to compose prompts from the regions
    )
    # Whether the seed acts always, only with `variation` above 0, or never
    seed: Literal["always", "variation", "never"]
    several: bool  # whether it takes several prompts and makes as many edits


def uses(name: str) -> Uses:
    """Read a method's record: `regions` among its needs, or `masks` where they are optional; either of them,
    `inversion` or `source_prompt`; `seed`, or a parameter `variation`; `several`."""
    method = METHODS[name]
    needs = method.needs
    varies = "variation" in method.Params.model_fields
    return Uses(
        regions="needed" if "regions" in needs else "taken" if "masks" in needs else "ignored",
        source_prompt=bool(needs & {"regions", "masks", "inversion", "source_prompt"}),
        seed="always" if "seed" in needs else "variation" if varies else "never",
        several=method.several,
    )


def choice(chosen: str) -> View:
    """The methods, what each does and uses, and which one is chosen."""
    return {"chosen": chosen, "methods": [_described(method) for method in METHODS.values()]}


def seed_words(name: str) -> str:
    """What the seed does."""
    return {
        "always": "Each seed gives another result.",
        "variation": "One result per words; set Variation for others.",
        "never": f"Not used: {METHODS[name].title} starts from the clip itself.",
    }[uses(name).seed]


_SAY = {
    "needed": "Edits each region with its own words, all in one run.",
    "taken": "Edits the whole frame with one prompt. If there are regions, the edit stays inside them.",
    "ignored": "Edits the whole frame with one prompt.",
}


def _described(method: Method) -> View:
    does = uses(method.name)
    return {
        "name": method.name,
        "title": method.title,
        "paper": method.paper,
        "say": _SAY[does.regions] + " Needs the video model Wan 2.1." * ("flow" in method.needs),
        "regions": does.regions,
        "source_prompt": does.source_prompt,
        "several": does.several,
        "binds": issubclass(method.Params, ModulatedParams),
        "uses": [
            {"name": "regions", "used": does.regions != "ignored"},
            {"name": "clip description", "used": does.source_prompt},
            {"name": "several prompts", "used": does.several},
            {"name": "seed", "used": does.seed != "never"},
        ],
    }
