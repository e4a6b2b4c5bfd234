"""Networks that are brought to a device block by block: what is there at a time, and
after calls that end well, fail, or are given up."""

import re
from collections import OrderedDict

import pytest
import torch
from made_models import loaded, randn, write_wan
from simulated_device import SimulatedDevice

from regrain.editing.attention.layers import plain
from regrain.editing.errors import ResourceError
from regrain.editing.models import turns
from regrain.editing.models.intervention import Intervention
from regrain.editing.models.loading import load
from regrain.editing.models.streaming import Streamed, placed
from regrain.editing.models.wan import load as wan_load, text
from regrain.editing.storage.memory import bytes_of


@pytest.fixture(autouse=True)
def _alone(own_cache, monkeypatch):
    monkeypatch.setattr(load, "_loaded", OrderedDict())


@pytest.fixture
def folder(tmp_path):
    """A VACE, written where the device is not yet."""
    return write_wan(tmp_path / "vace", vace=True)


@pytest.fixture
def device(folder):
    with SimulatedDevice("cuda").at() as device:
        yield device


@pytest.fixture
def vace(folder, device, monkeypatch):
    """A VACE on a device, in blocks."""
    monkeypatch.setattr(turns, "streams", lambda *_: True)
    monkeypatch.setattr(wan_load, "takes_turns", lambda *_: True)
    return loaded(folder)


def on_device(network):
    """The names of blocks of which anything is on the device, and of what else is."""
    found = set()
    for name, x in network.state_dict(keep_vars=True).items():
        if x.device.type == "cuda":
            inside = re.match(r"\w*blocks\.\d+", name)
            found.add(inside[0] if inside else "")
    return found


def ask(model, attend=None, context=True):
    context = randn(3, 96, 4, 6, seed=2) if context else None
    step = model.schedule.sampling(25)[7]
    x = randn(3, 16, 4, 6)
    return model.predict(
        x, step, model.embed(["a cat"]), Intervention(attend, context=context)
    )


def test_two_blocks_are_there_at_most_and_the_one_that_runs_is(vace):
    seen = []

    def attend(q, k, v, site):
        there = on_device(vace.transformer)
        assert {"", site.block} <= there
        assert len(there) <= 2  # the next one is on its way, but not in its place
        seen.append(site.block)
        return plain(q, k, v, site)

    ask(vace, attend)
    blocks = len(vace.transformer.blocks) + len(vace.transformer.vace_blocks)
    assert len({*seen}) == blocks
    assert not on_device(vace.transformer)


def test_the_order_of_blocks_is_learnt_from_a_call(vace, monkeypatch):
    """Control blocks run first though they are named last; without them, others do."""
    brought = []
    bring = Streamed._bring

    def noted(streamed, block):
        brought.append(block)
        bring(streamed, block)

    monkeypatch.setattr(Streamed, "_bring", noted)
    network = vace.transformer
    order = [*network.vace_blocks, *network.blocks]
    ask(vace)
    brought.clear()
    ask(vace)
    assert brought == order
    ask(vace, context=False)
    brought.clear()
    ask(vace, context=False)
    assert brought == [*network.blocks]


class Given(Exception):
    """What goes wrong."""


def test_memory_that_cannot_be_pinned_is_used_as_it_is(folder, device, monkeypatch):
    def refused(tensor):
        raise RuntimeError("CUDA error: out of memory")

    monkeypatch.setattr(torch.Tensor, "pin_memory", refused)
    monkeypatch.setattr(turns, "streams", lambda *_: True)
    monkeypatch.setattr(wan_load, "takes_turns", lambda *_: True)
    assert ask(loaded(folder))[0].isfinite().all()


@pytest.mark.parametrize("wrong", [Given, KeyboardInterrupt, RuntimeError])
def test_nothing_is_left_there_after_a_call_that_fails(vace, wrong, monkeypatch):
    expected = ask(vace)
    left = 6

    def attend(q, k, v, site):
        nonlocal left
        left -= 1
        if not left:
            raise wrong
        return plain(q, k, v, site)

    with pytest.raises(wrong):
        ask(vace, attend)
    assert not on_device(vace.transformer)
    for block in vace.transformer.blocks:
        assert not block._forward_hooks
        assert not block._forward_pre_hooks
    assert all(map(torch.equal, ask(vace), expected))


def test_nothing_is_left_there_if_the_device_itself_fails(vace, monkeypatch):
    def failed(streamed):
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(Streamed, "_forget", failed)
    with pytest.raises(RuntimeError, match="illegal memory access"):
        ask(vace)
    assert not on_device(vace.transformer)


def test_what_needs_gradients_is_refused(vace):
    with (
        torch.enable_grad(),
        pytest.raises(ResourceError) as caught,
        vace._turn(vace.transformer),
    ):
        pass
    assert str(caught.value).startswith("model: The model is too large to be tuned on")


def test_one_of_which_two_blocks_do_not_fit_is_refused(tmp_path):
    folder = write_wan(tmp_path / "wan", num_layers=12)
    model = loaded(folder, dtype=torch.float32)
    size = bytes_of(model.parts)["transformer"]
    load._loaded.clear()
    refused = pytest.raises(ResourceError, match="model: Its .* needs .* cuda has")
    with SimulatedDevice("cuda", memory=size // 8).at(), refused:
        loaded(folder, dtype=torch.float32)
    with SimulatedDevice("cuda", memory=size).at():
        found = loaded(folder, dtype=torch.float32)
        streamed = found._streamed[found.transformer]
        assert streamed.blocks < streamed.least < size / 2
        assert found._free(found.transformer) == size - streamed.blocks
        note = next(one for one in found.notes if "transformer" in one)
        assert note.startswith("Its transformer is brought to cuda block by block: its")
        assert "Main memory" not in note


def test_what_main_memory_does_not_hold_stays_on_disk(folder, device, monkeypatch):
    monkeypatch.setattr(turns, "streams", lambda *_: True)
    monkeypatch.setattr(wan_load, "takes_turns", lambda *_: True)
    expected = ask(loaded(folder))
    load._loaded.clear()
    free = turns.free_memory
    monkeypatch.setattr(
        turns, "free_memory", lambda *given: free(*given) if given else 0
    )
    pinned = []
    monkeypatch.setattr(torch.Tensor, "pin_memory", pinned.append)
    model = loaded(folder)
    assert not pinned
    assert all(map(torch.equal, ask(model), expected))
    assert "it is read from disk in every step" in model.notes[0]
    assert not on_device(model.transformer)


def test_prompts_are_read_block_by_block_where_their_reader_is_large(
    folder, device, monkeypatch
):
    model = loaded(folder)
    expected = model.embed(["a cat"]).vectors.cpu()
    read = []

    def noted(network, device):
        read.append(network)
        return placed(network, device)

    monkeypatch.setattr(text, "placed", noted)
    monkeypatch.setattr("regrain.editing.models.streaming.streams", lambda *_: True)
    monkeypatch.setattr(text.cache, "load", lambda key: None)
    found = model.embed(["a cat", "a dog"]).vectors.cpu()
    assert torch.equal(found[:1], expected)
    assert read
    assert all(x.device.type == "cpu" for x in read[0].state_dict().values())
