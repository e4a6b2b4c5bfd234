"""Work behind the page that shows nothing by itself: what may be chosen, which runs one
press makes, running them.

Imports `session` and below.
"""
