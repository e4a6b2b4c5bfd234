"""Frames and masks in and out: clips, frames read when needed, labels, run lengths.

Imports `storage`.
"""
