"""The description of the package: the README as it is for an installed package."""

import re
from pathlib import Path

from setuptools import setup

QUICK_START = """```
pip install regrain
regrain app                              # open the page at http://127.0.0.1:7860
regrain edit run 01_two_animals -o out   # edit the first example without the page
```

Requires Python 3.11+; PyTorch is large. """


def describe(readme: str) -> str:
    """Return a README without the settings of a Space, and without what leads into the
    repository."""
    text = readme.split("---\n", 2)[2]
    # `make` and the files of a checkout are nowhere.
    begin, end = text.index("```\nmake run"), text.index("After that you need neither")
    text = text[:begin] + QUICK_START + text[end:]
    text = text.replace(", in `.venv`: `python -m editing", ": `regrain edit")
    text = text.replace('"assets/examples/01_two_animals/clip.mp4"', '"clip.mp4"')
    # Nor does an index show pictures, or files that links lead to.
    text = re.sub(r"!\[.*\n\n", "", text)
    return re.sub(r"\[([^]]+)\]\((?!https?:)[^)]+\)", r"\1", text)


readme = Path(__file__).with_name("README.md").read_text(encoding="utf-8")
setup(long_description=describe(readme), long_description_content_type="text/markdown")
