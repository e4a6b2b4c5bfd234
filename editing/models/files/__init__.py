"""Files of models, found, fetched, read and checked: folders, single files, LoRA,
vocabularies.

Imports rooms below `models`.
"""
