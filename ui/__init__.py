"""The page: values in, request out; event in, components out."""
