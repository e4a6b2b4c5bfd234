"""The common base of all models: the protocol of a backbone, changes to one call, parts
on a device.

Imports `models.files` and below.
"""
