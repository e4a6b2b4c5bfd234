"""Stable Diffusion 1.x, 2.x and XL, and all that is added to their UNet: time, motion,
control, features.

Imports `models` and below.
"""
