"""The choice of a method, and the inputs that each uses, read from its record alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from regrain.editing.params.registry import METHODS

# The example that shows what changes, by key of `CHANGES`.
SHOWN_BY = {
    "kind": "01_two_animals",
    "colour": "05_colour",
    "look": "04_style",
    "picture": "03_like_a_picture",
    "shape": "13_by_a_tuned_model",
}


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
    regions = "taken" if "masks" in needs else "ignored"
    if "regions" in needs:
        regions = "needed"
    varies = "variation" in method.Params.model_fields
    seed = "variation" if varies else "never"
    if "seed" in needs:
        seed = "always"
    return Uses(
        regions=regions,
        source_prompt=bool(needs & {"regions", "masks", "inversion", "source_prompt"}),
        seed=seed,
        several=method.several,
    )


def seed_words(name: str) -> str:
    """Say what the seed does."""
    again = " or Draw again" if "redraw" in METHODS[name].Params.model_fields else ""
    words = {
        "always": "Each seed gives another result.",
        "variation": f"Each seed gives another result where Variation{again} is above 0.",
        "never": "Not used: this method starts from the clip itself.",
    }
    return words[uses(name).seed]
