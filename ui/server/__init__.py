"""What all visitors share: the queue of runs, workers, media files; knows no session."""
