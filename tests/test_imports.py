"""The rooms of the house: how many modules each has, what it may import, and how light it is."""

import ast
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# Rooms of each package, bottom first; a room may import those before it, and the package's root any of them.
# The root's own modules (`errors`, `boundary`, `draw`) are below all rooms, `__main__` above.
ROOMS = {
    "editing": (
        *("storage", "media", "params", "motion", "diffusion", "attention", "models.loading"),
        *("models.video", "models", "models.pictures"),
        *("request", "recipe", "methods", "pipeline", "cli"),
    ),
    "masks": ("models", "io", "segmentation", "track"),
    "ui": ("server", "session", "forms", "results", "handlers", "api", "page"),
}
FULL = 14  # modules of a room
# What masks may use of editing; what each package may never import.
FOR_MASKS = ("editing.storage", "editing.media", "editing.motion", "editing.errors", "editing.boundary")
FOR_MASKS += ("editing.cli.commands", "editing.recipe.events")
NEVER = {
    "editing": ("masks", "ui", "app", "gradio", "storybook"),
    "masks": ("ui", "app", "gradio", "storybook"),
    "ui": ("app", "storybook", "editing.__main__", "masks.__main__"),
    "storybook": ("app", "ui", "gradio"),
}
OURS = tuple(ROOMS)


def modules():
    for package in NEVER:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def imported(path):
    """Everything imported at any depth of the code, for types alone, too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.removeprefix("regrain.") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            # By another name a module would be loaded twice.
            assert node.module.split(".")[0] not in OURS, f"{path}: import from regrain.{node.module}"
            yield from (f"{node.module}.{alias.name}".removeprefix("regrain.") for alias in node.names)


def is_within(name, package):
    return name == package or name.startswith(f"{package}.")


PATHS = dict(modules())
IMPORTS = {name: sorted(set(imported(path))) for name, path in PATHS.items()}


def module_of(name):
    while name and name not in PATHS:
        name = name.rpartition(".")[0]
    return name


def rank(module):
    """Height of a module within its package: 0 at the bottom."""
    package, _, rest = module.partition(".")
    rooms = ROOMS[package]
    if rest in ("", "__main__"):
        return len(rooms) + 1
    room = max((room for room in rooms if is_within(rest, room)), key=len, default=None)
    return 0 if room is None else 1 + rooms.index(room)


IN_ROOMS = [name for name in PATHS if name.split(".")[0] in ROOMS]


@pytest.mark.parametrize("module", PATHS)
def test_arrows_point_down_and_packages_keep_apart(module):
    package, used = module.split(".")[0], IMPORTS[module]
    inside = {module_of(name) for name in used if is_within(name, package)} - {"", package}
    assert [name for name in inside if package in ROOMS and rank(name) > rank(module)] == []
    assert [name for name in used if any(is_within(name, one) for one in NEVER[package])] == []
    if package == "masks":
        foreign = [name for name in used if is_within(name, "editing")]
        assert [name for name in foreign if not any(is_within(name, one) for one in FOR_MASKS)] == []


def test_no_circles():
    graph = {name: {module_of(one) for one in IMPORTS[name]} & set(PATHS) - {name} for name in PATHS}
    while free := [name for name, used in graph.items() if not used & set(graph)]:
        for name in free:
            del graph[name]
    assert graph == {}


def test_rooms_are_not_crowded():
    rooms = Counter(PATHS[name].parent for name in IN_ROOMS if PATHS[name].name != "__init__.py")
    assert {str(room.relative_to(ROOT)): count for room, count in rooms.items() if count > FULL} == {}
    known = {ROOT / package / room.replace(".", "/") for package, names in ROOMS.items() for room in names}
    assert set(rooms) - {ROOT / package for package in ROOMS} == known
    for room in known:
        tree = ast.parse((room / "__init__.py").read_text())
        assert ast.get_docstring(tree), f"{room}: says what lives there"
        assert len(tree.body) == 1


def test_no_class_name_twice():
    trees = (ast.parse(PATHS[name].read_text(encoding="utf-8")) for name in IN_ROOMS)
    nodes = (node for tree in trees for node in ast.walk(tree))
    classes = Counter(node.name for node in nodes if isinstance(node, ast.ClassDef))
    assert [name for name, count in classes.items() if count > 1] == []


@pytest.mark.parametrize("module", [name for name in PATHS if is_within(name, "editing.methods")])
def test_methods_do_not_import_methods(module):
    from regrain.editing.params.registry import METHODS

    methods = {one.entry.split(":")[0] for one in METHODS.values()} - {module}
    assert [name for name in IMPORTS[module] if module_of(name) in methods] == []


def run(code):
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
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


def test_every_public_name_exists_and_others_do_not():
    run(
        "import regrain, regrain.editing, regrain.masks\n"
        "for p in (regrain, regrain.editing, regrain.masks):\n"
        "    assert not hasattr(p, '__all__') or dir(p) == sorted({*p.__all__})\n"
        "    assert [name for name in dir(p) if not hasattr(p, name)] == []\n"
        "    assert not hasattr(p, 'nonsense')"
    )


def test_no_module_is_loaded_twice():
    names = [f"regrain.{name}" for name in IN_ROOMS if not name.endswith("__main__")]
    run(
        "import sys\nfrom importlib import import_module\n"
        f"for name in {names}: import_module(name)\n"
        f"assert not {{*{OURS}, 'app'}} & set(sys.modules)\n"
        "import editing, regrain\nassert editing.EditRequest is regrain.EditRequest"  # the old names
    )
