"""Files of JSON that tests read and write."""

import json
from pathlib import Path


def read_json(path: Path):
    """What is in a file."""
    return json.loads(path.read_text())


def write_json(path: Path, content: object) -> Path:
    """Write a file, and return its path."""
    path.write_text(json.dumps(content))
    return path
