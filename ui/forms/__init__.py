"""What the page asks and shows before a run: settings, models, costs, checks; imports `session` and below."""
