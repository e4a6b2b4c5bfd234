"""The plain fields of an edit: all that is asked of it, but for the clip, its masks and
its regions."""

from __future__ import annotations

from dataclasses import dataclass

from regrain.editing.media.lazy_frames import Texts
from regrain.editing.params.registry import METHODS
from regrain.editing.request.boxes import EXPECTED, MAX_WRITTEN
from regrain.editing.request.fields import Option, declare
from regrain.editing.request.region import MAX_PROMPT, declare_scale
from regrain.editing.storage.texts import Values

MAX_SEED = 2**63 - 1
MIN_SIZE, MAX_SIZE = 64, 4096
MAX_PROMPTS = 8
MAX_LORAS = 8


@dataclass(frozen=True, eq=False)
class Edit:
    """All plain values of an edit. They are checked when they become part of an
    `EditRequest`."""

    source_prompt: str = declare(
        "",
        "What the clip shows.",
        kind="text",
        title="The clip shows",
        max_length=MAX_PROMPT,
    )
    prompt: str = declare(
        "",
        "What it should show; composed from the regions if empty.",
        kind="text",
        title="It should show",
        option=Option(
            "Prompt instead of the project's; repeat it for further edits in the same run.",
            key="prompts",
            many=True,
        ),
        max_length=MAX_PROMPT,
    )
    negative_prompt: str = declare(
        "",
        "What it should not show.",
        kind="text",
        title="Avoid",
        max_length=MAX_PROMPT,
    )
    method: str = declare(
        "videograin",
        f"One of: {', '.join(METHODS)}.",
        option=Option("Method instead of the project's."),
    )
    # The given ones only; the others are decided when the run starts.
    params: Values = declare(
        {},
        "Parameters of the method; the others are decided when it runs.",
        expected="an object of names and values",
        option=Option(
            "Parameter of the method; repeatable. `schema` lists them with their ranges.",
            "--set",
            "KEY=VALUE",
        ),
        programs="Parameters of the method, by name.",
    )
    model: str = declare(
        "storybook",
        "storybook, a hub id, or a name in the folder $REGRAIN_MODELS.",
        kind="weights",
        expected="the id of a model",
        option=Option("Model id, or path of a folder or .safetensors file."),
        programs="Name of a model; an unknown one is refused with those there are.",
    )
    # For a file that does not say; see `models.weights.single_file`.
    prediction: str = declare(
        "",
        "What the model predicts, if its file does not say: epsilon, v_prediction or sample.",
        expected="epsilon, v_prediction or sample",
        option=Option(
            "What the model predicts, for a file that does not say: epsilon, v_prediction or sample.",
            metavar="NAME",
        ),
        omit_empty=True,
    )
    more_prompts: Texts = declare(
        (),
        "Prompts of further edits in the same run.",
        expected=f"at most {MAX_PROMPTS - 1} prompts, none of them empty",
        title="It should show",
        programs=False,
        omit_empty=True,
        max_length=MAX_PROMPTS - 1,
    )
    loras: Texts = declare(
        (),
        "LoRA files added to the model, as NAME@WEIGHT; names as for models.",
        kind="weights",
        expected=f"at most {MAX_LORAS} files",
        option=Option(
            "LoRA instead of the project's; repeatable.", "--lora", "FILE@WEIGHT"
        ),
        omit_empty=True,
        max_length=MAX_LORAS,
    )
    # See `models.motion_modules`.
    motion: str = declare(
        "",
        "Motion adapter (AnimateDiff), NAME@SCALE; the scale is 0 to 4.",
        kind="weights",
        expected="NAME@SCALE",
        option=Option(
            "Motion adapter (AnimateDiff) instead of the project's; the scale is 0 to 4, by default 1.",
            metavar="NAME@SCALE",
        ),
        omit_empty=True,
    )
    picture: str = declare(
        "",
        "A picture of what the whole frame should become.",
        kind="file",
        expected="the path of a picture",
        option=Option(
            "Picture of what a region becomes, or FILE@SCALE of the whole frame; the scale is 0 to 1.5.",
            metavar="NAME=FILE@SCALE",
            key="pictures",
            many=True,
        ),
        omit_empty=True,
    )
    picture_scale: float | None = declare_scale(omit_empty=True)
    # What lets the model see pictures; see `models.pictures`.
    picture_adapter: str = declare(
        "",
        "Picture adapter (IP-Adapter); named as models are.",
        kind="weights",
        expected="a path or a name",
        title="Picture adapter",
        option=Option(
            "Picture adapter (IP-Adapter): a file, a folder, a name in $REGRAIN_MODELS, or of the hub.",
            metavar="NAME",
        ),
        programs="Name of the adapter that sees pictures.",
        omit_empty=True,
    )
    # What looks at the result; see `verdict`.
    reader: str = declare(
        "",
        "CLIP model that looks at every region after the run; named as models are.",
        kind="weights",
        expected="a path or a name",
        title="Looked at by",
        option=Option(
            "CLIP model that looks at every region after the run: a folder, a name in $REGRAIN_MODELS, "
            "or of the hub.",
            metavar="NAME",
        ),
        programs="Name of the model that looks at every region after the run.",
        omit_empty=True,
    )
    # See `models.adapters`.
    adapter: str = declare(
        "",
        "An adapter tuned on the clip: a file in the folder, or a name in $REGRAIN_MODELS.",
        kind="file",
        expected="a path or a name",
        title="Tuned model",
        option=Option(
            "Adapter file made by `tune`, or its name in $REGRAIN_MODELS; instead of the project's.",
            metavar="FILE",
        ),
        programs=False,
        omit_empty=True,
    )
    seed: int = declare(
        0,
        "Another seed gives another result, if the method draws noise.",
        (0, MAX_SEED),
        option=Option("Seed instead of the project's."),
    )
    # See `request.boxes`.
    focus: str = declare(
        "off",
        "Where to work: off is the whole frame; auto, on and each edit boxes around the regions, enlarged.",
        expected=EXPECTED,
        title="Focus",
        option=Option(
            "Edit a box around the regions, enlarged: auto, on, off, each (a box per region), "
            "or the box itself.",
            metavar="HOW",
        ),
        max_length=MAX_WRITTEN,
    )
    # A key of `clip` in project.json. Above 512, at most 8 times the clip's.
    size: int | None = declare(
        None,
        "Working size of the short side in pixels; the model's by default.",
        (MIN_SIZE, MAX_SIZE),
        programs=False,
    )

    @property
    def added(self) -> list[str]:
        """Names of all that is added to the model."""
        parts = (*self.loras, self.motion, self.picture_adapter, self.reader)
        return [name for name in parts if name]
