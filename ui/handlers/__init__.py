"""Handlers: each takes an event of the page and returns the components it changes.

Imports `views` and below.
"""
