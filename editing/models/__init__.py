"""What every model has: the protocol of a backbone, the changes to one call, its parts on a device.

Imports `models.files` and below.
"""
