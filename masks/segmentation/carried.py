"""Masks of a small copy of a frame, carried up to the frame itself."""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Bool, Float32, UInt8

from regrain.editing.media.labels import around_of
from regrain.editing.media.lazy_frames import Mask, Rgb
from regrain.masks.segmentation.cut_tables import Guide

# In pixels of the copy: how far an edge may move, and the radius of the filter.
_EDGE, _REACH = 2, 8
_AROUND = np.ones((2 * _EDGE + 1, 2 * _EDGE + 1), np.uint8)
_BRIGHTEST = np.float32(255)


def carry_up(
    mask: Mask, copy: Rgb, frame: UInt8[np.ndarray, "frame_height frame_width 3"]
) -> Bool[np.ndarray, "frame_height frame_width"]:
    """Carry the mask of a smaller copy of a frame up to the frame.

    Within two pixels of the copy from the mask's edge, the colours of the frame decide
    where it runs; what is too thin to have a core stays as it is.

    Source: He and Sun 2015, "Fast guided filter", arXiv:1505.00996: lines from colours
    to values are fitted on the copy, and read at the colours of the frame.
    """
    size = frame.shape[1::-1]
    *slopes, base = _fitted(mask, copy)
    value = cv2.resize(base, size)
    for slope, plane in zip(slopes, cv2.split(frame), strict=True):
        value += cv2.resize(slope, size) * plane
    return value > 0.5


def _fitted(mask: Mask, copy: Rgb) -> Float32[np.ndarray, "4 height width"]:
    """Return slopes and base of each pixel's line, from colours to 1 inside the mask and
    0 outside; far from its edge they say which it is."""
    grey = mask.view(np.uint8)
    outer = cv2.dilate(grey, _AROUND)
    core = cv2.erode(grey, _AROUND)
    thin = grey - cv2.dilate(core, _AROUND)
    rows, columns = around_of(outer, _REACH)
    colours = copy[rows, columns] / _BRIGHTEST
    values = mask[rows, columns].astype(np.float32)
    guide = Guide(colours, _REACH)
    lines = np.zeros((4, *mask.shape), np.float32)
    lines[:, rows, columns] = guide.lines(values)
    lines[:3] /= _BRIGHTEST
    inner = (core | thin) > 0
    lines[:, inner | (outer == 0)] = 0
    lines[3, inner] = 1
    return lines
