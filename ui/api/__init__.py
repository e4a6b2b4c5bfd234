"""The endpoints that programs call.

Imports `handlers` and below.
"""
