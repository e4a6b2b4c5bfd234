"""Checks of how the code is written, which `make lint` runs."""
