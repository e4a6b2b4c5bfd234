"""Shared by all visitors: the queue of runs, threads that work, media files; knows no
session."""
