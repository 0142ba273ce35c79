"""A scheduler replica: wires its parts together and decides nothing."""

from __future__ import annotations

import logging
import os
import socket
import threading
from functools import partial
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry

from scheduler.api.identity import client_id
from scheduler.api.server import ApiServer
from scheduler.archive.archive import Archive
from scheduler.broker.beginning import Beginning
from scheduler.broker.checks import wait_for_topics
from scheduler.broker.cluster import MARK_SECONDS, OWNER_SECONDS, Cluster
from scheduler.broker.collector import Collector
from scheduler.broker.courier import Courier
from scheduler.broker.deliveries import Deliveries
from scheduler.broker.feed import schedules
from scheduler.broker.gateway import Gateway
from scheduler.broker.memory import Memory
from scheduler.broker.observer import Observer, Observers
from scheduler.broker.owner import Owner
from scheduler.broker.publisher import Publisher
from scheduler.broker.restorers import Restorers
from scheduler.broker.roster import Roster
from scheduler.broker.skew import SkewMeter
from scheduler.broker.snapshots import Snapshots
from scheduler.broker.standby import Standby
from scheduler.broker.subscriber import Subscriber
from scheduler.broker.targets import Targets
from scheduler.broker.watch import TopicWatch
from scheduler.clock import Clock, SystemClock
from scheduler.engine.settlement import Place
from scheduler.engine.targets import TargetPolicy
from scheduler.metrics import PartitionCollector, SchedulerMetrics
from scheduler.runtime.descriptors import Descriptors
from scheduler.runtime.kafka import check_target, consumer_conf, courier_conf, transactional_conf
from scheduler.runtime.logs import fields
from scheduler.runtime.metrics import MetricsServer
from scheduler.runtime.watchdog import Watchdog
from scheduler.tracing import open_tracing

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fastapi import APIRouter
    from opentelemetry.trace import TracerProvider

    from scheduler.broker.followed import Followed
    from scheduler.broker.standing import Standing
    from scheduler.runtime.settings import Address, Settings
    from scheduler.schedule import Schedule

log = logging.getLogger("scheduler")


class Scheduler:
    """One replica. `start` returns at once; `close` hands over and returns when everything is stopped."""

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Clock | None = None,
        tracer_provider: TracerProvider | None = None,
        routers: Sequence[APIRouter] = (),
        anybody: bool = False,
    ) -> None:
        """Connect to nothing yet.

        Args:
            settings: `Settings.load()` reads them from the environment.
            clock: the machine's, unless a test knows better.
            tracer_provider: of a program that has OpenTelemetry already; it wins over `OTEL_TRACES_EXPORTER`, and
                remains the program's to shut down.
            routers: more routes of its API.
            anybody: whether other machines may change things through its API without a token.

        Raises:
            ConfigurationError: OpenTelemetry is asked for and not installed.
        """
        self._settings = settings
        self._clock = clock or SystemClock()
        self.registry = CollectorRegistry()
        self._metrics = SchedulerMetrics(self.registry)
        self._tracing = open_tracing(settings) if tracer_provider is None else None
        self._watchdog = Watchdog(self._clock, self._metrics.stuck.set)
        self._memory = Memory(self._clock)
        self._observer = self._observe(tracer_provider or self._tracing)
        self._client_id = f"scheduler-{socket.gethostname()}-{os.getpid()}"
        self._cluster = Cluster(settings, self._client_id)
        folder = settings.snapshot_dir
        self._snapshots = None if folder is None else Snapshots(folder, self._cluster, self._clock)
        self.policy = TargetPolicy(
            frozenset(settings.schedules_topics), settings.history_topic, frozenset(settings.allowed_targets)
        )
        check_target(settings)
        self._elsewhere = bool(settings.target_bootstrap_servers)
        self._target_cluster = Cluster(settings, self._client_id, elsewhere=self._elsewhere, creating=True)
        self._targets = Targets(self.policy, self._target_cluster, self._clock)
        self._skew = SkewMeter(self._cluster, settings.history_topic, self._clock, self._metrics.skew.set)
        self._watch = TopicWatch(self._cluster, settings.schedules_topics, self._clock, self._metrics.partitions_seen)
        self.kafka = Gateway(settings, self._cluster, self._client_id, self._clock)
        self.archive = Archive.of(settings, self._clock)
        self._consumer_conf = consumer_conf(settings, self._client_id, settings.group_id)
        self._subscriber = Subscriber(
            self._consumer_conf,
            settings.schedules_topics,
            self._make_owner,
            self._owner_in_group,
            self._others,
            self._rebalanced,
            self._assigned,
            self._released,
            Restorers(
                self._consumer_conf,
                settings.schedules_topics,
                self._cluster,
                self._clock,
                processes=settings.restore_processes,
                least=settings.restore_shared_from,
            ),
            self._clock,
            self._watchdog,
        )
        self.registry.register(PartitionCollector(self.standings, self.lags))
        self._stop = threading.Event()
        self._left = threading.Event()
        """Whether nothing fires here any more: from being told to stop until then, partitions are handed over."""
        self._roster = Roster(settings.schedules_topics, self._cluster, self._clock, self.owners)
        self._standby = self._follow() if settings.standby else None
        self._followed: dict[tuple[str, int], Followed] = {}
        """Of what is being assigned, as far as it was followed until now."""
        self._collector = Collector(self._consumer_conf, self._clock, self._left)
        # what is looked at does not hold up what is due
        self._onlooker = Collector(self._consumer_conf, self._clock, self._left)
        self._thread = threading.Thread(target=self._main, name="reader", daemon=True)
        self._routers, self._anybody = routers, anybody
        self._api: ApiServer | None = None
        self._metrics_server: MetricsServer | None = None
        self.failure: Exception | None = None
        """Why the replica ended by itself; None while it runs or was closed."""
        self.ended = threading.Event()

    @property
    def settings(self) -> Settings:
        """What it was made with."""
        return self._settings

    def start(self) -> None:
        """Listen, join the group and begin to fire.

        Raises:
            ConfigurationError: an address cannot be listened on, or a topic is missing.
        """
        if (address := self._settings.metrics_address) is not None:
            self._metrics_server = MetricsServer(self.registry, address)
        if (address := self._settings.server_address) is not None:
            self._api = ApiServer(self, address, self._routers, anybody=self._anybody)
            # the other replicas read there where to ask this one
            self._consumer_conf["client.id"] = client_id(self._api.advertised)
        self._thread.start()

    @property
    def clock(self) -> Clock:
        """Its clock."""
        return self._clock

    @property
    def client_id(self) -> str:
        """What it calls itself in the group."""
        return str(self._consumer_conf["client.id"])

    @property
    def member_id(self) -> str | None:
        """Its name in the group; None before it has joined."""
        return self._subscriber.member_id

    @property
    def api_address(self) -> Address | None:
        """Where its API is served; None while it is not."""
        return None if self._api is None else self._api.address

    @property
    def joined(self) -> bool:
        """Whether the group has told this replica which partitions it has."""
        return self._subscriber.joined

    def read_again(self, where: tuple[str, int], offsets: Sequence[int], seconds: float) -> list[Schedule]:
        """The schedules that stand at these offsets of a partition, as far as they are there and come in time."""
        return schedules(self._onlooker.read(*where, offsets, seconds))

    @property
    def stuck(self) -> list[str]:
        """Calls of Kafka's client that do not return; this replica does nothing more until they do."""
        return self._watchdog.stuck

    def standings(self) -> dict[tuple[str, int], Standing]:
        """Where each partition of this replica stands."""
        return {key: owner.standing for key, owner in self._subscriber.owners.items()}

    def owners(self) -> dict[tuple[str, int], Owner]:
        """The partitions of this replica."""
        return self._subscriber.owners

    def lags(self) -> dict[tuple[str, int], int]:
        """How many records stand in each partition of this replica and are not read yet, as last noted."""
        return self._subscriber.lags

    def close(self) -> None:
        """Finish what is under way, give the partitions back and stop; twice is once."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()
        if self._standby is not None:
            self._standby.join()
        self._left.set()
        if self._api is not None:
            self._api.close()
        if self._metrics_server is not None:
            self._metrics_server.close()
        self._collector.close()
        self._onlooker.close()
        if self._snapshots is not None:
            self._snapshots.close()
        self.archive.close()
        self.kafka.close()
        for cluster in (self._cluster, self._target_cluster):
            cluster.close()
        self._api = self._metrics_server = None
        if self._tracing is not None:
            self._tracing.shutdown()  # exports what it still has

    def _main(self) -> None:
        try:
            wait_for_topics(self._cluster, self._settings, self._clock, self._stop)
            if self._stop.is_set():
                return
            log.info(
                "started",
                extra=fields(group=self._settings.group_id, topics=",".join(self._settings.schedules_topics)),
            )
            watches = (
                (self._skew.run, "skew"),
                (self._watch.run, "watch"),
                (self._targets.watch, "targets"),
                (self._watchdog.run, "watchdog"),
                (Descriptors(self._clock).run, "descriptors"),
                (self._memory.run, "memory"),
            )
            for watch, name in watches:
                threading.Thread(target=watch, args=(self._left,), name=name, daemon=True).start()
            if self._standby is not None:
                self._standby.start()
            self._subscriber.run(self._stop)
        except Exception as error:  # noqa: BLE001 - handed to whoever waits for `ended`
            self.failure = error
        finally:
            self.ended.set()

    def _observe(self, tracer_provider: TracerProvider | None) -> Observer:
        if tracer_provider is None:
            return Observers(self._metrics, self._memory)
        from scheduler.broker.spans import FiringSpans  # noqa: PLC0415 - needs a library that is an extra

        return Observers(self._metrics, self._memory, FiringSpans(tracer_provider))

    def _owner_in_group(self, topic: str, partition: int) -> str | None:
        with self._watchdog.call("describe_consumer_groups", OWNER_SECONDS, topic=topic, partition=partition):
            return self._cluster.owner(self._settings.group_id, topic, partition)

    def _others(self, member_id: str | None) -> bool:
        """Whether the group has members beside that one."""
        with self._watchdog.call("describe_consumer_groups", OWNER_SECONDS):
            members = self._cluster.members(self._settings.group_id, OWNER_SECONDS)
        return any(each.member_id != member_id for each in members)

    def _rebalanced(self, event: str) -> None:
        self._metrics.rebalanced(event)
        self._watch.look()

    def _follow(self) -> Standby:
        return Standby(
            self._consumer_conf,
            self._roster,
            self._cluster,
            self._clock,
            self._watchdog,
            self._metrics.stands_by,
            self._memory.give_back,
            self._stop,
        )

    def _assigned(self, partitions: Sequence[tuple[str, int]]) -> None:
        self._followed = {} if self._standby is None else self._roster.take(partitions)
        if self._snapshots is not None:
            self._snapshots.look_at(partitions, known=self._followed)

    def _released(self, owners: Mapping[tuple[str, int], Owner]) -> None:
        if self._standby is not None:
            self._roster.release(owners)

    def _make_owner(self, topic: str, partition: int) -> Owner:
        settings = self._settings
        name = f"{settings.group_id}-{topic}-{partition}"
        place = Place(topic, partition, settings.history_topic, settings.dead_letter_topic)

        def is_ours() -> bool:
            return self._subscriber.is_ours(topic, partition)

        def is_taken() -> bool:
            return self._subscriber.is_taken(topic, partition)

        snapshots = self._snapshots
        followed = self._followed.pop((topic, partition), None)  # once: who takes over again reads the log
        if followed is not None:
            beginning = followed.beginning()
        else:
            beginning = Beginning() if snapshots is None else snapshots.begin(topic, partition)

        def high_watermark() -> int:
            nonlocal followed
            with self._watchdog.call("list_offsets", MARK_SECONDS, topic=topic, partition=partition):
                mark = self._cluster.high_watermark(topic, partition)
            if followed is not None:
                followed.prove(self._cluster, mark)
                followed = None
            return mark

        deliveries = Deliveries(
            place,
            self._targets,
            self._clock,
            self._observer,
            grace_ms=settings.target_grace,
            courier=Courier(courier_conf(settings, self._client_id), self._clock) if self._elsewhere else None,
            is_ours=is_ours,
            # nobody else has it before the group has missed our heartbeats for as long as a session
            proof_seconds=settings.session_timeout / 2000,
        )
        return Owner(
            place,
            Publisher(transactional_conf(settings, self._client_id, name), topic, self._clock, self._watchdog),
            deliveries,
            high_watermark,
            is_ours,
            is_taken,
            self._clock,
            self._observer,
            self._skew.committed,
            self._collector,
            since_delta=settings.since_delta,
            beginning=beginning,
            keep=None if snapshots is None else partial(snapshots.keep, topic, partition),
            keep_seconds=settings.snapshot_interval / 1000,
            leaves=self._standby is not None,
            prepares=settings.prepare_ahead,
        )
