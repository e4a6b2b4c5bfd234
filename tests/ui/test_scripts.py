"""The page's scripts: modules of one version that import each other, with tests of
their own for node."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from regrain.editing.params.registry import METHODS
from regrain.editing.request.edit import Edit
from regrain.editing.request.fields import declared
from regrain.editing.request.region import Region
from regrain.ui.page import scripts
from regrain.ui.page.components import EVENTS, view
from regrain.ui.page.head import PageHead, with_head

ROOT = Path(__file__).parents[2]
NODE = shutil.which("node")


def fetch(path, method="GET", **headers):
    """Ask the middleware, behind which nothing answers."""
    return TestClient(PageHead(None)).request(method, path, headers=headers)


def test_every_module_is_imported_and_every_import_is_there():
    entries = [f"{name}.js" for name in scripts.COMPONENTS]
    entries += [scripts.FIRST, "shared/mounting.js", "shared/calls.js"]
    used = {module for entry in entries for module in scripts.with_imports(entry)}
    assert used == {*scripts.MODULES}
    assert {*scripts.first_modules()} < used
    for name in scripts.COMPONENTS:
        assert re.search(
            r"^export function mount\(", scripts.MODULES[f"{name}.js"], re.MULTILINE
        )


def test_modules_come_before_what_imports_them():
    order = scripts.first_modules()
    for name in order:
        assert all(
            order.index(one) <= order.index(name) for one in scripts.with_imports(name)
        )


def test_components_have_the_events_that_are_listened_to():
    for component, events in EVENTS.items():
        told = view(component)
        assert all(callable(getattr(told, event)) for event in events)


def test_a_module_is_served_for_good_and_only_under_its_version():
    address = f"{scripts.ADDRESS}canvas/state.js"
    module = scripts.MODULES["canvas/state.js"]
    plain = fetch(address, **{"accept-encoding": "identity"})
    assert plain.text == module
    assert plain.headers["content-type"] == "text/javascript; charset=utf-8"
    assert plain.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert plain.headers["x-content-type-options"] == "nosniff"
    style = fetch(scripts.ADDRESS + scripts.STYLE)
    assert style.headers["content-type"] == "text/css; charset=utf-8"
    packed = fetch(address, **{"accept-encoding": "br, gzip"})
    assert packed.text == module
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.headers["vary"].lower() == "accept-encoding"
    assert int(packed.headers["content-length"]) < len(module)


@pytest.mark.parametrize(
    "name",
    ["types.d.ts", "%2E%2E/page.css", "canvas", "", "canvas/%2E%2E/shared/hub.js"],
)
def test_nothing_but_modules_is_served(name):
    assert fetch(scripts.ADDRESS + name).status_code == 404


def test_modules_are_only_read():
    answer = fetch(f"{scripts.ADDRESS}canvas.js", "POST")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")


def test_a_version_is_of_all_that_modules_say():
    texts = dict(scripts.FILES)
    version = scripts.version_of(texts)
    assert version == scripts.version_of(texts)
    assert version in scripts.ADDRESS
    assert scripts.version_of(texts | {"canvas.js": ""}) != version


def test_the_page_names_the_first_script_before_gradios_and_what_it_needs():
    page = with_head("<head><script>gradio</script></head>", "http://here")
    first = f'<script type="module" src=".{scripts.ADDRESS}{scripts.FIRST}">'
    assert page.index(first) < page.index("gradio")
    needed = re.findall(r'<link rel="modulepreload" href="\.([^"]+)">', page)
    assert needed == [scripts.ADDRESS + name for name in scripts.first_modules()]


@pytest.mark.skipif(not NODE, reason="node is not installed")
def test_the_pure_parts_pass_nodes_own_tests():
    files = sorted(map(str, (ROOT / "tests" / "ui" / "js").glob("*.test.js")))
    done = subprocess.run(
        [NODE, "--test", *files], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout
    assert int(re.search(r"^# pass (\d+)", done.stdout, re.MULTILINE)[1]) > 20


def test_no_script_says_again_what_stands_beside_a_field_but_these_titles():
    said = set()
    for method in METHODS.values():
        for field in method.Params.model_json_schema()["properties"].values():
            said |= {field["title"], field["description"], field.get("hint")}
    for owner in (Edit, Region):
        for field in declared(owner).values():
            said |= {field.title, field.description}
    again = {
        text
        for text in filter(None, said)
        if any(f'"{text}"' in module for module in scripts.MODULES.values())
    }
    assert again == {
        *("Focus", "It should show", "Key frames", "Make it", "Never show", "Picture"),
        *("Strength", "The clip shows", "This is", "Tuned model"),
    }
