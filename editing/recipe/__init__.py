"""What every recipe is made of: the clip at its working size, inversion, recorded attention, events.

Imports `request` and below.
"""
