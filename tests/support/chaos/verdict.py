"""What stands in Kafka at the end of a run, brought before the judge."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scheduler.audit import journal
from scheduler.audit.installation import Case, Source, gather
from scheduler.audit.judge import judge
from tests.support.chaos.cluster import clock

if TYPE_CHECKING:
    from pathlib import Path

    from scheduler.audit.recorder import Recorder
    from scheduler.audit.verdict import Verdict
    from tests.support.chaos.cluster import Cluster


def judged(cluster: Cluster, written: Path, recorder: Recorder) -> Verdict:
    """Read every topic to its end, when nobody writes any more, and have it judged."""
    names = cluster.names
    source = Source(
        {"bootstrap.servers": cluster.bootstrap_servers, "log_level": 0},
        [names.schedules],
        names.history,
        names.dead_letters,
        names.targets,
    )
    return judge(gather(source, clock, Case(journal.read(written)), recorder=recorder))
