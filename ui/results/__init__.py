"""What the page shows after a run: attention, metrics, files, variants.

Imports `forms` and below.
"""
