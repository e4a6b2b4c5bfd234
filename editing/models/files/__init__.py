"""Files of models, read and checked: locations, configurations, folders, single files, LoRA, vocabularies.

Imports rooms below `models`.
"""
