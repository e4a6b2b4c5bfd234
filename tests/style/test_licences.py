"""The licences that the documents list are those of what is installed."""

import re
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.style.licences import brought_along, licence, required

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "licences.md").read_text()


def test_the_page_lists_what_is_required_and_folders_of_weights():
    table = PAGE.split("| package |")[1].split("`python -m")[0]
    listed = dict(re.findall(r"^\| ([\w-]+) \| (\w.*) \|$", table, re.MULTILINE))
    assert list(listed) == required()
    locked = dict(
        re.findall(
            r"^([\w-]+)==([\w.]+)",
            (ROOT / "requirements.lock").read_text(),
            re.MULTILINE,
        )
    )
    there = [
        package for package in required() if package in set(brought_along([package]))
    ]
    here = [
        package for package in there if version(package) == locked[package]
    ]  # other versions may differ
    assert {package: listed[package] for package in here} == {
        package: licence(package) for package in here
    }
    folders = {folder.name for folder in (ROOT / "assets").iterdir() if folder.is_dir()}
    assert all(f"`assets/{name}/" in PAGE for name in folders), folders


@pytest.mark.parametrize("package", sorted(brought_along(required())))
def test_no_package_demands_more_than_the_page_says(package):
    named = (
        "MIT",
        "BSD",
        "Apache",
        "ISC",
        "PSF",
        "MPL",
        "Mozilla Public",
        "0BSD",
        "HPND",
    )
    found = licence(package)
    own = package.startswith(("nvidia-", "cuda-"))
    assert found.startswith(named) or (own and "NVIDIA" in PAGE), found
