"""How a model reads prompts, known without loading it."""

import hashlib
import json

import pytest
from json_files import write_json
from made_models import write_tokenizer

from regrain.editing.errors import ModelError, PromptError
from regrain.editing.models.files.facts import facts_at, facts_of
from regrain.editing.models.files.location import ModelLocation
from regrain.editing.models.files.reader import clip_vocabulary, open_reader
from storybook.world import vocabulary, vocabulary_groups

TEXTS = ["", "a cat", "don't we'll x1234 it's a—dash…", "word " * 90]
TEXTS += ["A  photo of Iron Man's élan, 3d -- 日本 render!! \n blackswan"]
TEXTS += ["a <|endoftext|> cat"]


def in_folder(path):
    """The facts of a folder, which may have no network."""
    return facts_at(ModelLocation("folder", str(path)), "m")


def test_clips_vocabulary_is_the_published_one():
    """Git's name of vocab.json at huggingface.co/openai/clip-vit-large-patch14."""
    tokens, _ = clip_vocabulary()
    file = json.dumps(tokens, ensure_ascii=False).encode()
    assert len(file) == 961_143
    named = hashlib.sha1(b"blob 961143\0" + file).hexdigest()
    assert named == "4297ea6a8d2bae1fea8f48b45e257814dcb11f69"


@pytest.mark.parametrize("text", TEXTS)
def test_tokens_are_those_of_the_real_tokenizer(tiny, tiny_folder, text, tmp_path):
    for folder in (tiny_folder, tmp_path):
        reader = open_reader(in_folder(folder))
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
    (found,) = open_reader(facts_of(str(tiny_folder))).too_long("prompt", text)
    assert str(found) == str(error.value)
    assert (
        list(open_reader(facts_of(str(tiny_folder))).too_long("prompt", "a cat")) == []
    )


@pytest.mark.parametrize(("tokenizer", "encoder"), [(40, 77), (77, 40)])
def test_the_limit_is_the_lesser_one_of_tokenizer_and_encoder(
    tmp_path, tokenizer, encoder
):
    folder = write_tokenizer(tmp_path / "tokenizer")
    write_json(folder / "tokenizer_config.json", {"model_max_length": tokenizer})
    (tmp_path / "text_encoder").mkdir()
    said = {"max_position_embeddings": encoder}
    write_json(tmp_path / "text_encoder" / "config.json", said)
    assert open_reader(in_folder(tmp_path)).limit == 40


def test_the_built_in_model_has_a_limit_of_its_own_and_one_that_is_not_here_is_read_as_clip():
    absent = open_reader(facts_of("owner/name"))
    assert (absent.limit, absent.words) == (77, None)
    reader = open_reader(facts_of("storybook"))
    assert reader.limit == 40
    assert [
        unknown.word for unknown in reader.unknown("a unicorn and a unicorn on a cat")
    ] == ["unicorn"]


def test_groups_hold_the_vocabulary(tmp_path):
    groups = {"Kinds": ["cat"], "Places": ["on the Moon"]}
    write_json(tmp_path / "words.json", groups)
    facts = in_folder(tmp_path)
    assert facts.words == {"cat", "on", "the", "moon"}
    assert facts.groups == {"Kinds": ("cat",), "Places": ("on the moon",)}
    (tmp_path / "words.json").write_text('["a", "Cat"]')
    assert in_folder(tmp_path).groups == {"Words": ("a", "cat")}


def test_the_built_in_groups_are_those_of_the_drawn_world():
    facts = facts_of("storybook")
    assert facts.words == set(vocabulary())
    assert facts.groups == vocabulary_groups()


@pytest.mark.parametrize("name", ["tokenizer.json", "vocab.json", "merges.txt"])
def test_a_damaged_tokenizer_is_refused_in_one_line(tmp_path, name):
    folder = write_tokenizer(tmp_path / "model" / "tokenizer")
    (folder / name).write_text("[")
    reader = open_reader(in_folder(tmp_path / "model"))
    with pytest.raises(
        ModelError, match="model/tokenizer cannot be read. Download the model"
    ):
        reader.count("a cat")
