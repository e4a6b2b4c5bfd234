"""How values of the page are kept in files of its project folder: a packed mask by its
fingerprint, a picture by its place.

Types that say so stand in the dataclasses themselves; pydantic reads and writes them,
with the folder's `MaskFiles` as its context.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    PlainSerializer,
    PlainValidator,
    SerializerFunctionWrapHandler,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WrapSerializer,
    WrapValidator,
)

from regrain.editing.errors import RequestError
from regrain.editing.request.edit import Edit
from regrain.editing.request.region import Region

PICTURES = "pictures"
MASKS = "masks"
Content = dict[str, Any]
"""What JSON has of a value."""


def damaged() -> RequestError:
    """Make the error about a project that the page cannot bring back."""
    return RequestError(
        "project",
        "Its file page.json is damaged. Open the folder's project as a zip file instead.",
    )


class MaskFiles:
    """The packed masks of a project folder, each in a file named by its fingerprint.

    Attributes:
        folder: The project's.
        named: By name, those that were named or read.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.named: dict[str, bytes] = {}
        self._names: dict[int, str] = {}  # by identity: states of undo share most masks

    def name(self, packed: bytes) -> str:
        """Return the name of a mask, empty for an empty one."""
        if not packed:
            return ""
        if id(packed) not in self._names:
            name = hashlib.sha256(packed).hexdigest()[:24]
            self._names[id(packed)] = name
            self.named[name] = packed
        return self._names[id(packed)]

    def fetch(self, name: str) -> bytes:
        """Read the mask of a name; an OSError if it is gone."""
        if not name:
            return b""
        if name not in self.named:
            self.named[name] = (self.folder / MASKS / name).read_bytes()
        return self.named[name]


def picture_in(path: str) -> str:
    """Return the place of a picture in a project folder; empty without one."""
    return f"{PICTURES}/{Path(path).name}" if path else ""


def _by_place(owner: Region | Edit, handler: SerializerFunctionWrapHandler) -> Content:
    return handler(owner) | {"picture": picture_in(owner.picture)}


def _in_folder(
    content: Content,
    handler: ValidatorFunctionWrapHandler,
    info: ValidationInfo[MaskFiles],
) -> Region | Edit:
    if place := content.get("picture"):
        content = content | {"picture": str(info.context.folder / place)}
    return handler(content)


Packed = Annotated[
    bytes,
    PlainSerializer(lambda packed, info: info.context.name(packed)),
    PlainValidator(lambda name, info: info.context.fetch(name)),
]
"""A packed mask."""
_PICTURED = WrapSerializer(_by_place), WrapValidator(_in_folder)
KeptRegion = Annotated[Region, *_PICTURED]
KeptRegions = tuple[KeptRegion, ...]
KeptEdit = Annotated[Edit, *_PICTURED]
