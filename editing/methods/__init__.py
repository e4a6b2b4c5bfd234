"""The recipes, one file each: generator functions that read like their papers."""

from editing.registry import METHODS

__all__ = ["METHODS"]
