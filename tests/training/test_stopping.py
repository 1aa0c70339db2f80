"""Ctrl-C and SIGTERM: noted once, obeyed at once the second time, and the user's own handlers put back."""

import os
import signal
import threading

import pytest

from hardy.training.stopping import stops_on_request


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_is_noted_and_the_second_ends_at_once(number):
    with stops_on_request() as asked:
        assert asked.signal is None
        os.kill(os.getpid(), number)
        assert asked.signal == number
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_handlers_are_put_back_whatever_happens_inside():
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(ZeroDivisionError), stops_on_request():
        1 / 0  # noqa: B018
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_in_another_thread_nothing_is_noted_and_nothing_fails():
    seen = []

    def work():
        with stops_on_request() as asked:
            seen.append(asked.signal)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [None]
