"""Work on several threads: each works alone, and within one nothing waits for others."""

import os
import signal
import time
from threading import Event

import pytest
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


def test_when_one_fails_all_that_have_begun_have_ended(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    second = Event()
    begun, ended = [], []

    def work(number):
        if number == 0:
            assert second.wait(60)
            raise KeyError(number)
        begun.append(number)
        second.set()
        time.sleep(0.1)
        ended.append(number)

    with pytest.raises(KeyError):
        each(work, range(99))
    assert {*begun} == {*ended}
    assert len(ended) < 10
