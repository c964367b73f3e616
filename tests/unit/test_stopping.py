import os
import signal
import subprocess
import sys

import pytest

from vla_bench.bench.stopping import (
    AT_ONCE,
    INTERRUPTION,
    StopButton,
    answer_signals,
    handlers_kept,
    interrupting,
    leave,
)


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


IN_THE_MIDDLE = """
import os, signal, sys
from vla_bench.bench.stopping import answer_signals
answer_signals()
print("planned so far")
try:
    os.kill(os.getpid(), int(sys.argv[1]))
    sum(range(100))
except BaseException:  # as libraries do that put things away and go on
    pass
print("went on")
"""


@pytest.mark.parametrize("number", [signal.SIGINT, *AT_ONCE])
def test_before_a_run_a_signal_ends_the_program_whatever_it_is_in_the_middle_of(number):
    command = [sys.executable, "-c", IN_THE_MIDDLE, str(int(number))]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "planned so far\n", f"{INTERRUPTION}\n")


AT_THE_END = """
import os, signal, sys
from vla_bench.bench.stopping import answer_signals
class Last:
    def __del__(self, kill=os.kill, me=os.getpid()):
        kill(me, 15)
answer_signals()
sys.last = Last()
sys.exit(3)
"""


def test_a_signal_while_python_ends_does_not_change_the_exit_code():
    assert subprocess.run([sys.executable, "-c", AT_THE_END]).returncode == 3


def test_where_there_is_something_to_put_away_it_interrupts():
    answer_signals()
    for number in (signal.SIGINT, *AT_ONCE):
        with interrupting(), pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
    assert signal.getsignal(signal.SIGTERM) is leave


def test_of_two_buttons_both_know():
    with StopButton() as outer:
        with StopButton() as inner:
            os.kill(os.getpid(), signal.SIGTERM)
        inner.pass_on()  # the outer one has it
        assert outer.asked == inner.asked == 2
        with StopButton() as later:
            assert later.asked == 2


def test_a_stop_that_came_too_late_is_passed_on():
    with StopButton() as stop:
        os.kill(os.getpid(), signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        stop.pass_on()
    with StopButton() as unpressed:
        pass
    unpressed.pass_on()


def test_handlers_are_kept_whatever_is_installed_meanwhile():
    with StopButton() as stop:
        with handlers_kept():
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.asked == 2
