"""What one visitor has: the open clip, regions, masks, examples, history.

Imports `server`.
"""
