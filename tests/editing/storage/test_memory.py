"""The rule by which a run is cut into pieces."""

import subprocess
import sys
import weakref
from pathlib import Path

import psutil
import pytest
import torch
from json_files import read_json
from torch.utils._python_dispatch import TorchDispatchMode

from regrain.editing.errors import ResourceError
from regrain.editing.models.unet.sdxl import StableDiffusionXL
from regrain.editing.models.unet.stable_diffusion import StableDiffusion
from regrain.editing.storage import memory
from regrain.editing.storage.local_models import ASSETS

GIB = 1 << 30


TABLES = read_json(Path(__file__).with_name("memory.json"))
"""By GiB, frames that an autoencoder takes; by device and GiB, types of weights; and by
device and frames, GiB that are needed."""


@pytest.mark.parametrize(("gib", "frames"), TABLES["frames at once"])
def test_the_autoencoder_takes_fewer_frames(gib, frames):
    assert memory.frames_at_once(512, 512, gib * GIB) == frames


@pytest.mark.parametrize(("device", "gib", "dtype"), TABLES["types"])
def test_weights_are_halved_only_where_they_must(device, gib, dtype):
    sd15 = 983_000_000
    found = memory.weights_dtype(torch.device(device), sd15, gib * GIB)
    assert str(found) == f"torch.{dtype}"


def test_parts_take_turns_on_a_device_they_do_not_share():
    cuda = torch.device("cuda")
    sd15 = {"unet": 1720 << 20, "vae": 320 << 20, "text_encoder": 240 << 20}
    both = 2 * sum(sd15.values())
    for free, turns in ((both, False), (both - 1, True), (sd15["unet"], True)):
        assert memory.takes_turns(cuda, sd15, free) == turns
    assert not memory.takes_turns(torch.device("cpu"), sd15, 1)
    said = r"^model: Its unet needs 1.7 GiB, but cuda has 1.6 GiB free. "
    with pytest.raises(ResourceError, match=said):
        memory.check_fits("unet", sd15["unet"], cuda, 1640 << 20)


def test_a_part_of_more_than_half_of_a_device_is_brought_there_in_blocks():
    for kind, expected in (
        ("cuda", True),
        ("xpu", True),
        ("mps", False),
        ("cpu", False),
    ):
        assert memory.streams(torch.device(kind), 51, 100) == expected
        assert not memory.streams(torch.device(kind), 50, 100)


def test_a_video_models_autoencoder_takes_tiles_by_four_fifths_of_what_is_free():
    needed = 480 * 832 * 22 * 1024
    assert memory.decodes_whole(480, 832, needed * 10 // 8 + 1)
    assert not memory.decodes_whole(480, 832, needed * 10 // 8 - 1)


def test_both_halves_of_guidance_fit_into_eight_times_their_widest_tensor():
    wide = 2 * 16 * 4096 * 320 * 8 * 2  # float16, the gated layer of the finest level
    for free, fit in ((8 * wide, True), (8 * wide - 1, False)):
        assert memory.fits(memory.call_bytes(32, 4096, 320, 2), free) == fit


@pytest.mark.full(but="sd1-StableDiffusion")
@pytest.mark.parametrize(
    ("version", "kind"), [("sd1", StableDiffusion), ("sdxl", StableDiffusionXL)]
)
def test_what_calls_are_said_to_take_holds_for_published_sizes(version, kind):
    """Bytes alive at once, and kept for a backward pass; of published UNets, without
    weights or computing."""
    from diffusers import UNet2DConditionModel
    from torch._subclasses.fake_tensor import FakeTensorMode

    config = read_json(ASSETS / "checkpoints" / version / "unet" / "config.json")
    kept = {}
    keep = lambda x: (  # noqa: E731
        kept.update({x.untyped_storage()._cdata: x.untyped_storage().nbytes()}) or x
    )
    with FakeTensorMode(allow_non_fake_inputs=True):
        unet = UNet2DConditionModel.from_config(config)
        told = {"text_embeds": torch.zeros(2, 1280), "time_ids": torch.zeros(2, 6)}
        text = torch.zeros(2, 77, unet.config.cross_attention_dim)
        with torch.no_grad(), Alive(unet) as alive:
            unet(torch.zeros(2, 4, 64, 64), 5, text, added_cond_kwargs=told)
        own = {parameter.untyped_storage()._cdata for parameter in unet.parameters()}
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
            answer = unet(
                torch.zeros(2, 4, 64, 64, requires_grad=True),
                5,
                text,
                added_cond_kwargs=told,
            )
        saved = sum(count for key, count in kept.items() if key not in own)
        assert answer.sample.requires_grad
        wide = unet.config.block_out_channels[version == "sdxl"]
        least = 1 if version == "sd1" else 4
    rule = memory.call_bytes(2, 64 * 64, wide // least, 4)
    assert 0.8 * rule < alive.peak < rule
    assert (
        0.75 < saved / (2 * 64 * 64 * wide // least * 4 * kind._KEPT) < 0.85
    )  # tuning keeps a tenth more


class Alive(TorchDispatchMode):
    """Counts the bytes of tensors that are alive, without those of a model."""

    def __init__(self, model):
        super().__init__()
        storages = [weight.untyped_storage() for weight in model.parameters()]
        self.known = {storage._cdata for storage in storages}
        self.now = self.peak = 0

    def __torch_dispatch__(self, function, _, args=(), kwargs=None):
        found = function(*args, **(kwargs or {}))
        for tensor in found if isinstance(found, tuple | list) else [found]:
            if isinstance(tensor, torch.Tensor):
                self.note(tensor.untyped_storage())
        return found

    def note(self, storage):
        if storage._cdata not in self.known:
            self.known.add(storage._cdata)
            self.now += storage.nbytes()
            self.peak = max(self.peak, self.now)
            weakref.finalize(storage, self.forget, storage._cdata, storage.nbytes())

    def forget(self, key, count):
        self.known.discard(key)
        self.now -= count


def test_weights_are_counted(tiny, tiny_folder):
    for part in (tiny_folder / "unet", tiny_folder / "vae"):
        weights = getattr(tiny, part.name).parameters()
        expected = sum(weight.numel() for weight in weights)
        (file,) = part.glob("*.safetensors")
        assert memory.count_weights(part) == memory.count_weights(file) == expected
    assert memory.count_weights(ASSETS / "storybook") > 1_000_000


def test_the_peak_of_a_cpu_is_that_of_the_process():
    cpu = torch.device("cpu")
    memory.reset_peak(cpu)
    resident = psutil.Process().memory_info().rss
    assert 1 << 20 < memory.free_memory() < 1 << 50
    # The kernel adds up pages of each processor late.
    most = memory.free_memory() + 2 * resident
    assert resident - 2**22 <= memory.peak_memory(cpu) < most


def test_the_peak_is_of_the_runs_own_device_and_counted_from_its_reset(monkeypatch):
    peaks = {"cuda:0": 5, "cuda:1": 7}
    monkeypatch.setattr(
        "torch.cuda.max_memory_allocated", lambda device="cuda:0": peaks[str(device)]
    )
    forget = lambda device="cuda:0": peaks.update({str(device): 0})  # noqa: E731
    monkeypatch.setattr("torch.cuda.reset_peak_memory_stats", forget)
    second = torch.device("cuda:1")
    assert memory.peak_memory(second) == 7
    memory.reset_peak(second)
    assert peaks == {"cuda:0": 5, "cuda:1": 0}


THREADS = """
import threading
def run(work):
    threads = [threading.Thread(target=work) for _ in range(8)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
"""
RETURNED = """
from pathlib import Path
from regrain.editing.storage.memory import return_freed
pages = lambda: int(Path("/proc/self/statm").read_text().split()[1])
kept = []
def work():
    pieces = [bytearray(50_000) for _ in range(400)]
    kept.append(pieces[-1])
run(work)
before = pages()
return_freed()
print(before - pages())
"""
SHARED = """
import ctypes
from regrain.editing.storage.memory import share_arenas
share_arenas()
c = ctypes.CDLL(None)
meet = threading.Barrier(8)
def work():
    piece = bytearray(50_000)
    meet.wait()
run(work)
c.malloc_info(0, ctypes.c_void_p.in_dll(c, "stdout"))
c.fflush(None)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the C library decides")
@pytest.mark.parametrize(
    ("script", "least", "most"), [(RETURNED, 1001, 1 << 20), (SHARED, 1, 2)]
)
def test_what_threads_have_freed_is_returned_and_arenas_are_shared(script, least, most):
    """In a process of its own: pieces too small to be mapped, freed but for the last of
    each thread."""
    run = subprocess.run(
        [sys.executable, "-c", THREADS + script],
        capture_output=True,
        text=True,
        check=True,
    )
    assert least <= (run.stdout.count("<heap nr=") or int(run.stdout)) <= most


@pytest.mark.parametrize(("device", "frames", "free", "gib", "said"), TABLES["needed"])
def test_what_a_run_needs_is_by_what_is_free(
    device, frames, free, gib, said, monkeypatch
):
    """On a graphics card what reads the prompts takes turns with the rest, and what is
    more than half of it comes block by block."""
    need = memory.Need("a family", 480, 3.0, 0.5, blocks=1.0, reader=10.0)
    monkeypatch.setattr(memory, "choose_device", lambda: torch.device(device))
    monkeypatch.setattr(memory, "free_memory", lambda _: free * 2**30)
    assert need.memory(frames) / 2**30 == pytest.approx(gib)
    assert need.fits() == said


def test_a_frame_of_a_family_takes_memory_by_its_pixels():
    """The tables of other sides say nearly the same."""
    for known in memory.NEEDS:
        need = memory.need_of(f"{known.family} for inpainting", known.side)
        assert (need.family, need.side) == (known.family, known.side)
        assert need.weights == known.weights
        assert need.per_frame == pytest.approx(known.per_frame, rel=0.05)
    assert memory.need_of("SDXL").side == 768
    assert memory.need_of("another") is None
