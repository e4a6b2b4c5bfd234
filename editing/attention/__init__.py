"""Attention: the layers of a model, the function that computes it, and the frames whose keys a frame sees."""
