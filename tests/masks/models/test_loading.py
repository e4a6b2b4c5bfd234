"""Networks in several threads: one is built while another is loaded, and a small one is
asked in a thread of its own."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from accelerate import init_empty_weights

from regrain.editing.storage import threads
from regrain.editing.storage.safetensors_files import LOADING
from regrain.masks.models import sam


def test_a_network_is_built_whole_while_another_is_loaded():
    begun = threading.Event()
    sam.load_sam()  # which imports what it takes

    def load_another():
        # as diffusers does: for all threads, layers that are made have no weights
        with LOADING, init_empty_weights():
            begun.set()
            time.sleep(0.5)

    thread = threading.Thread(target=load_another)
    thread.start()
    begun.wait()
    sam._load.cache_clear()
    network = sam.load_sam()
    thread.join()
    assert not any(weight.is_meta for weight in network.parameters())


def test_the_built_in_sam_is_asked_in_one_thread_and_others_are_as_many(monkeypatch):
    seen = []
    monkeypatch.setattr(sam, "_logits", lambda *_: seen.append(torch.get_num_threads()))
    usual = torch.get_num_threads()
    torch.set_num_threads(3)
    threads.alone.cache_clear()
    try:
        sam.logits(None, np.zeros((1, 2)))
        with ThreadPoolExecutor(1) as later:
            seen.append(later.submit(torch.get_num_threads).result())
        assert [*seen, torch.get_num_threads()] == [1, 3, 3]
    finally:
        torch.set_num_threads(usual)
