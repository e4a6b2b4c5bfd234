"""The mathematics of diffusion on tensors: schedules and steps, text embeddings,
blending.

Imports `media` and below.
"""
