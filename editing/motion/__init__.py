"""Where things move: optical flow and what follows it.

Imports `media` and below.
"""
