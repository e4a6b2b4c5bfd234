"""Masks as files, videos and pairs.

Imports `editing.media`.
"""
