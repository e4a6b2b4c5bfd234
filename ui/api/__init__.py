"""The endpoints that programs call; imports `handlers` and below."""
