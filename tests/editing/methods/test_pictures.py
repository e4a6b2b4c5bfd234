"""Pictures in every method: which rows see them, where, when, and what else must not
change."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from cases import BASES
from commands import command
from made_clips import off
from made_models import loaded, write_small_model
from made_pictures import write_encoder, write_picture, write_picture_adapter
from PIL import Image
from wiring import FRAMES, PLAIN_UNETS, near, requested

from regrain.editing import edit, load_project, save_project
from regrain.editing.__main__ import main
from regrain.editing.attention.batch import Batch
from regrain.editing.errors import EditingError
from regrain.editing.models.pictures.adapter import load_pictures
from regrain.editing.params.registry import resolve_params
from regrain.editing.recipe.events import Finished, Preview
from regrain.editing.recipe.looking import Looking, covered
from regrain.editing.request.runnable import check_runnable

pytestmark = pytest.mark.usefixtures("own_cache")
call = command(main)


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
    [*((m, False) for m in PLAIN_UNETS), ("sdedit", True)],
    indirect=["sdxl"],
)
def test_the_halves_of_the_edit_see_pictures_and_the_source_none(
    model, asked, method, monkeypatch
):
    """In every call; the term itself is diffusers', see `test_picture_adapters`."""
    request = asked(method, params={"steps": 2})
    make = Looking._attend
    there = set()

    def spy(self, attend, halves):
        look = make(self, attend, halves)

        def checked(q, k, v, site):
            found = look(q, k, v, site)
            if site.kind == "cross":
                added = (found - attend(q, k, v, site)).split(FRAMES)
                for half, one in zip(halves, added, strict=True):
                    assert bool(one.any()) == (half in ("uncond", "cond"))
                    there.add(half)
            return found

        return checked

    monkeypatch.setattr(Looking, "_attend", spy)
    seeing = decoded(request, model)
    assert there - {"source", "source_uncond"} == {"uncond", "cond"}
    monkeypatch.undo()
    assert (seeing != decoded(without(request), model)).mean() > 0.1


def test_a_picture_counts_by_the_share_of_its_region(asked):
    request = asked("sdedit")
    cover = covered(request, torch.device("cpu"))
    area = torch.from_numpy(request.areas[:] == 1).float()
    for size in ((8, 12), (4, 6), (2, 3)):
        near(cover(1, size), F.adaptive_avg_pool2d(area, size).flatten(1))
        assert (cover(0, size) == 1).all()


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


def looking(model, request):
    pictures = load_pictures(request.picture_adapter, list(request.pictures), model)
    params, _ = resolve_params(request.method, request.params, {})
    return Looking(model, pictures, request, params)


def test_what_is_expected_goes_to_the_colors_of_the_picture(model, asked):
    """Within the region alone, by the formula."""
    request = asked("sdedit", 0.6, params={"picture_colors": 0.4})
    view = looking(model, request)
    area = torch.from_numpy(request.areas[:] == 1).float()
    x0 = torch.randn(2 * FRAMES, *model.encode(request.clip.read(0, 1)).shape[1:])
    colored = view._colored(x0, ["uncond", "cond"])
    cover = F.adaptive_avg_pool2d(area, x0.shape[2:])
    shown = Image.open(request.regions[0].picture).convert("RGB").resize((128, 128), 3)
    palette = model.encode(np.asarray(shown)[None])[0].flatten(1)
    near(view._pictures.palette(0, model), palette.T, "palette")
    reach = round(0.15 * max(x0.shape[2:]))
    assert reach

    def summed(x):
        return F.avg_pool2d(x, 2 * reach + 1, 1, reach, divisor_override=1)

    weight = cover[:, None]
    for half, found in zip(x0.split(FRAMES), colored.split(FRAMES), strict=True):
        # The region's mean is taken for the palette's.
        mean = (weight * half).sum((0, 2, 3)) / weight.sum()
        matched = half + (palette.mean(1) - mean)[:, None, None]
        far = (matched[:, :, None] - palette[..., None, None]).norm(dim=1)
        way = weight * (palette[:, far.argmin(1)].movedim(0, 1) - half)
        mean_way = summed(way) / summed(weight).clamp(min=1e-2)
        near(found, half + 0.4 * 0.6 * weight * mean_way, "colors", atol=1e-4)
    assert (colored != x0).any(1).sum() == 2 * (cover > 0).sum()


def test_colors_go_no_further_than_all_the_way(model, asked):
    x0 = torch.randn(
        2 * FRAMES, *model.encode(np.zeros((1, 32, 32, 3), "u1")).shape[1:]
    )
    whole, more = (
        looking(model, asked("sdedit", scale, params={"picture_colors": 1.0}))
        for scale in (1.0, 1.4)
    )
    moved = [view._colored(x0, ["uncond", "cond"]) for view in (whole, more)]
    assert torch.equal(*moved)


def test_colors_leave_the_noise_and_the_rest_alone(model, asked):
    step = model.schedule.sampling(4)[1]
    text = model.embed(["", "a fox"])
    clean = model.encode(requested("sdedit").clip.read(0, 1))
    x = torch.randn(2 * FRAMES, *clean.shape[1:])
    both = Batch(FRAMES, ("uncond", "cond")).texts({"uncond": text[0], "cond": text[1]})
    (x0, eps), (own_x0, own_eps) = (
        looking(
            model,
            asked("sdedit", params={"picture_colors": share}),
        ).predict(x, step, both)
        for share in (0.5, 0.0)
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
    request = asked("sdedit")
    (usual,) = request.pictures

    def pictures_of(pixels):
        Image.fromarray(pixels).save(path := tmp_path / "own.png")
        spec = usual._replace(path=path)
        return load_pictures(request.picture_adapter, [spec], model)

    whole, partly = (pictures_of(one).palette(0, model) for one in (half[:, :30], half))
    near(partly, whole, "palette")
    hardly, nothing = pictures_of(faint), pictures_of(faint * 0)
    for one in (hardly, nothing):
        assert len(one.palette(0, model))
        assert one.palette(0, model).isfinite().all()
    # The model sees grey in both, so windows kept for one would be taken for the
    # other's.
    assert hardly.seen[0].fingerprint != nothing.seen[0].fingerprint


def test_previews_and_maps_say_where_pictures_are_looked_at(model, asked):
    finished, shown = ran(asked("videograin", params={"preview_every": 1}), model)
    previews = shown[4:]  # after those of the inversion
    assert len(previews) == 4
    maps = finished.result.attention["picture of left"]
    assert set(maps.parts) == {"early", "middle", "late"}
    during = [event.attention["picture of left"] for event in previews]
    for shares in (maps.after, *during):
        assert shares.shape[0] == FRAMES
        assert 0 <= shares.min() < shares.max() <= 1
        # The region drifts from the left half to the middle; the rightmost cells never
        # see the picture.
        assert shares[..., -1].max() == 0 < shares[..., 0].max()
    (said,) = finished.report["pictures"]
    assert (said["region"], said["file"], said["scale"]) == ("left", "toy.png", 1.2)


def test_a_picture_of_the_whole_frame_is_looked_at_and_told(model, asked):
    request = asked("sdedit")
    whole = replace(without(request), picture=request.regions[0].picture)
    finished, _ = ran(whole, model)
    assert finished.result.attention["picture"].after.min() > 0.01
    (said,) = finished.report["pictures"]
    assert (said["region"], said["scale"]) == (None, 0.8)


def test_windows_are_kept_for_the_pictures_they_saw(model, asked, tmp_path):
    """Masks move with the frames of each window; a kept window is not that of another
    picture or scale."""
    long = requested("sdedit", frames=5)
    seeing = replace(
        asked("sdedit", params={"window": 3, "cuts": "none"}),
        clip=long.clip,
        labels=long.labels,
    )
    first = decoded(seeing, model)
    assert np.array_equal(decoded(seeing, model), first)
    (region,) = seeing.regions
    other = str(write_picture(tmp_path / "other.png", 9))
    for other_one in ({"picture_scale": 0.3}, {"picture": other}):
        again = replace(seeing, regions=(replace(region, **other_one),))
        assert not np.array_equal(decoded(again, model), first)
    whole = decoded(replace(seeing, params=seeing.params | {"window": 5}), model)
    assert off(whole, first).max() <= 1  # each frame with its own mask


def test_several_edits_see_the_same_pictures(model, asked):
    one = asked("sdedit")
    both = ran(replace(one, more_prompts=(one.prompt,)), model)[0].result
    other = both.others[0].uncomposited[:]
    assert off(both.uncomposited[:], other).max() <= 1
    assert not np.array_equal(other, decoded(without(one), model))


def test_a_picture_may_stand_for_words(model, asked):
    request = asked("videograin")
    left, right = request.regions
    request = replace(
        request, regions=(replace(left, prompt=""), replace(right, prompt=""))
    )
    assert [region.name for region in request.edited] == ["left"]
    check_runnable(request)
    assert len(decoded(request, model)) == FRAMES


def test_a_project_carries_pictures_of_one_name(asked, tmp_path):
    request = replace(asked("sdedit"), picture_adapter="adapter")
    request = replace(request, picture=request.regions[0].picture)
    save_project(request, project := tmp_path / "project")
    names = [one.path.relative_to(project) for one in load_project(project).pictures]
    assert [*map(str, names)] == ["picture_0.png", "picture_1.png"]


@pytest.mark.parametrize(
    ("own", "rest", "field", "said"),
    [
        (
            {},
            {"picture_adapter": ""},
            "regions.left.picture",
            "needs a picture adapter",
        ),
        ({"picture": "no.png"}, {}, "regions.left.picture", "'no.png' does not exist"),
        ({"picture_scale": 1.6}, {}, "regions.left.picture_scale", "from 0 to 1.5"),
        ({}, {"picture_adapter": "x.bin"}, "picture_adapter", "Use 'x.safetensors'"),
        ({}, {"picture_adapter": "a/faceid.bin"}, "picture_adapter", "InsightFace"),
        *(
            ({}, {"picture_adapter": id}, "picture_adapter", "Name an IP-Adapter")
            for id in (" ", "x" * 1001, "x\n")
        ),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(model, asked, own, rest, field, said):
    request = asked("videograin")
    first, *others = request.regions

    def attempt():
        regions = (replace(first, **own), *others)
        ran(replace(request, regions=regions, **rest), model)

    with pytest.raises(EditingError, match=said) as caught:
        attempt()
    assert caught.value.field == field
