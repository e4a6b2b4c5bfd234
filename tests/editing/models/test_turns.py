"""Parts of a model that share a device with too little memory for all of them."""

from functools import partial

import pytest
import torch
from made_clips import noise
from made_models import loaded, write_small_model, write_wan


@pytest.mark.parametrize(
    "write", [partial(write_small_model, sdxl=True), write_wan], ids=["sdxl", "wan"]
)
def test_one_part_is_on_the_device_at_a_time_and_it_is_the_one_in_use(
    write, tmp_path, monkeypatch
):
    model = loaded(write(tmp_path / "model"))
    model.takes_turns = True
    # A device of another name than the parts' home; all is computed on the CPU.
    model.device = torch.device("cpu", 0)
    there = set()
    used = set()

    def moved(name, part, device):
        (there.discard if str(device) == "cpu" else there.add)(name)
        assert len(there) <= 1
        return part

    def runs(name, *_):
        used.add(name)
        assert there == {name}

    for name, part in model.parts.items():
        monkeypatch.setattr(part, "to", partial(moved, name, part))
        for layer in part.modules():
            layer.register_forward_pre_hook(partial(runs, name))
    text = model.embed(["a cat"])
    latents = model.encode(noise(5, 32, 32, 3))
    x0, _ = model.predict(latents, model.schedule.sampling(4)[0], text)
    model.decode(x0)
    assert used == set(model.parts)
