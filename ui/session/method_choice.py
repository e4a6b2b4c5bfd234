"""The choice of a method, and the inputs that each uses, read from its record alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from regrain.editing.params.base import ModulatedParams
from regrain.editing.params.registry import METHODS, Method

View = dict[str, Any]


@dataclass(frozen=True)
class Uses:
    """The inputs that a method uses."""

    # Whether it needs them, takes them where there are any, or ignores them
    regions: Literal["needed", "taken", "ignored"]
    # Whether it reads what the clip shows, if only to compose prompts from the regions
    source_prompt: bool
    # Whether the seed acts always, only with `variation` above 0, or never
    seed: Literal["always", "variation", "never"]
    several: bool  # whether it takes several prompts and makes as many edits


def uses(name: str) -> Uses:
    """Read from a method's record what it uses.

    Its needs have `regions`, or `masks` where they are optional; either of them,
    `inversion` or `source_prompt` if it reads what the clip shows; `seed` unless only a
    parameter `variation` draws noise.
    """
    method = METHODS[name]
    needs = method.needs
    regions = seed = None
    if "regions" in needs:
        regions = "needed"
    elif "masks" in needs:
        regions = "taken"
    if "seed" in needs:
        seed = "always"
    elif "variation" in method.Params.model_fields:
        seed = "variation"
    return Uses(
        regions=regions or "ignored",
        source_prompt=bool(needs & {"regions", "masks", "inversion", "source_prompt"}),
        seed=seed or "never",
        several=method.several,
    )


def choice(chosen: str, lacks: Mapping[str, str] | None = None) -> View:
    """Return the methods, what each does and uses, and which one is chosen.

    `lacks` says of methods why the chosen model cannot be used with them; None leaves
    what the page knows.
    """
    return {
        "chosen": chosen,
        "methods": [_described(method) for method in METHODS.values()],
        "lacks": lacks,
    }


def seed_words(name: str) -> str:
    """Say what the seed does."""
    words = {
        "always": "Each seed gives another result.",
        "variation": "The seed has no effect until Variation is above 0.",
        "never": f"Not used: {METHODS[name].title} starts from the clip itself.",
    }
    return words[uses(name).seed]


# What a method does with regions.
_WHERE = {
    "needed": "",
    "taken": "One prompt for the whole frame; if there are regions, the edit stays inside them.",
    "ignored": "One prompt for the whole frame.",
}


def _described(method: Method) -> View:
    does = uses(method.name)
    say = f"{method.does} {_WHERE[does.regions]}".strip()
    return {
        "name": method.name,
        "title": method.title,
        "paper": method.paper,
        "say": say,
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
