"""Picture adapters: a picture read into tokens, and their term in cross-attention.

Imports `models` and below.
"""
