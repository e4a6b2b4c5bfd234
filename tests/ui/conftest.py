"""Clips as the page opens them, and stores of sessions, for tests without a browser."""

from fractions import Fraction

import numpy as np
import pytest

from regrain.editing.media.clip import ArrayClip
from regrain.editing.request.edit_request import EditRequest
from regrain.masks.draw import BrushStroke
from regrain.ui.server.media import Media
from regrain.ui.session import mask_edits
from regrain.ui.session.clips import prepare
from regrain.ui.session.session_store import SessionStore


@pytest.fixture
def open_clip(tmp_path):
    """Opens grey frames with regions, whose masks are boxes (rows, columns) by label on
    every frame."""

    def opened(name="clip", shape=(2, 32, 32), regions=(), boxes=None, **asked):
        labels = np.zeros(shape, np.uint8)
        for label, (rows, columns) in (boxes or {}).items():
            labels[:, rows, columns] = label
        clip = ArrayClip(np.full((*shape, 3), 90, np.uint8), Fraction(8))
        request = EditRequest(clip, labels if boxes else None, regions, **asked)
        return prepare("", name, request, tmp_path / name)

    return opened


@pytest.fixture
def visits_of(tmp_path):
    """Makes the store of the sessions of pages that begin on a clip."""
    return lambda opened, **how: SessionStore(opened, Media(tmp_path / "media"), **how)


@pytest.fixture
def paint():
    """Paints a spot of a new region of a session on a frame; returns its label."""

    def painted(session, frame=0):
        label = session.add_region()
        mask_edits.add_edit(session, label, frame, BrushStroke(((5, 5),), 3))
        return label

    return painted
