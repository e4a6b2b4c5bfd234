"""Networks that find masks: SAM 1 to 3, the built-in one, their checkpoints and costs.

Imports `editing.storage` and `masks.draw`.
"""
