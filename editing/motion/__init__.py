"""Motion of a clip: optical flow, tracks, correspondence, and frames moved along it.

Imports `media` and below.
"""
