"""Attention on tensors: layers, kernels, frames that see each other, maps, regions.

Knows no method. Imports `diffusion` and below.
"""
