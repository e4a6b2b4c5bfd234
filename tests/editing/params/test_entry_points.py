"""Methods of other packages: found by their entry points, or named in one line and left out."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
METHOD = """
import regrain
from regrain.editing.params.base import WindowedParams

class MyParams(WindowedParams):
    pass

mine = regrain.Method("mine", "Mine", "nobody", MyParams, frozenset({"masks"}), ("editing",), "my_method:run")
"""


def package(folder, points, modules):
    for name, code in modules.items():
        (folder / f"{name}.py").write_text(code)
    info = folder / "mine-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    lines = [f"{name} = {value}" for name, value in points.items()]
    (info / "entry_points.txt").write_text("\n".join(["[regrain.methods]", *lines, ""]))


def run(folder, code):
    env = os.environ | {"PYTHONPATH": str(folder)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done


def test_a_method_of_another_package_is_one_of_the_methods(tmp_path):
    package(tmp_path, {"mine": "my_method:mine"}, {"my_method": METHOD})
    shown = "import regrain; print([*regrain.METHODS][-1], regrain.METHODS['mine'].title)"
    done = run(tmp_path, shown)
    assert done.stdout.split() == ["mine", "Mine"]
    assert "my_method" not in done.stderr


def test_one_that_cannot_be_used_is_named_and_left_out(tmp_path):
    taken = METHOD.replace('"mine", "Mine"', '"fresco", "Mine"')
    points = {"gone": "nowhere:mine", "other": "number:mine", "twice": "taken:mine"}
    package(tmp_path, points, {"number": "mine = 3", "taken": taken})
    done = run(tmp_path, "import regrain; print(regrain.METHODS['fresco'].title, len(regrain.METHODS))")
    assert done.stdout.split() == ["FRESCO", "6"]
    lines = done.stderr.strip().splitlines()
    assert [line.split()[1] for line in lines] == ["gone", "other", "twice"]
    assert all(line.endswith("it is left out") for line in lines)
