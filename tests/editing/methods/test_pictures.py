"""Pictures in every method: which rows see them, where, when, and what else must not
change."""

import json
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from cases import BASES
from commands import change, command
from made_models import loaded, write_control_net, write_small_model
from made_motion import write_adapter
from made_pictures import write_encoder, write_picture, write_picture_adapter
from PIL import Image
from safetensors.torch import save_file
from wiring import FRAMES, UNETS, near, requested, softmax

from regrain.editing import edit, load_project, save_project
from regrain.editing.__main__ import main
from regrain.editing.attention.batch import Batch
from regrain.editing.errors import EditingError
from regrain.editing.models.pictures.adapter import load_pictures
from regrain.editing.params.registry import resolve_params
from regrain.editing.recipe.events import Finished, Preview
from regrain.editing.recipe.looking import Looking
from regrain.editing.request.runnable import check_runnable

pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A model, and a picture adapter for it, by whether it is an SDXL; made once."""

    @cache
    def made(sdxl):
        model = loaded(
            write_small_model(tmp_path_factory.mktemp("models") / "small", sdxl=sdxl)
        )
        folder = write_encoder(tmp_path_factory.mktemp("adapter"))
        return model, write_picture_adapter(
            folder / "adapter.safetensors", model.unet, "plain"
        )

    return made


@pytest.fixture
def sdxl(request):
    return getattr(request, "param", False)


@pytest.fixture
def model(folders, sdxl):
    return folders(sdxl)[0]


@pytest.fixture
def adapter(folders, sdxl):
    return folders(sdxl)[1]


@pytest.fixture
def asked(adapter, tmp_path):
    """A request of a method whose first region has a picture."""

    def asked(method, scale=1.2, **changes):
        request = replace(requested(method), picture_adapter=str(adapter), **changes)
        shown = str(write_picture(tmp_path / "toy.png", 4))
        first, *others = request.regions
        first = replace(first, picture=shown, picture_scale=scale, margin=1)
        return replace(
            request, params=BASES[method] | request.params, regions=(first, *others)
        )

    return asked


def without(request):
    return replace(
        request,
        regions=tuple(replace(r, picture="") for r in request.regions),
        picture="",
    )


def ran(request, model):
    *events, finished = edit(request, model)
    assert isinstance(finished, Finished)
    return finished, [event for event in events if isinstance(event, Preview)]


def decoded(request, model):
    return ran(request, model)[0].result.uncomposited[:]


@pytest.mark.full(but="sdedit-False")
@pytest.mark.parametrize(
    ("method", "sdxl"),
    [*((m, False) for m in UNETS), ("sdedit", True)],
    indirect=["sdxl"],
)
def test_the_edit_sees_pictures_where_its_region_is(model, asked, method, monkeypatch):
    """Every call: rows of the edit's halves get the term of the formula, those of the
    source nothing."""
    request = asked(method, params={"steps": 2})
    calls = []
    make = Looking._attend
    picture = write_picture(Path(request.regions[0].picture).parent / "scene.png", 5)
    request = replace(request, picture=str(picture), picture_scale=0.4)
    pictures = load_pictures(request.picture_adapter, list(request.pictures), model)
    scales = {0: 0.4, 1: 1.2}

    def cover(label, size):
        if not label:
            return torch.ones(FRAMES, size[0] * size[1])
        area = torch.from_numpy(request.areas[:] == label).float()
        return F.adaptive_avg_pool2d(area, size).flatten(1)

    def spy(self, attend, halves):
        look = make(self, attend, halves)
        grid = self._grid
        calls.append(halves)

        def checked(q, k, v, site):
            own = attend(q, k, v, site)
            found = look(q, k, v, site)
            if site.kind == "cross":
                wanted = []
                for half, one in zip(halves, q.split(FRAMES), strict=True):
                    term = torch.zeros_like(one)
                    for seen in pictures.seen if half in ("uncond", "cond") else ():
                        tokens = seen.tokens[half == "uncond"]
                        own_keys = (
                            F.linear(tokens, w) for w in pictures.weights[site.name]
                        )
                        k2, v2 = (
                            x.unflatten(-1, (q.shape[1], -1)).transpose(1, 2)
                            for x in own_keys
                        )
                        share = scales[seen.asked.label] * cover(
                            seen.asked.label, grid.at(site).size
                        )
                        term = term + share[:, None, :, None] * (softmax(one, k2) @ v2)
                    wanted.append(term)
                near(found - own, torch.cat(wanted), site.name)
            return found

        return checked

    monkeypatch.setattr(Looking, "_attend", spy)
    seeing = decoded(request, model)
    assert {half for branches in calls for half in branches} - {
        "source",
        "source_uncond",
    } == {
        "uncond",
        "cond",
    }
    monkeypatch.undo()
    assert (seeing != decoded(without(request), model)).mean() > 0.1


@pytest.mark.parametrize("method", ["sdedit", "videograin"])
def test_at_scale_0_nothing_changes(model, asked, method):
    def drawn(scale=1.2, **given):
        return decoded(asked(method, scale, params={"steps": 2} | given), model)

    def unseeing():
        return decoded(without(asked(method, params={"steps": 2})), model)

    usual = unseeing()
    assert np.array_equal(drawn(0.0, picture_colors=1.0), usual)
    seeing = drawn()
    assert not np.array_equal(seeing, usual)
    assert not np.array_equal(drawn(picture_colors=1.0), seeing)
    assert np.array_equal(unseeing(), usual)  # nothing stays on the model


def test_what_is_expected_goes_to_the_colors_of_the_picture(model, asked):
    """Within the region alone, by the formula; what is noised stays the same."""
    calls = []
    make = Looking._colored

    def spy(self, x0, halves):
        calls.append((self, x0, make(self, x0, halves)))
        return calls[-1][-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Looking, "_colored", spy)
        decoded(asked("sdedit", 0.6, params={"picture_colors": 0.4}), model)
    assert len(calls) > 1
    view, x0, colored = calls[-1]
    area = torch.from_numpy(asked("sdedit").areas[:] == 1).float()
    cover = F.adaptive_avg_pool2d(area, x0.shape[2:])
    file = asked("sdedit").regions[0].picture
    palette = model.encode(
        np.asarray(Image.open(file).convert("RGB").resize((128, 128), 3))[None]
    )[0]
    near(view._pictures.palette(0, model), palette.flatten(1).T, "palette")
    side = x0.shape[2]
    reach = round(0.15 * max(x0.shape[2:]))
    assert reach
    # In both halves, the region's mean is taken for the palette's.
    matched = torch.cat(
        [
            half
            + (
                palette.mean((1, 2))
                - (cover[:, None] * half).sum((0, 2, 3)) / cover.sum()
            )[:, None, None]
            for half in x0.split(FRAMES)
        ]
    )
    for row in range(len(x0)):
        own = x0[row].movedim(0, -1)
        weight = cover[row % FRAMES]
        far = (matched[row].movedim(0, -1)[:, :, None] - palette.flatten(1).T).norm(
            dim=-1
        )
        way = weight[..., None] * (palette.flatten(1).T[far.argmin(-1)] - own)
        for y in range(side):
            for x in range(x0.shape[3]):
                around = (
                    slice(max(0, y - reach), y + reach + 1),
                    slice(max(0, x - reach), x + reach + 1),
                )
                mean = way[around].sum((0, 1)) / weight[around].sum().clamp(min=1e-2)
                wanted = own[y, x] + 0.4 * 0.6 * weight[y, x] * mean
                near(colored[row, :, y, x], wanted, f"{row}, {y}, {x}", atol=1e-4)
    assert (colored != x0).any(1).sum() == len(x0) // FRAMES * (cover > 0).sum()


def looking(model, request):
    pictures = load_pictures(request.picture_adapter, list(request.pictures), model)
    params, _ = resolve_params(request.method, request.params, {})
    return Looking(model, pictures, request, params)


def test_colors_go_no_further_than_all_the_way(model, asked):
    colored = {"picture_colors": 0.5}
    x0 = torch.randn(
        2 * FRAMES, *model.encode(np.zeros((1, 32, 32, 3), "u1")).shape[1:]
    )
    moved = [
        looking(model, asked("sdedit", scale, params=colored))._colored(
            x0, ["uncond", "cond"]
        )
        for scale in (1.0, 1.4, 0.5)
    ]
    assert torch.equal(moved[0], moved[1])
    assert not torch.equal(moved[0], moved[2])
    assert not torch.equal(moved[0], x0)


def test_colors_leave_the_noise_and_the_rest_alone(model, asked):
    step = model.schedule.sampling(4)[1]
    request = asked("sdedit", params={"picture_colors": 0.5})
    view = looking(model, request)
    free = request.params | {"picture_colors": 0.0}
    plainly = looking(model, replace(request, params=free))
    text = model.embed(["", "a fox"], ["negative_prompt", "prompt"])
    rows = Batch(FRAMES, ("uncond", "cond"))
    x = torch.randn(2 * FRAMES, *model.encode(request.clip.read(0, 1)).shape[1:])
    both = rows.texts(dict(zip(rows.branches, text, strict=True)))
    (x0, eps), (own_x0, own_eps) = (
        each.predict(x, step, both) for each in (view, plainly)
    )
    moved = x0 != own_x0
    assert moved.any()
    assert torch.equal(eps != own_eps, moved)
    near(step.signal * x0 + step.noise * eps, x, "what is noised")


def test_colors_are_those_of_what_is_opaque(model, asked, tmp_path):
    """However much else the picture holds, and also if next to nothing is."""
    half = np.full((60, 60, 4), (200, 40, 40, 255), np.uint8)
    half[:, 30:] = 0, 255, 0, 0
    faint = np.zeros((900, 900, 4), np.uint8)
    faint[0, 0] = faint[-1, -1] = 1
    (usual,), found = asked("sdedit").pictures, {}
    for name, pixels in {
        "whole": half[:, :30],
        "half": half,
        "faint": faint,
        "nothing": faint * 0,
    }.items():
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
        spec = usual._replace(path=tmp_path / f"{name}.png")
        found[name] = load_pictures(asked("sdedit").picture_adapter, [spec], model)
    near(*(found[name].palette(0, model) for name in ("half", "whole")), "palette")
    for name in ("faint", "nothing"):
        assert found[name].palette(0, model).isfinite().all()
        assert len(found[name].palette(0, model))
    # The model sees grey in both, so windows kept for one would be taken for the
    # other's.
    assert found["faint"].seen[0].fingerprint != found["nothing"].seen[0].fingerprint


def test_previews_and_maps_say_where_pictures_are_looked_at(model, asked):
    finished, shown = ran(asked("videograin", params={"preview_every": 1}), model)
    previews = shown[4:]  # after those of the inversion
    assert len(previews) == 4
    assert set(finished.result.attention["picture of left"].parts) == {
        "early",
        "middle",
        "late",
    }
    name = "picture of left"
    for shares in (
        finished.result.attention[name].after,
        *(event.attention[name] for event in previews),
    ):
        assert shares.shape[0] == FRAMES
        assert 0 <= shares.min() < shares.max() <= 1
        # The region drifts from the left half to the middle; the rightmost cells never
        # see the picture.
        assert shares[..., -1].max() == 0 < shares[..., 0].max()
    whole, _ = ran(
        replace(without(asked("sdedit")), picture=asked("sdedit").regions[0].picture),
        model,
    )
    assert whole.result.attention["picture"].after.min() > 0.01
    (said,) = finished.report["pictures"]
    assert (said["region"], said["file"], said["scale"]) == ("left", "toy.png", 1.2)
    (other,) = whole.report["pictures"]
    assert (other["region"], other["scale"], other["fingerprint"]) == (
        None,
        0.8,
        said["fingerprint"],
    )


@pytest.fixture
def beside(model, tmp_path, monkeypatch):
    """What else may act in a run, by name."""
    monkeypatch.setenv("REGRAIN_MODELS", str(tmp_path))
    write_adapter(tmp_path / "moves", model.unet)
    write_control_net(tmp_path / "net", model.unet, 0.3, (8, 8))
    layer = "unet.up_blocks.1.attentions.0.transformer_blocks.0.attn2.to_v"
    sides = model.unet.get_parameter(f"{layer.removeprefix('unet.')}.weight").shape
    halves = {"A": torch.randn(1, sides[1]), "B": torch.randn(sides[0], 1)}
    tensors = {f"{layer}.lora_{half}.weight": weight for half, weight in halves.items()}
    save_file(tensors, tmp_path / "lora.safetensors")
    made = {
        "key frames": {"params": {"keyframes": "0, 2"}},
        "a motion adapter": {"motion": "moves@1"},
        "a LoRA": {"loras": (f"{tmp_path / 'lora.safetensors'}@1",)},
        "a control network": {"params": {"control": "canny=net@1"}},
    }
    both = {"params": {"keyframes": "0, 2", "control": "canny=net@1"}}
    return made | {"all of them": made["a motion adapter"] | made["a LoRA"] | both}


@pytest.mark.full
def test_pictures_act_beside_all_else(model, asked, beside):
    """The picture changes the run, at scale 0 nothing of it; each of the others acts,
    too."""

    def edited(request):
        few = request.params | {"steps": 2}
        *_, finished = edit(replace(request, model=str(model.id), params=few))
        return finished.result.uncomposited[:]

    def run(**given):
        return edited(asked("videograin", **given))

    alone = run(scale=0.0)
    seen = run()
    for name, given in beside.items():
        seeing = run(**given)
        unseeing = run(scale=0.0, **given)
        usual = edited(without(asked("videograin", **given)))
        assert np.array_equal(unseeing, usual), name
        assert not np.array_equal(seeing, unseeing), name
        assert not np.array_equal(unseeing, alone), name
        assert not np.array_equal(seeing, seen), name


def test_windows_are_kept_for_the_pictures_they_saw(model, asked, tmp_path):
    """Masks move with the frames of each window; a kept window is not that of another
    picture or scale."""
    long = replace(
        requested("sdedit", frames=5),
        params=BASES["sdedit"] | {"window": 3, "cuts": "none"},
    )
    seeing = replace(
        long,
        picture_adapter=asked("sdedit").picture_adapter,
        regions=asked("sdedit").regions,
        labels=long.labels,
    )
    first = decoded(seeing, model)
    assert np.array_equal(decoded(seeing, model), first)
    (region,) = seeing.regions
    other = str(write_picture(tmp_path / "other.png", 9))
    for other_one in ({"picture_scale": 0.3}, {"picture": other}):
        again = decoded(replace(seeing, regions=(replace(region, **other_one),)), model)
        assert not np.array_equal(again, first)
    whole = replace(seeing, params=seeing.params | {"window": 5})
    assert (
        np.abs(decoded(whole, model).astype(int) - first).max() <= 1
    )  # each frame alone, with its own mask


def test_several_edits_see_the_same_pictures(model, asked):
    one = asked("sdedit")
    both = ran(replace(one, more_prompts=(one.prompt,)), model)[0].result
    near(
        *(
            torch.from_numpy(x[:].astype(float))
            for x in (both.uncomposited, both.others[0].uncomposited)
        ),
        atol=1,
    )
    assert not np.array_equal(
        both.others[0].uncomposited[:], decoded(without(one), model)
    )


def test_a_picture_may_stand_for_words(model, asked):
    request = asked("videograin")
    left, right = request.regions
    request = replace(
        request, regions=(replace(left, prompt=""), replace(right, prompt=""))
    )
    assert [region.name for region in request.edited] == ["left"]
    check_runnable(request)
    assert len(decoded(request, model)) == FRAMES


def test_a_project_and_a_command_carry_pictures(
    model, asked, adapter, tmp_path, monkeypatch
):
    monkeypatch.setenv("REGRAIN_MODELS", str(adapter.parent))
    request = replace(asked("sdedit"), picture_adapter="adapter", picture_scale=0.3)
    request = replace(request, picture=request.regions[0].picture)
    save_project(request, tmp_path / "project")
    content = json.loads((tmp_path / "project" / "project.json").read_text())
    assert (content["picture"], content["regions"][0]["picture"]) == (
        "picture_0.png",
        "picture_1.png",
    )
    again = load_project(tmp_path / "project")
    assert (
        again.picture_adapter,
        again.picture_scale,
        again.regions[0].picture_scale,
    ) == (
        "adapter",
        0.3,
        1.2,
    )
    paths = [asked.path for asked in again.pictures]
    assert [path.read_bytes() for path in paths] == [
        Path(request.picture).read_bytes()
    ] * 2
    change(tmp_path / "project", picture="../toy.png")
    with pytest.raises(
        EditingError, match="Expected a relative path inside the project folder"
    ):
        load_project(tmp_path / "project")
    change(tmp_path / "project", picture="")
    arguments = [
        "run",
        tmp_path / "project",
        "-o",
        tmp_path / "out",
        "--model",
        model.id,
    ]
    assert (
        command(main)(
            *arguments,
            "--picture",
            f"cat={paths[0]}@0.7",
            "--picture-adapter",
            "adapter",
        )
        == 0
    )
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert [(one["region"], one["scale"]) for one in report["pictures"]] == [
        ("cat", 0.7)
    ]
    assert list((tmp_path / "out" / "attention").glob("picture*cat*.mp4"))


@pytest.mark.parametrize(
    ("change", "field", "said"),
    [
        (
            {"picture_adapter": ""},
            "regions.left.picture",
            "needs a picture adapter, but none is chosen",
        ),
        (
            {"picture": "nowhere.png"},
            "regions.left.picture",
            "'nowhere.png' does not exist",
        ),
        (
            {"picture_scale": 1.6},
            "regions.left.picture_scale",
            "from 0 to 1.5, or null, got 1.6",
        ),
        (
            {"picture_adapter": "x.bin"},
            "picture_adapter",
            "is a pickle.*Use 'x.safetensors'",
        ),
        (
            {"picture_adapter": "a/ip-adapter-faceid_sd15.bin"},
            "picture_adapter",
            "InsightFace",
        ),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(model, asked, change, field, said):
    own = {
        key: value
        for key, value in change.items()
        if key in ("picture", "picture_scale")
    }
    rest = {key: value for key, value in change.items() if key not in own}

    def attempt():
        first, *others = asked("videograin").regions
        regions = (replace(first, **own), *others)
        ran(replace(asked("videograin"), regions=regions, **rest), model)

    with pytest.raises(EditingError, match=said) as caught:
        attempt()
    assert caught.value.field == field
