"""What left the product: who still asks for it is told in one line what to use
instead."""

from __future__ import annotations

# By what a person writes: an option, a command, a parameter as `params.NAME`, an
# endpoint as `/NAME`, a kind of file as its reader names it.
INSTEAD: dict[str, str] = {
    "masks of another form": "Use indexed PNG, a folder per region, white on black, "
    "the page's exact colours, or a COCO data set of run lengths.",
    "track_id": "Objects have no numbers. Give each a category of its own.",
    "LyCORIS": "Use a LoRA, or a DoRA, LoHa or LoKr that peft saved.",
    ".yaml": "Say `--prediction v_prediction` where it has `parameterization: v`, else "
    "`--prediction epsilon`.",
    "lora_alpha": "Save it with peft or diffusers, or give it a weight, FILE@WEIGHT.",
    "pair": "Edit by `--method vace`. For other programs, write masks in white with "
    "`masks convert MASKS -o masks.mkv --color 1=#ffffff`.",
}


def instead(name: str) -> str:
    """Return what to use instead of a thing that left: one or two sentences, empty for
    what never was."""
    return INSTEAD.get(name, "")
