"""Attention: where it sits in a model, who computes it, and whose keys a frame sees."""
