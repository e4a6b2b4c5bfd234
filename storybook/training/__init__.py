"""How the parts of the built-in model were trained: one script each, `python -m
storybook.training.NAME`."""
