"""What imports load: no torch until it is needed, nothing twice, every public name."""

import subprocess
import sys
from pathlib import Path

import pytest
from rooms import OURS, module_names

ROOT = Path(__file__).parents[1]


def run(code):
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_light_imports_load_no_torch():
    run(
        "import sys, regrain; regrain.EditRequest, regrain.load_project, regrain.METHODS\n"
        "import regrain.editing, regrain.masks\n"
        "from regrain.editing import load_project, save_project, open_clip, EditRequest, Finished\n"
        "from regrain.masks import read_labels, write_labels\n"
        "import regrain.editing.__main__, regrain.editing.pipeline.outputs, regrain.editing.methods\n"
        "assert not {'torch', 'diffusers', 'transformers', 'gradio'} & set(sys.modules)"
    )


@pytest.mark.full
def test_every_public_name_exists_and_others_do_not():
    run(
        "import regrain, regrain.editing, regrain.masks\n"
        "for p in (regrain, regrain.editing, regrain.masks):\n"
        "    assert not hasattr(p, '__all__') or dir(p) == sorted({*p.__all__})\n"
        "    assert [name for name in dir(p) if not hasattr(p, name)] == []\n"
        "    assert not hasattr(p, 'nonsense')"
    )


@pytest.mark.full
def test_no_module_is_loaded_twice():
    names = [
        f"regrain.{name}" for name in module_names() if not name.endswith("__main__")
    ]
    run(
        "import sys\nfrom importlib import import_module\n"
        f"for name in {names}: import_module(name)\n"
        f"assert not {{*{OURS}, 'app'}} & set(sys.modules)\n"
        # the old names
        "import editing, regrain\nassert editing.EditRequest is regrain.EditRequest"
    )
