"""Load a model of any family by its id. Imports all other rooms of `models`."""
