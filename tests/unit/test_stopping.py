import os
import signal

import pytest

from vla_bench.bench.stopping import AT_ONCE, StopButton, answer_signals, handlers_kept


@pytest.fixture(autouse=True)
def handlers_of_before():
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, *AT_ONCE)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_ctrl_c_counts_and_the_third_interrupts():
    with StopButton() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.asked == 1
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.asked == 2
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize("number", AT_ONCE)
def test_a_batch_system_is_ctrl_c_twice_however_often_it_signals(number):
    before = signal.getsignal(number)
    with StopButton() as stop:
        for _ in range(5):
            os.kill(os.getpid(), number)
            assert stop.asked == 2
    assert signal.getsignal(number) is before


def test_what_nohup_ignores_stays_ignored():
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    answer_signals()
    with StopButton() as stop:
        os.kill(os.getpid(), signal.SIGHUP)
        assert stop.asked == 0
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


def test_outside_a_run_a_signal_interrupts_as_ctrl_c_does():
    signal.signal(signal.SIGINT, signal.default_int_handler)
    answer_signals()
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGTERM)


def test_handlers_are_kept_whatever_is_installed_meanwhile():
    with StopButton() as stop:
        with handlers_kept():
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.asked == 2
