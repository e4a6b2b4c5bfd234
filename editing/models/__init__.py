"""Networks and how to load them; all that changes a forward pass travels with the call.

Imports `attention` and below.
"""
