"""Files of models, found, fetched and checked, and what they say before anything is
loaded: family, vocabulary, scheduler, recommendations.

Imports rooms below `models`. Loads no torch.
"""
