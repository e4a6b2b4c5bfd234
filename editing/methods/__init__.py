"""The recipes, one file each: a generator function that reads like its paper."""

from editing.registry import METHODS

__all__ = ["METHODS"]
