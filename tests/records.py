"""Records of visits: what was seen, as a file beside a test says, which is written anew
with REGRAIN_WRITE=1."""

import json
import os
import re
import zlib
from collections.abc import Collection
from pathlib import Path
from typing import Any


def settled(
    value: Any,
    root: Path,
    left_out: Collection[str],
    volatile: re.Pattern[str],
    longest: int,
) -> Any:
    """Return a value without what differs from run to run: keys that are left out, the
    folder `root`, and what is volatile in texts. Of longer texts their sum is kept."""
    given = root, left_out, volatile, longest
    if isinstance(value, dict):
        kept = {key: one for key, one in value.items() if key not in left_out}
        return {key: settled(one, *given) for key, one in kept.items()}
    if isinstance(value, list):
        return [settled(one, *given) for one in value]
    if not isinstance(value, str):
        return value
    text = volatile.sub("…", value.replace(str(root), ""))
    if len(text) > longest:
        return f"{text[:20]}… of {len(text)}, {zlib.crc32(text.encode())}"
    return text


def recorded(found: object, file: Path) -> tuple[Any, Any]:
    """Return what was found, as JSON has it, and what the file says, which is written
    before where that is wanted."""
    found = json.loads(json.dumps(found))
    if "REGRAIN_WRITE" in os.environ:
        text = json.dumps(found, indent=1, ensure_ascii=False)
        file.write_text(text + "\n")
    return found, json.loads(file.read_text())
