"""From a request to files: runs window by window, composites, measures, writes.

Imports `methods` and below.
"""
