"""What left the product: who still asks for it is told in one line what to use
instead."""

from __future__ import annotations

_GIF = "`ffmpeg -i edited.mp4 edited.gif` makes one of the edit."
_PICTURES = "Pictures act in every step and block. Leave it out, or set their scale."
_HEAT = (
    "Attention is recorded in every step, on grids of up to 1024 cells. Leave it out."
)
_CONSTANT = "It is a constant now. Leave it out."
_HERE = "This method keeps it constant, or has none. Leave it out."
# Parameters that nobody set.
_CONSTANTS = (
    "blend_from blend_until blend_threshold cross_frame dense_layers first_noise "
    "freeu learn_with learned_share noise padding phrases pivot positions recompute "
    "refine_until replace_until restore_statistics smooth_background "
    "smooth_from smooth_until spatial_sharpness spatial_steps temporal_sharpness "
    "temporal_until track_levels"
)
# Those that other methods still have.
_ELSEWHERE = (
    "alignment attention_span guidance_half joint_norm keys learning_rate levels "
    "reconstruct self_until size_over_frames uncovered"
)
# By what a person writes: an option, a command, a parameter as `params.NAME`, an
# endpoint as `/NAME`, a file, a variable, or a kind of file as its reader names it.
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
    "a file of jobs": "Files of jobs are read no more. Give project folders.",
    "--split": "A clip is edited by one worker. Leave it out.",
    "--cpus": "A worker takes one. Leave it out.",
    "--gpus": "A worker takes one where there are any. Leave it out.",
    "clean": "The page grows, shrinks and cleans masks. `convert` writes other forms.",
    "finders": "A wrong --finder or --tracker of `track` is refused with those there are.",
    "params.heat_pixel": "Attention is recorded of whole words. Leave it out.",
    **{f"params.{name}": _CONSTANT for name in _CONSTANTS.split()},
    **{f"params.{name}": _HERE for name in _ELSEWHERE.split()},
    "params.picture_from": _PICTURES,
    "params.picture_until": _PICTURES,
    "params.picture_blocks": _PICTURES,
    "params.heat_from": _HEAT,
    "params.heat_until": _HEAT,
    "params.heat_grids": _HEAT,
    "params.guidance_low": "Both experts take guidance_scale. Set that.",
    "params.scale": "Control blocks act as trained. Leave it out; pictures have scales.",
    "params.start": "For fresh noise set variation to 1.",
    "params.shown": "It is grey. For an edit of the whole frame take another method.",
    "params.use_masks": "Masks count wherever there are any. Remove them.",
    "REGRAIN_GPU_SPEED": "Set REGRAIN_GPU_SECONDS, what a Space asks for each time.",
    "credit.json": "Credits are not shown. Name the makers where you publish the edit.",
    "/edit_example": "Send the clip of the example to /edit_video.",
    "/list_methods": "A wrong method or parameter is refused with those there are.",
    "/list_models": "Leave names empty; a wrong one is refused with those there are.",
    "--gif": _GIF,
    "gif": _GIF,
    "joined recordings": "Give recordings that were joined one clock by "
    "`ffmpeg -i JOINED -crf 12 CLIP.mp4`.",
}


def instead(name: str) -> str:
    """Return what to use instead of a thing that left: one or two sentences, empty for
    what never was."""
    return INSTEAD.get(name, "")
