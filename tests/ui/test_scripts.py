"""The page's scripts: small functions, one scope per component, linted and tested by node where it is."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from regrain.ui.views.components import bundle, modules

ROOT = Path(__file__).parents[2]
SCRIPTS = ROOT / "ui" / "js"
MODULES = sorted(SCRIPTS.rglob("*.js"))
ENTRIES = sorted(path.stem for path in SCRIPTS.glob("*.js"))
MAX_LINES, MAX_WIDTH = 80, 120
TOP = re.compile(r"^(?:export )?(?:const|let|function|class) \{?\s*(\w+)", re.MULTILINE)
NODE = shutil.which("node")
with_node = pytest.mark.skipif(not NODE, reason="node is not installed")
ESLINT = ROOT / "node_modules" / ".bin" / "eslint"


def blocks(text):
    """Line numbers, from 0, at which whatever begins at the margin begins and ends."""
    lines = text.splitlines()
    starts = [
        i
        for i, line in enumerate(lines)
        if re.match(r"(export |const |let |function |class )", line)
    ]
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        closed = next((i for i in range(start, end) if re.match(r"[})\]]|\S.*;$", lines[i])), end)
        yield start, closed


def test_what_begins_at_the_margin_is_found_to_its_end():
    text = (
        "const a = 1;\n\nexport const f = () => {\n  g();\n};\n\nfunction h() {\n  return 1;\n}\n"
    )
    assert list(blocks(text)) == [(0, 0), (2, 4), (6, 8)]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SCRIPTS)))
def test_no_function_is_long(path):
    """A function lies within what begins at the margin, so a limit to that is one to all of them."""
    text = path.read_text()
    sizes = {text.splitlines()[start]: end - start + 1 for start, end in blocks(text)}
    assert {line: size for line, size in sizes.items() if size > MAX_LINES} == {}
    if path.name != "icons.js":
        assert [line for line in text.splitlines() if len(line) > MAX_WIDTH] == []


@pytest.mark.parametrize("entry", ENTRIES)
def test_modules_of_a_component_share_a_scope_without_collisions(entry):
    names = [
        name for path in modules(SCRIPTS / f"{entry}.js") for name in TOP.findall(path.read_text())
    ]
    assert sorted(names) == sorted(set(names))
    assert "mount" in names
    assert not re.search(r"^(import|export) ", bundle(entry), re.MULTILINE)


def test_every_module_is_used():
    entries = [*ENTRIES, "head/connection"]  # which runs before all components
    used = {path for entry in entries for path in modules(SCRIPTS / f"{entry}.js")}
    assert used == set(MODULES)


@with_node
@pytest.mark.parametrize("entry", ENTRIES)
def test_node_can_read_what_a_component_carries(entry):
    check = "new Function('element', 'props', 'trigger', 'watch', require('fs').readFileSync(0, 'utf8'))"
    done = subprocess.run([NODE, "-e", check], input=bundle(entry), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@with_node
def test_the_pure_parts_pass_nodes_own_tests():
    files = sorted(map(str, (ROOT / "tests" / "ui" / "js").glob("*.test.js")))
    done = subprocess.run([NODE, "--test", *files], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert int(re.search(r"^# pass (\d+)", done.stdout, re.MULTILINE)[1]) > 20


@with_node
@pytest.mark.skipif(not ESLINT.is_file(), reason="ESLint is not installed; `make lint` installs it")
def test_the_linter_has_nothing_to_say():
    done = subprocess.run(
        [NODE, ESLINT, "ui", "tests/ui/js"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout
