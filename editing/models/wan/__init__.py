"""Wan 2.1, a transformer for whole clips: its text encoder, its attention layers, and
the model.

Imports `models` and below.
"""
