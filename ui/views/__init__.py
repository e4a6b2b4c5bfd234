"""Values that the page shows: settings and checks before a run, its results after
it.

Imports `work` and below.
"""
