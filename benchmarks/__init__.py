"""Measurements: each benchmark prints a table and writes JSON."""
