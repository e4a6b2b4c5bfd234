"""Values that the work of a page is made of: regions, masks, earlier runs, tuned models.

Imports `server`.
"""
