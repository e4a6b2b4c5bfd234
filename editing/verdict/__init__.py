"""A verdict on what was drawn, by a CLIP model that looks at it after the run. `answers`
says it, and loads no torch."""
