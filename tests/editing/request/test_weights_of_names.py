"""Names with a weight, as `NAME@WEIGHT`: paths may have an @ of their own."""

from pathlib import Path

import pytest
from json_files import read_json
from other_values import with_region, write_files

from regrain.editing import ModelError, RequestError
from regrain.editing.models.files.location import find, moving, parse_lora
from regrain.editing.params.written import read_control, split_weight, write_control
from regrain.editing.request.edit_request import override

SPLIT = read_json(Path(__file__).with_name("weights_of_names.json"))


@pytest.mark.parametrize("text", SPLIT)
def test_the_weight_is_a_number_after_the_last_at(text):
    assert [*split_weight(text)] == SPLIT[text]


def test_loras_motion_and_control_may_lie_in_a_folder_with_an_at(tmp_path):
    file = tmp_path / "me@work" / "look@home.safetensors"
    file.parent.mkdir()
    file.write_bytes(b"")
    spec = parse_lora(f"{file}@-0.5")
    assert (spec.model, spec.weight) == (str(file), -0.5)
    assert find(parse_lora(str(file)).model).location == str(file)
    specs = read_control(f"canny={file}@0.7, depth={file}, pose=x@2@1")
    expected = [(str(file), 0.7), (str(file), 1.0), ("x@2", 1.0)]
    assert [(one.model, one.weight) for one in specs] == expected
    assert read_control(write_control(specs)) == specs
    for folder in ("", "a@"):
        assert moving("sd15", f"{folder}storybook/motion@0.5").startswith(folder)
    for text in ("a@5", "@1", "", "a@2@-9"):
        with pytest.raises(ModelError, match="^loras: Expected FILE@WEIGHT"):
            parse_lora(text)


def test_a_picture_may_lie_in_a_folder_with_an_at(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_files(tmp_path)
    file = (tmp_path / "toy.png").rename("toy@2x.png")
    request = with_region(name="dog", prompt="a toy")
    changed, _ = override(request, pictures=[str(file), f"dog={file}@0.5"])
    assert (changed.picture, changed.picture_scale) == (str(file), None)
    (region,) = changed.regions
    assert (Path(region.picture), region.picture_scale) == (file, 0.5)
    for text in ("", "@0.5", "=a.png", "dog="):
        with pytest.raises(RequestError, match="--picture: Expected NAME=FILE@SCALE"):
            override(request, pictures=[text])
