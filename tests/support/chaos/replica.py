"""`scheduler run` that takes orders while it runs: stop at a point of your next transaction, go by another clock.

Started as `python -m tests.support.chaos.replica` with `ORDERS=<file>`; at SIGUSR1 it reads the file, one JSON object:

    {"failpoint": "written", "action": "kill"}     the next transaction stops the process there: kill or freeze
    {"ahead_ms": -10000}                           from now on its clock is off by so much

With `MUTATION=<name>` it has a defect built in, which a run has to find: see tests/support/mutants.py.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from scheduler import service
from scheduler.cli import main
from tests.support.clocks import ShiftedClock
from tests.support.failing_replica import Failure, Point, fail
from tests.support.mutants import Mutation, install

if TYPE_CHECKING:
    from types import FrameType

SIGNALS = {"kill": signal.SIGKILL, "freeze": signal.SIGSTOP}


class Armed(Failure):
    """Stops the process at a point of one of the first transactions that begin once it is armed."""

    def __init__(self) -> None:
        super().__init__(f"{Point.BEGUN}:kill:0")
        self._armed = False

    def arm(self, point: Point, action: str) -> None:
        """From the next transaction on, until one has come there."""
        with self._lock:
            self.point, self._signal, self._over, self._armed = point, SIGNALS[action], False, True

    @property
    def lets_prepare(self) -> bool:
        """Until it is armed, and where it is to stop then."""
        return not self._armed or super().lets_prepare

    def begins(self) -> bool:
        """A transaction begins; tell whether it may be the one."""
        return self._armed


def take_orders(file: Path) -> None:
    """Obey what the file says, at each SIGUSR1."""
    failure, clock = Armed(), ShiftedClock()
    fail(failure)
    service.SystemClock = lambda: clock  # type: ignore[assignment,attr-defined]

    def obey(_number: int, _frame: FrameType | None) -> None:
        orders = json.loads(file.read_text(encoding="utf-8"))
        clock.ahead_ms = orders.get("ahead_ms", clock.ahead_ms)
        if point := orders.get("failpoint"):
            failure.arm(Point(point), orders["action"])

    signal.signal(signal.SIGUSR1, obey)


if __name__ == "__main__":
    if name := os.environ.get("MUTATION"):
        install(Mutation(name))
    take_orders(Path(os.environ["ORDERS"]))
    sys.argv = ["scheduler", "run"]
    main()
