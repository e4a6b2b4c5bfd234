"""Wan 2.1 and 2.2, transformers for whole clips: text encoder, attention layers,
experts, and the model.

Imports `models` and below.
"""
