"""Frames as small pictures a page can show."""

from __future__ import annotations

import base64
import io

from PIL import Image

from regrain.editing.pipeline.pictures import Frame


def data_url(frame: Frame, side: int, quality: int = 82) -> str:
    """A JPEG data URL of a frame whose longer side is at most `side` pixels."""
    image = Image.fromarray(frame)
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
