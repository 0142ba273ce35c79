"""Signals of a long-running program: SIGTERM and SIGINT ask it to stop, and wake it."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType


class StopSignals:
    """Set by the first SIGTERM or SIGINT, or one of the signals given."""

    def __init__(self, *also: signal.Signals) -> None:
        self.stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT, *also):
            signal.signal(number, self._received)

    def _received(self, _number: int, _frame: FrameType | None) -> None:
        self.stop.set()
