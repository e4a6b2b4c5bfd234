"""The repository itself: what the README promises is there, and small enough."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace

import browser
import pytest
import yaml

from regrain.editing.params.registry import METHODS

ROOT = Path(__file__).parents[1]
MEGABYTE = 2**20


def tracked() -> list[Path]:
    """Files a checkout has: those git tracks or would, if it were asked to add all."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip("no git checkout")
    return [path for name in done.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def test_every_make_command_of_the_readme_exists_and_ci_calls_its_test_command():
    commands = set(re.findall(r"\bmake ([a-z]+)\b(?=`|\s+#)", (ROOT / "README.md").read_text()))
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {"run", "test", "demo"} <= commands <= targets
    script = ROOT / ".ci" / "run"
    assert script.stat().st_mode & 0o111
    assert script.read_text().rstrip().endswith("make test")


def test_tests_that_open_a_browser_say_so(request):
    opening = [item for item in request.session.items if "chromium_there" in item.fixturenames]
    assert [item.nodeid for item in opening if not item.get_closest_marker("browser")] == []


@pytest.mark.parametrize(
    ("found", "required", "skips"), [("", "", True), ("", "1", False), (sys.executable, "", False)]
)
def test_without_chromium_they_are_skipped_unless_it_is_required(monkeypatch, found, required, skips):
    monkeypatch.setattr(browser, "CHROMIUM", found)
    monkeypatch.setenv("REGRAIN_REQUIRE_BROWSER", required)
    added: list[pytest.MarkDecorator] = []
    marked = SimpleNamespace(get_closest_marker="browser".__eq__, add_marker=added.append)
    browser.skip_without_chromium([marked])
    assert [mark.name for mark in added] == ["skip"] * skips


def test_front_matter_is_what_a_space_needs_and_versions_are_pinned():
    front = yaml.safe_load((ROOT / "README.md").read_text().split("---\n")[1])
    requirements = (ROOT / "requirements.txt").read_text()
    assert front["sdk"] == "gradio"
    assert f"gradio[mcp]=={front['sdk_version']}" in requirements
    assert (ROOT / front["app_file"]).is_file()
    assert front["license"] == "mit"
    assert len(front["short_description"]) <= 60
    for line in requirements.splitlines():
        assert re.match(r"[\w-]+(\[\w+\])?==[\w.]+(;|$)", line), line
    for line in tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]["dev"]:
        assert "==" in line, line


def test_the_readme_lists_the_methods():
    listed = re.findall(r"^\| .+ \(`(\w+)`\) \|", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert listed == [name for name, method in METHODS.items() if method.entry.startswith("regrain.")]


def test_checkout_stays_small():
    sizes = {path: path.stat().st_size for path in tracked()}
    assets = {path: size for path, size in sizes.items() if path.is_relative_to(ROOT / "assets")}
    assert [path.name for path, size in sizes.items() if size >= 10 * MEGABYTE] == []
    assert sum(assets.values()) <= 52 * MEGABYTE
    assert sum(sizes.values()) <= 58 * MEGABYTE


BLOCKS = (ast.For, ast.AsyncFor, ast.While, ast.If, ast.With, ast.AsyncWith, ast.Try, ast.Match)
PRODUCT = ("editing", "masks", "ui")
PACKAGES = (*PRODUCT, "regrain", "storybook", "benchmarks", "tests")


def functions(packages=PRODUCT):
    """Place and node of every function."""
    paths = (path for package in packages for path in sorted((ROOT / package).rglob("*.py")))
    for path in paths:
        nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        for node in (node for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)):
            yield f"{path.relative_to(ROOT)}:{node.lineno} {node.name}", node


def user_messages():
    """Place and text of every literal message that a user can see; what is filled in is an x."""
    kinds = {"Request", "Clip", "Mask", "Prompt", "Model", "Resource", "Diverged"}
    for name, function in functions():
        for call in (node for node in ast.walk(function) if isinstance(node, ast.Call)):
            kind = getattr(call.func, "id", "").removesuffix("Error")
            text = call.args[1] if kind in kinds and len(call.args) == 2 else None
            if isinstance(text, ast.Constant | ast.JoinedStr):
                parts = getattr(text, "values", [text])
                yield name, "".join(p.value if isinstance(p, ast.Constant) else "x" for p in parts)


def test_messages_are_sentences():
    messages = list(user_messages())
    assert len(messages) > 100
    translated = re.compile(r"\b(was|were) given\b|\ballowed (is|are)\b|\bis no\b|\bmend\b|; change it")
    for name, text in messages:
        assert re.match(r"[A-Z'\"x`]", text), (name, text)
        assert text.endswith((".", "?", "x")), (name, text)
        assert not translated.search(text), (name, text)


def depth(node: ast.AST) -> int:
    """Control blocks within each other; `elif` is no deeper than its `if`, functions begin anew."""
    found = 0
    for field, value in ast.iter_fields(node):
        for child in value if isinstance(value, list) else [value]:
            if not isinstance(child, ast.AST) or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            chained = isinstance(node, ast.If) and isinstance(child, ast.If) and field == "orelse"
            found = max(found, depth(child) + (isinstance(child, BLOCKS) and not chained))
    return found


def test_functions_fit_on_a_screen_and_nothing_is_nested_deeper_than_three():
    lengths = {name: node.end_lineno - node.lineno + 1 for name, node in functions(PACKAGES)}
    assert {name: length for name, length in lengths.items() if length > 50} == {}
    assert {name: found for name, node in functions(PACKAGES[:-1]) if (found := depth(node)) > 3} == {}


@pytest.mark.parametrize("method", METHODS.values(), ids=lambda method: method.name)
def test_recipes_read_like_their_papers(method):
    """`run` has at most 40 lines, its loop over the steps at most 15."""
    path = ROOT / method.entry.split(":")[0].removeprefix("regrain.").replace(".", "/")
    place = f"{path.relative_to(ROOT)}.py:"
    run = next(node for name, node in functions() if name.startswith(place) and node.name == "run")
    loops = [node.end_lineno - node.lineno + 1 for node in ast.walk(run) if isinstance(node, ast.For)]
    assert run.end_lineno - run.lineno + 1 <= 40
    assert loops
    assert max(loops) <= 15
