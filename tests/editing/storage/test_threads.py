"""Work on several threads: each works alone, and within one nothing waits for others."""

import torch

from regrain.editing.storage.threads import each


def test_each_piece_of_work_is_done_by_one_thread_in_order_also_within_another():
    usual = torch.get_num_threads()

    def count(number):
        within = each(lambda more: (more, torch.get_num_threads()), range(number))
        return number, torch.get_num_threads(), within

    found = each(count, range(5))
    assert found == [(n, 1, [(more, 1) for more in range(n)]) for n in range(5)]
    assert torch.get_num_threads() == usual
