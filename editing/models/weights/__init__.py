"""Weights of strangers' files, read and checked: folders, single files, LoRA, motion
adapters.

Imports `models.files` and below. Needs torch, which `models.files` does not.
"""
