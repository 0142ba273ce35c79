"""Files of what is pending, from which a replica that starts again goes on, where they are surely not too old.

One file for each partition. It is nothing but a shorter way to what the log says: whoever finds it damaged, of another
topic or too old reads the log from its beginning instead.
"""

from __future__ import annotations

import hashlib
import logging
import os
import socket
import stat
import threading
from contextlib import suppress
from dataclasses import dataclass
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, NamedTuple

from confluent_kafka import KafkaException

from scheduler.broker.beginning import Beginning, Start, too_old
from scheduler.engine.kept import Kept, KeptError, from_bytes, read_about, to_bytes
from scheduler.runtime.logs import fields

if TYPE_CHECKING:
    from collections.abc import Container, Sequence
    from pathlib import Path

    from scheduler.broker.cluster import Cluster, Extent, Identity
    from scheduler.clock import Clock

    Key = tuple[str, int]

MAGIC = b"kafka-scheduler snapshot 2\n"
AHEAD_MS = 60_000
"""How far the clock that it was written by may be ahead of ours."""
CLOSE_SECONDS = 20.0
"""For files that are still to be written at a stop; orchestrators kill after 30 s."""
UNFINISHED = ".new"
"""How the name of a file ends that is still written to."""
ABANDONED_MS = 3_600_000
"""After so long nobody writes to it any more."""
_DIGEST_BYTES = 32

log = logging.getLogger("scheduler.snapshots")


class SnapshotError(Exception):
    """A snapshot will not do; a sentence that says why."""


class _Written(NamedTuple):
    topic: Identity
    partition: int
    kept: Kept
    written_ms: int


@dataclass(frozen=True)
class About:
    """What a snapshot says of itself, beside what was pending."""

    topic: str
    topic_id: str
    partition: int
    written_ms: int
    compaction_lag_ms: int
    read_to: int

    def check(self, partition: int, topic: Identity, log_is: Extent, now_ms: int) -> None:
        """Whether to go on from it is the same as to read the log from its beginning.

        Raises:
            SnapshotError: it is not, or that is not sure.
        """
        if self.topic_id != topic.id:
            raise SnapshotError("the topic was deleted and made anew since")
        if (self.topic, self.partition) != (topic.name, partition):
            raise SnapshotError(f"it is of {self.topic}/{self.partition}")
        age_ms = now_ms - self.written_ms
        if age_ms < -AHEAD_MS:
            raise SnapshotError("it was written in the future: a clock is wrong")
        if (reason := too_old(age_ms, self.compaction_lag_ms, topic.compaction_lag_ms)) is not None:
            raise SnapshotError(reason)
        if not log_is.start <= self.read_to <= log_is.end:
            raise SnapshotError(f"it ends at {self.read_to}, and the log is from {log_is.start} to {log_is.end}")


class Snapshots:
    """Reads on the reader's thread, writes on one of its own.

    Args:
        folder: where the files are; it is made where there is none.
        cluster: knows topics and where their logs begin and end.
        clock: for the age.
    """

    def __init__(self, folder: Path, cluster: Cluster, clock: Clock) -> None:
        self._folder = folder
        self._cluster = cluster
        self._clock = clock
        self._found: dict[Key, tuple[Start, Kept | None]] = {}
        self._topics: dict[str, Identity] = {}
        """As they were when a partition was assigned, before anything of it was read."""
        self._to_write: SimpleQueue[_Written | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._main, name="snapshots", daemon=True)
        self._thread.start()

    # -- reading -------------------------------------------------------------------------------------

    def look_at(self, keys: Sequence[Key], known: Container[Key] = ()) -> None:
        """Read what there is for partitions that are about to be taken over; not of those that are known anyhow."""
        if self._cluster.embedded:
            return  # it knows no ids of topics, and is gone with its process
        for topic in {topic for topic, _ in keys}:
            self._topics.pop(topic, None)
            try:
                self._topics[topic] = self._cluster.identity(topic)
            except KafkaException as error:
                log.warning("no snapshots", extra=fields(topic=topic, detail=error.args[0].str()))
        for key in keys:
            if key not in known:
                self._found[key] = self._look_at(*key)

    def begin(self, topic: str, partition: int) -> Beginning:
        """What was found, once: who takes over a second time reads the log."""
        return Beginning(*self._found.pop((topic, partition), (Start.COLD, None)))

    def _look_at(self, topic: str, partition: int) -> tuple[Start, Kept | None]:
        try:
            data = self._read(topic, partition)
            if data is None:
                return Start.COLD, None
            about = _about(read_about(data))
            if topic not in self._topics:
                raise SnapshotError(
                    "Kafka does not say which topic it is, or how long its records are safe from compaction"
                )
            extent = self._cluster.extent(topic, partition)
            about.check(partition, self._topics[topic], extent, self._clock.now_ms())
            return Start.WARM, from_bytes(data)
        except (SnapshotError, KeptError) as error:
            reason = str(error)
        except OSError as error:
            reason = f"it cannot be read: {error.strerror}"
        except KafkaException as error:
            reason = f"Kafka does not say whether it is still good: {error.args[0].str()}"
        log.warning("snapshot rejected", extra=fields(topic=topic, partition=partition, detail=reason))
        return Start.REJECTED, None

    def _path(self, topic: str, partition: int) -> Path:
        return self._folder / f"{topic}-{partition}.snapshot"

    def _read(self, topic: str, partition: int) -> memoryview | None:
        try:
            # no link: whoever may write to the folder chooses no file of another's
            descriptor = os.open(self._path(topic, partition), os.O_RDONLY | os.O_NOFOLLOW)
        except FileNotFoundError:
            return None
        with os.fdopen(descriptor, "rb") as file:
            about = os.fstat(file.fileno())
            if about.st_mode & stat.S_IWOTH:
                raise SnapshotError("everybody may write to it")
            data = memoryview(file.read())
        if bytes(data[: len(MAGIC)]) != MAGIC:
            raise SnapshotError("it is no snapshot, or one of another version")
        digest, rest = data[len(MAGIC) : len(MAGIC) + _DIGEST_BYTES], data[len(MAGIC) + _DIGEST_BYTES :]
        if hashlib.sha256(rest).digest() != bytes(digest):
            raise SnapshotError("it is damaged: its checksum is another")
        return rest

    # -- writing -------------------------------------------------------------------------------------

    def keep(self, topic: str, partition: int, kept: Kept) -> None:
        """Have it written; returns at once."""
        identity = self._topics.get(topic)
        if identity is not None:
            self._to_write.put(_Written(identity, partition, kept, self._clock.now_ms()))

    def close(self) -> None:
        """Return when all is written."""
        self._to_write.put(None)
        self._thread.join(CLOSE_SECONDS)

    def _main(self) -> None:
        self._sweep()
        while (written := self._to_write.get()) is not None:
            where = fields(topic=written.topic.name, partition=written.partition)
            try:
                self._write(written)
            except (OSError, KeptError) as error:
                log.warning("snapshot not written", extra={**where, **fields(detail=str(error))})
            else:
                log.debug("snapshot written", extra=where)

    def _sweep(self) -> None:
        """Remove what replicas that were killed have left unfinished."""
        try:
            for left in self._folder.glob(f"*{UNFINISHED}"):
                if self._clock.now_ms() - left.stat().st_mtime * 1000 > ABANDONED_MS:
                    left.unlink()
        except FileNotFoundError:
            pass  # another replica has removed it
        except OSError as error:
            log.warning("unfinished snapshots not removed", extra=fields(folder=str(self._folder), detail=str(error)))

    def _write(self, written: _Written) -> None:
        topic = written.topic
        about = {
            "topic": topic.name,
            "topic_id": topic.id,
            "partition": written.partition,
            "written_ms": written.written_ms,
            "compaction_lag_ms": topic.compaction_lag_ms,
        }
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._path(topic.name, written.partition)
        # replicas may share the folder, and each has the same process id in its container
        temporary = path.with_suffix(f".{socket.gethostname()}-{os.getpid()}{UNFINISHED}")
        with suppress(FileNotFoundError):
            temporary.unlink()
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(MAGIC + bytes(_DIGEST_BYTES))
            digest = hashlib.sha256()
            for part in to_bytes(written.kept, about):
                digest.update(part)
                file.write(part)
            file.seek(len(MAGIC))
            file.write(digest.digest())
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(path)
        folder = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _about(head: dict[str, Any]) -> About:
    try:
        return About(**{name: head[name] for name in About.__annotations__})
    except KeyError as error:
        raise SnapshotError(f"it does not say its {error.args[0]}") from None
