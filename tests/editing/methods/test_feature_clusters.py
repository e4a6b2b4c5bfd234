"""Regions without masks: k-means and names by their meaning, and on the built-in model
against the truth."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from made_clips import black
from made_models import randn, seeded
from running import finish

from regrain.editing import ArrayClip, load_backbone, load_project
from regrain.editing.__main__ import main
from regrain.editing.errors import RequestError
from regrain.editing.methods.feature_clusters import (
    find_clusters,
    find_nouns,
    kmeans,
    name_clusters,
    pca_rgb,
)
from regrain.editing.storage.local_models import ASSETS


def test_kmeans_finds_blobs_and_numbers_the_largest_first():
    generator = seeded(0)
    centres = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])
    truth = torch.cat([torch.full((n,), i) for i, n in enumerate((20, 50, 30))])
    points = centres[truth] + torch.randn(100, 2, generator=generator)
    found = kmeans(points, 3, 1)
    assert torch.equal(found, torch.tensor([2, 0, 1])[truth])
    assert torch.equal(found, kmeans(points, 3, 1))


def test_kmeans_of_equal_points_ends():
    assert kmeans(torch.zeros(10, 2), 3, 0).max() <= 2


def test_names_go_to_the_cluster_that_answers_most_and_only_once():
    cells = torch.tensor([[[0, 0], [1, 2]]])
    mass = torch.zeros(1, 2, 2, 2)
    mass[0, 1, 0] = torch.tensor([0.9, 0.1])  # cluster 1: the first noun
    mass[0, 1, 1] = torch.tensor([0.8, 0.5])  # cluster 2 too, but less so
    names, fit = name_clusters(cells, mass, ("cat", "fox"))
    assert names == ("", "cat", "fox")
    assert fit[1] > 1
    assert fit[2] > 1
    assert name_clusters(cells, mass, ()) == (("", "", ""), (0.0, 0.0, 0.0))


def test_nouns_of_several_tokens_and_repeated_ones(tiny):
    nouns = find_nouns(tiny.embed(["A Shiba-Inu and a cat past the cat, on grass."]))
    assert list(nouns) == ["shiba-inu", "cat", "grass"]
    assert nouns["shiba-inu"] == (2, 3, 4, 5, 6)
    assert len(nouns["cat"]) == 2


def test_long_clips_are_refused(tiny):
    clip = black(65, 64, 64)
    with pytest.raises(
        RequestError,
        match=r"clip.frames: Clusters are found in at most 64 frames.* has 65",
    ):
        next(find_clusters(tiny, clip, "a horse"))


def test_pca_has_one_scale_for_the_clip():
    features = randn(2, 3, 4, 5)
    rgb = pca_rgb(features)
    assert rgb.shape == (2, 3, 4, 3)
    assert (rgb.min((0, 1, 2)) == 0).all()
    assert (rgb.max((0, 1, 2)) == 255).all()


@pytest.fixture(scope="module")
def found():
    """Clusters of the second example, one fox in the snow, and its true mask."""
    model = load_backbone("storybook")
    request = load_project(ASSETS / "examples" / "02_one_animal")
    clip = ArrayClip(request.clip.read(0, 4), fps=Fraction(8))
    events = find_clusters(model, clip, request.source_prompt, count=2, steps=10)
    return finish(events), request.labels[:4] > 0


@pytest.mark.full
def test_a_cluster_is_the_same_thing_in_every_frame(found):
    clusters, truth = found
    assert clusters.labels.shape == truth.shape
    assert set(np.unique(clusters.labels)) == {1, 2}
    assert clusters.pca.shape == (*truth.shape, 3)
    best = max((1, 2), key=lambda label: truth[clusters.labels == label].mean())
    for frame in range(len(truth)):
        mine = clusters.labels[frame] == best
        overlap = (mine & truth[frame]).sum() / (mine | truth[frame]).sum()
        assert overlap > 0.3, frame
    assert clusters.names[best - 1] == "fox"


def test_the_command_makes_a_project_with_a_region_a_cluster(tmp_path, capsys):
    example = ASSETS / "examples" / "02_one_animal"  # whose model sees its source
    arguments = [
        "clusters",
        str(example),
        "-o",
        str(tmp_path / "found"),
        "--count",
        "2",
        "--steps",
        "2",
    ]
    assert main(arguments) == 0
    made = load_project(tmp_path / "found")
    assert [region.label for region in made.regions] == [1, 2]
    known = {*load_project(example).source_prompt.split(), ""}
    assert {region.source for region in made.regions} <= known
    assert (tmp_path / "found" / "clusters.mp4").is_file()
    assert (tmp_path / "found" / "pca.mp4").is_file()
    assert "region 1" in capsys.readouterr().out
