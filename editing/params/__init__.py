"""What a user can set: the parameters of every method, and the registry of methods.

Imports `storage`.
"""
