"""Parameters: those that users can set of every method, and the registry of methods.

Imports `media` and below.
"""
