"""Work on several threads: each works alone, and within one nothing waits for others."""

import os
import signal

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


def test_a_forked_process_has_threads_of_its_own():
    assert each(str, [0]) == ["0"]
    child = os.fork()
    if not child:
        signal.alarm(20)
        os._exit(each(int, ["7"])[0])
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
