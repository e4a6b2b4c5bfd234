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
TAKEN = METHOD.replace('"mine", "Mine"', '"fresco", "Mine"')
MODULES = {"my_method": METHOD, "number": "mine = 3", "taken": TAKEN}
POINTS = """[regrain.methods]
gone = nowhere:mine
other = number:mine
twice = taken:mine
mine = my_method:mine
"""
SHOWN = "from regrain import METHODS as m; print([*m][-1], m['mine'].title, m['fresco'].title, len(m))"


def test_a_method_of_another_package_is_one_of_the_methods_unless_it_cannot_be_used(tmp_path):
    for name, code in MODULES.items():
        (tmp_path / f"{name}.py").write_text(code)
    info = tmp_path / "mine-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(POINTS)
    env = os.environ | {"PYTHONPATH": str(tmp_path)}
    options = {"cwd": ROOT, "env": env, "capture_output": True, "text": True, "check": True}
    done = subprocess.run([sys.executable, "-c", SHOWN], **options)
    assert done.stdout.split() == ["mine", "Mine", "FRESCO", "7"]
    lines = done.stderr.strip().splitlines()
    assert [line.split()[1] for line in lines] == ["gone", "other", "twice"]
    assert all(line.endswith("it is left out") for line in lines)
