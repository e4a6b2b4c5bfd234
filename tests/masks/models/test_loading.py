"""Networks that are built while another is loaded, in another thread."""

import threading
import time

from accelerate import init_empty_weights

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
