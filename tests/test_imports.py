"""The import rules: one direction, light packages, and an app that alone knows its toolkit."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("editing", "masks", "storybook", "ui")

_MODELS = ("editing.backbones", "editing.methods", "editing.attention", "editing.runner")

# Modules of the first kind may not import, at any depth of their code, modules of the second.
FORBIDDEN = [
    ("editing.", ("masks", "ui", "app", "gradio", "storybook", "editing.__main__")),
    ("masks", ("ui", "app", "gradio", "storybook", "editing.methods", "editing.runner", "editing.request")),
    ("ui", ("app", "storybook", "editing.__main__", "masks.__main__")),
    ("storybook", ("app", "ui", "gradio")),
    ("editing.clip", ("editing.labels", "editing.request", "editing.registry", "editing.runner")),
    ("editing.params", ("editing.registry", "editing.request", "editing.methods", "editing.backbones")),
    ("editing.methods.", ("editing.runner", "editing.project", "editing.outputs", "editing.__main__")),
    ("editing.project", ("editing.outputs", "editing.runner", "editing.methods")),
    ("editing.request", ("editing.project", "editing.outputs", "editing.runner", "editing.methods")),
    ("editing.registry", ("editing.request", "editing.project", "editing.runner", "editing.methods")),
    ("editing.attention", ("editing.backbones", "editing.methods", "editing.runner", "editing.project")),
    (
        "editing.backbones",
        ("editing.methods", "editing.runner", "editing.project", "editing.outputs", "masks"),
    ),
    ("editing.diffusion", _MODELS),
    ("editing.inversion", _MODELS),
    ("editing.flow", _MODELS),
    ("editing.correspondence", _MODELS),
    ("editing.keyframes", _MODELS),
    ("editing.displacement", _MODELS),
    ("editing.between", _MODELS),
    ("editing.steady", _MODELS),
    ("editing.errors", ("editing", "masks")),
    ("editing.events", ("editing.runner", "editing.methods", "editing.backbones", "editing.project")),
]


def modules():
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def type_only(tree):
    """Imports under `if TYPE_CHECKING:`, which never run."""
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING":
            yield from (id(child) for statement in node.body for child in ast.walk(statement))


def imported(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skipped = set(type_only(tree))
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def is_within(name, package):
    return name == package or name.startswith(f"{package}.")


IMPORTS = {name: sorted(set(imported(path))) for name, path in modules()}


@pytest.mark.parametrize("module", IMPORTS)
def test_imports_point_one_way(module):
    for prefix, forbidden in FORBIDDEN:
        if not module.startswith(prefix):
            continue
        wrong = [name for name in IMPORTS[module] for package in forbidden if is_within(name, package)]
        assert wrong == [], f"{module} may not import {wrong}"


@pytest.mark.parametrize("module", [name for name in IMPORTS if name.startswith("editing.methods.")])
def test_methods_do_not_import_methods(module):
    wrong = [name for name in IMPORTS[module] if is_within(name, "editing.methods")]
    assert wrong == []


@pytest.mark.parametrize("module", [name for name in IMPORTS if is_within(name, "masks")])
def test_masks_use_little_of_editing(module):
    allowed = (
        "editing.boundary",
        "editing.clip",
        "editing.commands",
        "editing.flow",
        "editing.errors",
        "editing.events",
        "editing.fetching",
        "editing.labels",
        "editing.folders",
        "editing.local_models",
        "editing.rle",
        "editing.spool",
        "editing.weights",
    )
    used = [name for name in IMPORTS[module] if is_within(name, "editing")]
    assert all(any(is_within(name, package) for package in allowed) for name in used), used


def test_labels_are_a_leaf():
    used = {name.split(".")[0] for name in IMPORTS["editing.labels"]} - set(sys.stdlib_module_names)
    assert used == {"numpy", "PIL", "jaxtyping", "editing"}


@pytest.mark.parametrize(
    "module", ["editing.request", "editing.prompts", "editing.registry", "editing.params", "editing.project"]
)
def test_requests_know_no_recipe(module):
    assert [name for name in IMPORTS[module] if is_within(name, "editing.methods")] == []


def run(code):
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "code",
    [
        "import editing, masks",
        "from editing import load_project, save_project, open_clip, EditRequest, Finished, EditingError",
        "from masks import read_labels, write_labels",
        "import editing.__main__, editing.outputs, editing.methods",
    ],
)
def test_light_imports_load_no_torch(code):
    heavy = {"torch", "diffusers", "transformers", "gradio"}
    done = run(f"{code}\nimport sys\nassert not {heavy} & set(sys.modules)")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("package", ["editing", "masks"])
def test_every_public_name_exists_and_others_do_not(package):
    done = run(
        f"import {package} as p\n"
        "assert sorted(p.__all__) == sorted(set(p.__all__)) and dir(p) == sorted(p.__all__)\n"
        "for name in p.__all__: getattr(p, name)\n"
        "assert not hasattr(p, 'nonsense')"
    )
    assert done.returncode == 0, done.stderr
