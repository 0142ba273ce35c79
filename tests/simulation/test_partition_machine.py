"""The pure core among crashes, zombies, races and compaction: nothing lost, doubled or early."""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from tests.support.model import World

KEYS = st.sampled_from([b"a", b"b", b"c"])
DELAYS = st.sampled_from([-5000, 0, 1, 50, 1000, 30_000])


class PartitionMachine(RuleBasedStateMachine):
    """Any order of what clients, replicas and the broker can do; the judge comes at the end."""

    @initialize()
    def begin(self) -> None:
        self.world = World()

    @rule(key=KEYS, delay_ms=DELAYS, hold=st.booleans())
    def client_schedules(self, key: bytes, delay_ms: int, hold: bool) -> None:
        self.world.schedule(key, delay_ms, hold=hold)

    @rule(key=KEYS, delay_ms=DELAYS)
    def client_schedules_recurring(self, key: bytes, delay_ms: int) -> None:
        self.world.schedule(key, delay_ms, every="7s")

    @rule(key=KEYS, hold=st.booleans())
    def client_cancels(self, key: bytes, hold: bool) -> None:
        self.world.cancel(key, hold=hold)

    @rule(key=KEYS)
    def client_writes_nonsense(self, key: bytes) -> None:
        self.world.malformed(key)

    @rule(commit=st.booleans())
    def client_ends_its_transaction(self, commit: bool) -> None:
        self.world.decide_held(commit=commit)

    @rule(ms=st.sampled_from([1, 40, 1000, 10_000, 700_000]))
    def time_passes(self, ms: int) -> None:
        self.world.advance(ms)

    @rule()
    def broker_compacts(self) -> None:
        self.world.compact()

    @precondition(lambda self: len(self.world.replicas) < 8)
    @rule()
    def another_takes_over(self) -> None:
        self.world.take_over()

    @rule(back=st.integers(0, 2), limit=st.sampled_from([1, 3, 1000]))
    def replica_reads(self, back: int, limit: int) -> None:
        self.world.replica(back).read(limit)

    @rule(back=st.integers(0, 2), limit=st.sampled_from([1, 2, 100]))
    def replica_begins(self, back: int, limit: int) -> None:
        self.world.replica(back).begin(limit)

    @rule(back=st.integers(0, 2))
    def replica_commits(self, back: int) -> None:
        self.world.replica(back).commit()

    @rule(took_effect=st.booleans())
    def commit_has_no_answer(self, took_effect: bool) -> None:
        self.world.owner.commit_without_answer(took_effect=took_effect)

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.world.settle()
            self.world.judge()


TestPartitionMachine = PartitionMachine.TestCase
TestPartitionMachine.settings = settings(
    max_examples=300, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
