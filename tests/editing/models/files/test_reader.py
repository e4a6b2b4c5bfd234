"""How a model reads prompts, known without loading it."""

import json
import os
import shutil
from pathlib import Path

import pytest

from regrain.editing.errors import ModelError, PromptError
from regrain.editing.models.files.location import ModelLocation, find
from regrain.editing.models.files.offers import _read
from regrain.editing.models.files.reader import CLIP, _number, open_reader
from regrain.editing.models.files.words import read_groups, read_words
from storybook.world import vocabulary, vocabulary_groups

TEXTS = ["", "a cat", "don't we'll x1234 it's a—dash…", "word " * 90]
TEXTS += ["A  photo of Iron Man's élan, 3d -- 日本 render!! \n blackswan"]


@pytest.mark.parametrize("text", TEXTS)
def test_tokens_are_those_of_the_real_tokenizer(tiny, tiny_folder, text):
    for folder in (tiny_folder, CLIP.parent):
        reader = open_reader(ModelLocation("folder", str(folder)))
        given = tiny.tokenizer(text, return_offsets_mapping=True)
        assert reader.count(text) == len(given.input_ids) - 2
        assert reader._offsets(text)[1:-1] == [
            tuple(o) for o in given.offset_mapping[1:-1]
        ]


def test_what_is_too_long_is_refused_in_the_same_words_as_by_the_model(
    tiny, tiny_folder
):
    text = "a very long prompt " * 30
    with pytest.raises(PromptError) as error:
        tiny.check_prompts([text], ["prompt"])
    (found,) = open_reader(find(str(tiny_folder))).too_long("prompt", text)
    assert str(found) == str(error.value)
    assert list(open_reader(find(str(tiny_folder))).too_long("prompt", "a cat")) == []


def test_the_built_in_model_has_a_limit_of_its_own_and_one_that_is_not_here_is_read_as_clip():
    absent = open_reader(ModelLocation("hub", "owner/name"))
    assert (absent.limit, absent.words) == (77, None)
    reader = open_reader(find("storybook"))
    assert reader.limit == 40
    assert [
        unknown.word for unknown in reader.unknown("a unicorn and a unicorn on a cat")
    ] == ["unicorn"]


def test_groups_hold_the_vocabulary(tmp_path):
    groups = {"Kinds": ["cat"], "Places": ["on the Moon"]}
    (tmp_path / "words.json").write_text(json.dumps(groups))
    assert read_words(tmp_path) == {"cat", "on", "the", "moon"}
    assert read_groups(tmp_path) == {"Kinds": ("cat",), "Places": ("on the moon",)}
    (tmp_path / "words.json").write_text('["a", "Cat"]')
    assert read_groups(tmp_path) == {"Words": ("a", "cat")}


def test_the_built_in_groups_are_those_of_the_drawn_world():
    folder = Path(find("storybook").location)
    assert read_words(folder) == set(vocabulary())
    assert read_groups(folder) == vocabulary_groups()


@pytest.mark.parametrize("content", ["[" * 50_000, "null", "", None])
def test_a_configuration_of_a_stranger_is_read_as_if_it_were_missing(tmp_path, content):
    path = tmp_path / "config.json"
    os.mkfifo(path) if content is None else path.write_text(content)
    assert _number(path, "model_max_length") == 77
    assert _read(path) == {}


@pytest.mark.parametrize("name", ["tokenizer.json", "vocab.json", "merges.txt"])
def test_a_damaged_tokenizer_is_refused_in_one_line(tmp_path, name):
    folder = shutil.copytree(CLIP, tmp_path / "model" / "tokenizer")
    (folder / name).write_text("[")
    reader = open_reader(ModelLocation("folder", str(tmp_path / "model")))
    with pytest.raises(
        ModelError, match="model/tokenizer cannot be read. Download the model"
    ):
        reader.count("a cat")
