"""The description of the package: the README without what an index cannot show."""

import re
from pathlib import Path

from setuptools import setup

# An index shows neither the settings of a Space nor the files that pictures and links lead to.
readme = Path(__file__).with_name("README.md").read_text(encoding="utf-8").split("---\n", 2)[2]
readme = re.sub(r"!\[.*\n\n", "", readme)
readme = re.sub(r"\[([^]]+)\]\((?!https?:)[^)]+\)", r"\1", readme)
setup(long_description=readme, long_description_content_type="text/markdown")
