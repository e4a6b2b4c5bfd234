"""Requests of edits: regions, prompts, key frames, projects; checked without a model.

Imports `models` and below.
"""
