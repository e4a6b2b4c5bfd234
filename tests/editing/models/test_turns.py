"""Parts of a model that share a device with too little memory for all of them."""

from functools import partial

import pytest
import torch
from made_clips import noise
from made_models import loaded, write_small_model, write_wan

ORDER = ("text_encoder", "text_encoder_2", "vae", "unet")
ORDER += ("transformer", "transformer_2")


WRITE = {
    "sdxl": partial(write_small_model, sdxl=True),
    "wan": write_wan,
    "two experts": partial(write_wan, experts=True),
}


@pytest.mark.parametrize("write", WRITE.values(), ids=WRITE)
def test_one_part_is_on_the_device_at_a_time_and_it_is_the_one_in_use(
    write, tmp_path, monkeypatch
):
    model = loaded(write(tmp_path / "model"))
    first, *_, last = model.schedule.sampling(4)
    frames = noise(5, 32, 32, 3)
    alone = model.predict(model.encode(frames), last, model.embed(["a cat"]))
    model.takes_turns = True
    # A device of another name than the parts' home; all is computed on the CPU.
    model.device = torch.device("cpu", 0)
    there = set()
    came = []
    used = set()

    def moved(name, part, device):
        if str(device) == "cpu":
            there.discard(name)
        else:
            there.add(name)
            came.append(name)
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
    latents = model.encode(frames)
    model.halves_fit(len(latents), *latents.shape[2:])
    for step in (first, first, last, last):  # of two experts, one after the other
        found = model.predict(latents, step, text)
    model.decode(found[0])
    assert all(map(torch.equal, found, alone))
    assert used == set(model.parts)
    assert came == [*(part for part in ORDER if part in model.parts), "vae"]
