"""The repository itself: what the README promises is there, and small enough."""

import ast
import re
import subprocess
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import yaml
from rooms import FOR_MASKS, NEVER, OURS, PATHS, ROOMS, module_names

from regrain.editing.params.registry import METHODS

ROOT = Path(__file__).parents[1]
MEGABYTE = 2**20


def tracked() -> list[Path]:
    """Files a checkout has: those git tracks or would, if it were asked to add all."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip("no git checkout")
    return [
        path
        for name in done.stdout.split("\0")
        if name and (path := ROOT / name).is_file()
    ]


def test_every_make_command_of_the_readme_exists_and_ci_calls_its_test_command():
    commands = set(
        re.findall(r"\bmake ([a-z]+)\b(?=`|\s+#)", (ROOT / "README.md").read_text())
    )
    targets = set(
        re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    )
    assert {"run", "test", "demo"} <= commands <= targets
    script = ROOT / ".ci" / "run"
    assert script.stat().st_mode & 0o111
    assert "make test" in script.read_text().splitlines()


def test_front_matter_is_what_a_space_needs_and_versions_are_pinned():
    front = yaml.safe_load((ROOT / "README.md").read_text().split("---\n")[1])
    requirements = (ROOT / "requirements.txt").read_text()
    assert front["sdk"] == "gradio"
    assert f"gradio[mcp]=={front['sdk_version']}" in requirements
    assert (ROOT / front["app_file"]).is_file()
    assert front["license"] == "mit"
    assert len(front["short_description"]) <= 60
    # As the link that duplicates a Space says.
    assert front["suggested_hardware"] == "t4-small"
    assert "GPU (T4, 16 GB)" in (ROOT / "ui" / "js" / "notice.js").read_text()
    for line in requirements.splitlines():
        assert re.match(r"[\w-]+(\[\w+\])?==[\w.]+(;|$)", line), line
    for line in tomllib.loads((ROOT / "pyproject.toml").read_text())[
        "dependency-groups"
    ]["dev"]:
        assert "==" in line, line


def test_checkout_stays_small():
    sizes = {path: path.stat().st_size for path in tracked()}
    assets = {
        path: size
        for path, size in sizes.items()
        if path.is_relative_to(ROOT / "assets")
    }
    assert [path.name for path, size in sizes.items() if size >= 10 * MEGABYTE] == []
    assert sum(assets.values()) <= 76 * MEGABYTE
    assert sum(sizes.values()) <= 83 * MEGABYTE


def imported(path: Path) -> Iterator[str]:
    """Everything imported at any depth of the code, for types alone, too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.removeprefix("regrain.") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            # By another name a module would be loaded twice.
            assert node.module.split(".")[0] not in OURS, (
                f"{path}: import from regrain.{node.module}"
            )
            yield from (
                f"{node.module}.{alias.name}".removeprefix("regrain.")
                for alias in node.names
            )


def is_within(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


@cache
def imports_of(module: str) -> list[str]:
    """Read when a test asks: every process that collects tests loads this file."""
    return sorted(set(imported(PATHS[module])))


def module_of(name: str) -> str:
    """The module that a dotted name is of, or in."""
    while name and name not in PATHS:
        name = name.rpartition(".")[0]
    return name


def rank(module: str) -> int:
    """Height of a module within its package: 0 at the bottom."""
    package, _, rest = module.partition(".")
    rooms = ROOMS[package]
    if rest in ("", "__main__"):
        return len(rooms) + 1
    room = max((room for room in rooms if is_within(rest, room)), key=len, default=None)
    return 0 if room is None else 1 + rooms.index(room)


def wrong_imports(module: str) -> Iterator[str]:
    """Names that a module imports and must not."""
    package = module.split(".")[0]
    for name in imports_of(module):
        used = module_of(name) if is_within(name, package) else ""
        if package in ROOMS and used not in ("", package) and rank(used) > rank(module):
            yield name
        if any(is_within(name, never) for never in NEVER[package]):
            yield name
        foreign = package == "masks" and is_within(name, "editing")
        if foreign and not any(is_within(name, allowed) for allowed in FOR_MASKS):
            yield name


def test_arrows_point_down_and_packages_keep_apart():
    wrong = {module: names for module in PATHS if (names := [*wrong_imports(module)])}
    assert wrong == {}


def test_no_circles():
    graph = {
        name: {module_of(one) for one in imports_of(name)} & set(PATHS) - {name}
        for name in PATHS
    }
    while free := [name for name, used in graph.items() if not used & set(graph)]:
        for name in free:
            del graph[name]
    assert graph == {}


def test_every_room_is_listed_and_says_what_lives_there():
    rooms = {
        PATHS[name].parent
        for name in module_names()
        if PATHS[name].name != "__init__.py"
    }
    known = {
        ROOT / package / room.replace(".", "/")
        for package, names in ROOMS.items()
        for room in names
    }
    assert rooms - {ROOT / package for package in ROOMS} == known
    for room in known:
        tree = ast.parse((room / "__init__.py").read_text())
        assert ast.get_docstring(tree), room
        assert len(tree.body) == 1


def test_methods_do_not_import_methods():
    methods = {f"editing.methods.{name}" for name in METHODS}
    for module in (name for name in PATHS if is_within(name, "editing.methods")):
        others = methods - {module}
        assert [
            name for name in imports_of(module) if module_of(name) in others
        ] == [], module
