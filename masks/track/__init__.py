"""Masks followed through a clip, and where that is uncertain.

Imports `masks.segmentation` and below.
"""
