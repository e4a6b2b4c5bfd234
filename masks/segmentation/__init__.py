"""Masks from clicks, boxes and strokes on one frame.

Imports `masks.models`.
"""
