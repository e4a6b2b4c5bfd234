"""The work of one visitor: the open clip, regions, masks, examples, history.

Imports `server`.
"""
