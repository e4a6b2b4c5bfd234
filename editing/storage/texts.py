"""Objects of JSON, and texts as programs on Windows write them: with a byte order mark,
or in UTF-16."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

Json = dict[str, Any]
"""An object of JSON, or values of any kind by name."""
Content = dict[str, object]
"""An object that is made to be written as JSON."""
Values = Mapping[str, object]
"""Values by name, which are read alone."""
_FIRST = 4  # bytes that tell an encoding


def read_text(path: Path) -> str:
    """Read a JSON file, or another text that begins in ASCII, in UTF-8, UTF-16 or
    UTF-32."""
    content = path.read_bytes()
    return content.decode(json.detect_encoding(content))


def is_plain(path: Path) -> bool:
    """Tell whether a text is UTF-8 without a byte order mark, as libraries read it."""
    with path.open("rb") as opened:
        return json.detect_encoding(opened.read(_FIRST)) == "utf-8"
