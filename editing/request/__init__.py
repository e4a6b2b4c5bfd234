"""What a run is asked for: regions, prompts, key frames, projects; checked without a model.

Imports `models` and below.
"""
