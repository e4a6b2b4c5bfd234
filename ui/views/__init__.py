"""What the page shows, as values: settings, costs and checks before a run, its results after it.

Imports `session` and below.
"""
