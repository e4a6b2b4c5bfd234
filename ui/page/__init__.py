"""The page itself: layout, wiring, head, safety; imports all of `ui`."""
