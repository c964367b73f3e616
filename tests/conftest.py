"""What holds for every test."""

from __future__ import annotations

import signal

# A shell that starts the tests in the background, or nohup, leaves signals ignored, which children inherit; tests of
# what signals do would then wait for what never comes.
for number, usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, usual)
