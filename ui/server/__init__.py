"""What all visitors share: the queue of runs, workers, media files.

Knows no session.
"""
