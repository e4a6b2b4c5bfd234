"""What happens when something on the page is pressed.

Imports `results` and below.
"""
