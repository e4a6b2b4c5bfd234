"""Arguments that programs send: one declaration per endpoint gives validation, defaults
and documents.

Edits and regions have the fields that `editing.request.edit.Edit` and `region.Region`
declare.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_origin

from gradio import FileData
from gradio_client.utils import python_type_to_json_schema
from pydantic import BeforeValidator, ConfigDict, Field, WithJsonSchema, create_model

from regrain.editing.errors import EditingError
from regrain.editing.params.registry import METHODS
from regrain.editing.request.edit import Edit
from regrain.editing.request.fields import Declared, Strict, declared
from regrain.editing.request.region import MAX_FRAME, Region
from regrain.ui.session.clip_files import uploaded
from regrain.ui.session.mask_edits import MAX_POINTS
from regrain.ui.values.state import MAX_REGIONS

_CLICKS = [{"x": 100, "y": 100}]  # an example
_USUAL = "Empty takes the default; an unknown name is refused with those there are."


def _plain(schema: dict[str, Any]) -> None:
    """Leave out of a JSON schema what gradio does not read."""
    del schema["additionalProperties"]
    for part in (schema, *schema["properties"].values()):
        part.pop("title", None)


class Arguments(Strict):
    """Arguments of an endpoint, as JSON has them."""

    model_config = ConfigDict(json_schema_extra=_plain)


A = TypeVar("A", bound=Arguments)


def _arrived(value: object) -> Path:
    """Return the path of an uploaded file; nothing else on this machine is opened for a
    stranger."""
    try:
        return uploaded(value)
    except EditingError:
        raise ValueError(
            "The file did not arrive. Upload it, with handle_file in Python."
        ) from None


def _file(name: str) -> dict[str, object]:
    """Return a file as an example of what is sent."""
    return {"path": name, "url": name, "meta": {"_type": "gradio.FileData"}}


# All that clients need; MCP would ask for the rest.
_FILE = WithJsonSchema(
    {k: v for k, v in python_type_to_json_schema(FileData).items() if k != "required"}
)
Upload = Annotated[Path, BeforeValidator(_arrived), _FILE]
MaybeUpload = Annotated[Upload | None, _FILE]
Frame = Annotated[int, Field(ge=0, le=MAX_FRAME)]
Count = Annotated[int, Field(ge=1, le=MAX_FRAME)]
Pixels = float
Name = Annotated[str, Field(max_length=200)]
Method = Annotated[str, WithJsonSchema({"type": "string", "enum": [*METHODS]})]


class Click(Arguments):
    """A point on a picture."""

    x: Pixels = Field(
        description="Pixels of the file, from the left edge of the frame."
    )
    y: Pixels = Field(
        description="Pixels of the file, from the upper edge of the frame."
    )
    inside: bool = Field(
        True, description="Whether the point is on the object; false marks what is not."
    )


class FrameClick(Click):
    """A point on one of the used frames."""

    frame: Frame = Field(0, description="Number of the used frame, from 0.")


class ClickedRegion(Arguments):
    """An object to follow."""

    name: str = Field("", description="Its name.")
    label: int = Field(
        0,
        ge=0,
        le=255,
        description="Its value in the masks; 0 takes its place in the list.",
    )
    clicks: list[FrameClick] = Field(
        [],
        max_length=MAX_POINTS,
        description="Points on the object, on one frame or several.",
    )


def _offered(owner: type, base: type[A], **types: Any) -> type[A]:
    """Make a model that adds to `base` what programs may give of a dataclass's declared
    fields.

    `types` are those of single fields; by default their own.
    """
    fields: dict[str, Any] = {}
    for name, one in declared(owner).items():
        if one.programs and name not in base.model_fields:
            default = None if one.kind == "file" else one.info.default
            description = (
                one.programs if isinstance(one.programs, str) else one.description
            )
            info = Field(default, description=description, **one.limits)
            fields[name] = (types.get(name, _type(one)), info)
    return create_model(f"Offered{owner.__name__}", __base__=base, **fields)


def _type(one: Declared) -> Any:
    """Return the type of a field for programs: files are uploaded, and names of models
    are short."""
    if one.kind == "file":
        return MaybeUpload
    if one.kind == "weights":
        return list[Name] if get_origin(one.type) is list else Name
    return one.type


class EditedRegion(_offered(Region, ClickedRegion)):
    """An object to edit; the checks of its words are those of `editing.request.region.Region`."""


class OfVideo(Arguments):
    """Which frames of a video are used, and who makes its masks."""

    video: Upload = Field(
        description="The video: mp4, mov, webm, mkv, avi or gif.",
        examples=[_file("clip.mp4")],
    )
    start: Frame | None = Field(None, description="First frame used, from 0.")
    stride: Count | None = Field(None, description="Use every stride-th frame.")
    frames: Count | None = Field(
        None,
        description="Number of frames used. A long video is thinned to 32 frames unless start, stride or "
        "frames is given.",
    )
    finder: Name = Field("", description=f"What turns clicks into masks. {_USUAL}")
    tracker: Name = Field(
        "", description=f"What follows masks through the video. {_USUAL}"
    )


Formats = Literal["mp4", "png", "prores", "matte"]


class EditVideo(OfVideo, _offered(Edit, Arguments, method=Method)):
    """Arguments of `edit_video`."""

    regions: list[EditedRegion] = Field(
        [],
        max_length=MAX_REGIONS,
        description="What is edited, each region with its own words.",
        examples=[[{"source": "a cat", "prompt": "a dog", "clicks": _CLICKS}]],
    )
    masks: MaybeUpload = Field(
        None,
        description="Masks of the used frames: a zip file of PNG files, COCO JSON or a mask video. Regions "
        "without clicks take theirs from it, by label.",
    )
    format: Formats = Field(
        "mp4",
        description="What is returned: mp4; png, the frames without loss in a zip file; prores, "
        "ProRes 4444 of the edit alone and its matte as straight alpha; matte, grey PNG files in a zip file.",
    )


class TrackVideo(OfVideo):
    """Arguments of `track`."""

    regions: list[ClickedRegion] = Field(
        min_length=1,
        max_length=MAX_REGIONS,
        description="The objects, each with clicks on it.",
        examples=[[{"clicks": _CLICKS}]],
    )


class SegmentImage(Arguments):
    """Arguments of `segment`."""

    image: Upload = Field(
        description="A picture; or a video, of which one frame is taken.",
        examples=[_file("picture.png")],
    )
    clicks: list[Click] = Field(
        [],
        max_length=MAX_POINTS,
        description="Points on the object.",
        examples=[_CLICKS],
    )
    box: list[Pixels] = Field(
        [],
        max_length=4,
        description="Left, top, right and bottom around the object, in pixels; optional.",
    )
    frame: Frame = Field(0, description="Which frame of a video, from 0.")
    finder: Name = Field("", description=f"What finds the mask. {_USUAL}")
