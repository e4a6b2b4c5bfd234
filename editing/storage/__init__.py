"""Files and memory: caches, folders written whole or not at all, downloads, local
models.

Imports `editing.errors` and `editing.boundary` alone.
"""
