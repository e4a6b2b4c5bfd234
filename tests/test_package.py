"""The wheel: built from the tracked files, it works from any folder, without network
and without a home."""

import os
import re
import shutil
import site
import subprocess
import sys
import time
from importlib.metadata import PathDistribution
from pathlib import Path

import pytest
from browser import Server, as_program, wait
from gradio_client import handle_file
from json_files import read_json, write_json

pytestmark = pytest.mark.full
ROOT = Path(__file__).parents[1]
# What a program of the documents asks for, and what is enough to see that it runs.
STEPS = 'params={"steps": 10}'
FEWER_STEPS = 'params={"steps": 2}'


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """A virtual environment with the wheel, which sees the dependencies of this one."""
    pytest.importorskip("setuptools", minversion="77")
    folder = tmp_path_factory.mktemp("package")
    command = ["git", "ls-files", "-co", "--exclude-standard", "-z"]
    named = subprocess.run(command, cwd=ROOT, capture_output=True)
    if named.returncode:
        pytest.skip("not a checkout")
    for name in filter(None, os.fsdecode(named.stdout).split("\0")):
        if os.path.lexists(ROOT / name) and not name.startswith(
            ("tests/", "node_modules")
        ):
            (folder / "source" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(
                ROOT / name, folder / "source" / name, follow_symlinks=False
            )
    pip = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check"]
    without = ["--no-deps", "--no-index"]
    build = [
        "wheel",
        "--no-build-isolation",
        *without,
        "-w",
        str(folder),
        str(folder / "source"),
    ]
    subprocess.run([*pip, *build], check=True)
    venv = folder / "venv"
    subprocess.run(
        [sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True
    )
    (packages,) = venv.glob("lib/python*/site-packages")
    (packages / "shared.pth").write_text("\n".join(site.getsitepackages()))
    (wheel,) = folder.glob("*.whl")
    target = ["--python", str(venv / "bin" / "python")]
    subprocess.run([*pip, *target, "install", *without, str(wheel)], check=True)
    for name in ("editing", "masks", "ui"):  # somebody else's, where the programs stand
        (folder / "elsewhere" / name).mkdir(parents=True)
        (folder / "elsewhere" / name / "__init__.py").write_text("1 / 0")
    (folder / "elsewhere" / "app.py").write_text("1 / 0")
    for program in (ROOT / "docs" / "library").glob("*.py"):
        text = program.read_text()
        fewer = text.replace(STEPS, FEWER_STEPS)
        (folder / "elsewhere" / program.name).write_text(fewer)
        assert (fewer != text) == (program.name == "own_clip.py")
    return venv


def environment(**more: str) -> dict[str, str]:
    """No home that can be written, no network that answers, and nothing of this
    checkout."""
    names = ("PATH", "LANG", "TMPDIR", "LD_LIBRARY_PATH")
    kept = {name: os.environ[name] for name in names if name in os.environ}
    nobody = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    local = {
        "NO_PROXY": "127.0.0.1,localhost",
        "HOME": "/proc/nowhere",
        "OMP_NUM_THREADS": "1",
    }
    return kept | nobody | local | more


def python(installed: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [installed / "bin" / "python", *map(str, arguments)]
    folder = installed.parent / "elsewhere"
    options = {"capture_output": True, "text": True, "timeout": 300}
    options["env"] = environment(REGRAIN_CACHE=str(folder / "cache"))
    return subprocess.run(command, cwd=folder, **options)


def regrain(installed: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    return python(installed, "-m", "regrain", *arguments)


@pytest.fixture(scope="module")
def example(installed) -> Path:
    return next(
        installed.glob(
            "lib/python*/site-packages/regrain/assets/examples/01_two_animals"
        )
    )


def each(program: str, *calls: tuple[object, ...]) -> str:
    """Code that runs a program with each of these arguments, one after the other."""
    given = [list(map(str, (program, *call))) for call in calls]
    return f"import runpy, sys\nfor sys.argv in {given}: runpy.run_path({program!r}, run_name='__main__')\n"


def folder_of_a_pipeline(model: Path, folder: Path) -> None:
    """Write a small model as a pipeline of diffusers is saved."""
    kinds = {
        "unet": "UNet2DConditionModel",
        "vae": "AutoencoderKL",
        "scheduler": "DDIMScheduler",
    }
    parts = {name: ("diffusers", kind) for name, kind in kinds.items()}
    kinds = {"text_encoder": "CLIPTextModel", "tokenizer": "CLIPTokenizer"}
    parts |= {name: ("transformers", kind) for name, kind in kinds.items()}
    index = {
        "_class_name": "StableDiffusionPipeline",
        "feature_extractor": (None, None),
    } | parts
    shutil.copytree(model, folder)
    write_json(folder / "model_index.json", index)


def test_programs_of_the_documents_edit_a_clip_compare_videos_and_bind_words(
    installed, example, small_folder
):
    """And masks are tracked by a command; all in one process, which has loaded much."""
    folder = installed.parent / "elsewhere"
    clip = example / "clip.mp4"
    edited = each("own_clip.py", (clip, "own.mp4"))
    # A folder of diffusers is loaded without a word, too.
    load = f"import regrain; regrain.load_backbone({str(small_folder)!r})\n"
    compared = (clip, clip), (clip, "own.mp4", example / "masks"), (clip, "own.mp4")
    quiet = edited + load + each("metrics.py", *compared)
    mark = "sys.stderr.write('pipeline')\n"
    folder_of_a_pipeline(small_folder, folder / "model")
    bound = each("pipeline.py", *(("model", f"{s}.png", s) for s in (0, 0.9)))
    options = ["-o", "found", "--click", "1:0,64,64", "--frames", "1"]
    track = ["regrain", "masks", "track", str(clip), *options]
    track = f"sys.argv = {track}\nrunpy.run_module('regrain', run_name='__main__')"
    done = python(installed, "-c", quiet + mark + bound + track)
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("pipeline"), done.stderr
    assert re.search(r"^editing (\d+) of \1$", done.stdout, re.MULTILINE)
    assert "'inside_after'" in done.stdout
    assert "\nPSNR 100.0 dB (100 where equal), SSIM 1.000\n" in done.stdout
    _, outside, everywhere = map(
        float, re.findall(r"^PSNR ([\d.]+)", done.stdout, re.MULTILINE)
    )
    assert everywhere < outside < 100
    assert (folder / "0.png").read_bytes() != (folder / "0.9.png").read_bytes()
    assert any((folder / "found").iterdir())


def test_the_command_edits_from_any_folder_by_a_method_of_the_documents(installed):
    """Which is found by its entry point."""
    folder = installed.parent / "elsewhere"
    entry = folder / "own_method-1.dist-info"
    entry.mkdir()
    (entry / "METADATA").write_text("Name: own_method\nVersion: 1\n")
    (entry / "entry_points.txt").write_text(
        "[regrain.methods]\ngentle = own_method:gentle\n"
    )
    given = ("--method", "gentle", "--set", "steps=2", "--prompt", "a fox on the grass")
    ran = regrain(installed, "edit", "run", "10_background", "-o", "own", *given)
    assert ran.returncode == 0, ran.stderr
    assert (folder / "own" / "edited.mp4").stat().st_size > 1000
    assert read_json(folder / "own" / "report.json")["request"]["method"] == "gentle"


def test_one_name_with_every_file(installed):
    """Site-packages have one new name, and below it all that the checkout has in these
    folders."""
    (packages,) = installed.glob("lib/python*/site-packages")
    names = {
        entry.name
        for entry in packages.iterdir()
        if not entry.name.endswith((".dist-info", ".pth"))
    }
    assert names == {"regrain"}
    source = installed.parent / "source"
    for folder in ("editing", "masks", "ui", "assets"):
        files = {
            file.relative_to(source)
            for file in (source / folder).rglob("*")
            if file.is_file()
        }
        there = {file for file in files if (packages / "regrain" / file).is_file()}
        missing = {str(file) for file in files - there if file.suffix != ".md"}
        assert missing <= {"assets/readme.webp"}  # the README's picture
    (info,) = installed.glob("lib/python*/site-packages/regrain-*.dist-info")
    told = PathDistribution(info).metadata["Description"]
    # There, files and commands of the repository are nowhere.
    assert re.findall(r"\]\((?!https:)", told) == []
    assert re.findall(r"assets/|make run|make demo|python -m editing", told) == []


def test_wrong_commands_are_one_line(installed):
    ran = regrain(installed, "edti")
    assert (ran.returncode, ran.stderr) == (
        2,
        "error: COMMAND: Expected edit, masks, cache or app, got 'edti'.\n",
    )
    assert "usage: regrain edit" in regrain(installed).stdout
    ran = regrain(installed, "edit", "run", "elsewhere", "-o", "out")
    assert "or make one with `regrain edit new`." in ran.stderr
    command = [installed / "bin" / "regrain", "--version"]
    assert subprocess.check_output(command, env=environment()) == b"regrain 0.2.0\n"


def test_the_page_starts_without_home_and_network_and_ends_in_the_middle_of_a_run(
    installed, tmp_path
):
    folder = installed.parent / "elsewhere"
    interpreter = [installed / "bin" / "python"]
    variables = environment(TMPDIR=str(tmp_path / "tmp"))
    server = Server(
        ["-m", "regrain", "app"], tmp_path, folder, interpreter, **variables
    )
    try:
        assert b"named_endpoints" in server.get("/gradio_api/info")[1]
        client = as_program(server.url)
        clip = ROOT / "assets" / "examples" / "01_two_animals" / "clip.mp4"
        cat = {"source": "a cat", "prompt": "a fox", "clicks": [{"x": 87, "y": 88}]}
        asked = {"regions": [cat], "source_prompt": "a cat and a rabbit walk"}
        client.submit(handle_file(clip), **asked, api_name="/edit_video")
        wait(lambda: "loaded a" in server.output.read_text(), "the run has its model")
        time.sleep(2)  # now it computes
    finally:
        server.stop()
    assert server.process.returncode == 0
    left = [path.name for path in server.temporary.rglob("*") if path.is_file()]
    # which torch writes before 2.9
    assert left in ([], ["_remote_module_non_scriptable.py"])
