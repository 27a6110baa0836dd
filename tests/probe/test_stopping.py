import os
import signal

import pytest
from speedtrap_probe.stopping import Stop


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_both_signals_interrupt(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt), Stop():
        os.kill(os.getpid(), number)
    assert signal.getsignal(number) is before


def test_what_is_being_kept_is_kept_before_anything_stops() -> None:
    kept = []

    def keep() -> None:
        with Stop() as stop, stop.held():
            os.kill(os.getpid(), signal.SIGTERM)
            kept.append("the run")

    with pytest.raises(KeyboardInterrupt):
        keep()
    assert kept == ["the run"]


def test_without_a_signal_nothing_is_raised() -> None:
    with Stop() as stop, stop.held():
        pass
