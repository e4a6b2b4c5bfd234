"""The recipes, one file each: generator functions that read like their papers.

Imports `recipe` and below, never another method.
"""
