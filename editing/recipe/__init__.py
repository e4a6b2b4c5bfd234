"""Parts of every recipe: the clip at its working size, inversion, recorded attention,
events.

Imports `request` and below.
"""
