"""The page itself: layout, wiring, head, safety.

Imports all of `ui`.
"""
