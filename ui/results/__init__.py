"""What the page shows after a run: attention, metrics, files, variants; imports `forms` and below."""
