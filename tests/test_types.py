"""Arguments and answers are what annotations say, shapes included.

Checking them in every test would double the time of all, so one case of some tests is
run a second time with them checked.
"""

import subprocess
import sys

import pytest
from browser import ROOT

pytestmark = pytest.mark.full

METHODS = "tests/editing/methods/test_every_method.py"
CHECKED = (
    f"{METHODS}::test_anchors_take_the_same_way_again[videograin--given0]",
    f"{METHODS}::test_a_run_tells_what_it_does_and_leaves_the_model_as_it_was",
    *(
        f"tests/editing/{room}"
        for room in ("attention", "diffusion", "recipe", "request")
    ),
    "tests/masks/segmentation",
)


def test_annotations_hold():
    checks = "--jaxtyping-packages=regrain.editing,regrain.masks,beartype.beartype"
    how = [
        "-q",
        "--no-header",
        "-p",
        "no:cacheprovider",
        "-p",
        "tests.first_cases",
        checks,
    ]
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", *how, *CHECKED],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stdout[-3000:]
