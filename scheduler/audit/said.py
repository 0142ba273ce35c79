"""What a message or a line of the history says of an occurrence, and how that differs from what was written."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from scheduler.audit import contract
from scheduler.audit.contract import EPOCH, FIRE_ID, KEY, LATENESS, OUTCOME, REASON, TIMESTAMP, TOPIC

if TYPE_CHECKING:
    from collections.abc import Collection

    from scheduler.audit.contract import Version
    from scheduler.audit.records import Header, Record


class Said(NamedTuple):
    """A message at a target, or a record of the history or of the dead letters."""

    record: Record
    key: bytes
    due_ms: int | None
    """The occurrence; None where it does not say, as of a refusal."""
    outcome: bytes | None
    """None: a message."""
    customers: tuple[Header, ...]
    version_s: bytes | None
    """When its schedule's record was stamped: whole seconds."""
    partial: bool = False
    """The history could not take all of it: without payload, or with nothing but the outcome."""
    bare: bool = False

    def tells_of(self, version: Version) -> bool:
        """Whether payload, customer's headers and the time of writing are those of the version."""
        return self.quotes(version) and (self.bare or self.version_s == version.written_s)

    def quotes(self, version: Version) -> bool:
        """Whether payload and customer's headers are those of the version."""
        if self.bare:
            return True
        payload = self.partial or self.record.value_sha256 == self._payload(version)
        return payload and self.customers == version.customers

    def agrees_with(self, told: Said) -> bool:
        """Whether a message is that of which a line of the history tells."""
        if told.bare:
            return True
        payload = told.partial or self.record.value_sha256 in (told.record.value_sha256, None)
        return payload and (self.customers, self.version_s) == (told.customers, told.version_s)

    def _payload(self, version: Version) -> bytes | None:
        return None if self.outcome is None and version.delivers_null else version.record.value_sha256


def message(record: Record, dues: Collection[int]) -> Said:
    """Read a message; `dues` are the occurrences that its schedule is known to have."""
    key = record.stated(KEY) or b""
    return Said(
        record, key, _due_ms(record, key, dues), None, contract.customers_headers(record), record.stated(TIMESTAMP)
    )


def told(record: Record) -> Said:
    """Read a record of the history."""
    key = record.key or b""
    outcome = record.stated(OUTCOME) or b""
    partial = record.value_sha256 is None and record.stated(REASON) is not None
    bare = partial and record.stated(TOPIC) is None
    due_ms = None if outcome == contract.REJECTED else _due_ms(record, key, ())
    seconds = record.stated(TIMESTAMP)
    return Said(record, key, due_ms, outcome, contract.customers_headers(record), seconds, partial, bare)


def _due_ms(record: Record, key: bytes, dues: Collection[int]) -> int | None:
    """The occurrence by the fire id; by the epoch where that one is known and the other is not."""
    by_id, by_epoch = contract.fire_id_ms(key, record.stated(FIRE_ID)), contract.epoch_ms(record.stated(EPOCH))
    if by_id is None or (by_id not in dues and by_epoch in dues):
        return by_epoch
    return by_id


def differences(said: Said, version: Version | None, due_ms: int) -> list[str]:
    """What of a message or of a line of the history is not as it was written, or not as the contract has it."""
    record = said.record
    wrong: list[str] = []
    if said.bare:
        return wrong
    fire_id = f"{said.key.decode(errors='backslashreplace')}@{due_ms}".encode()
    if record.stated(FIRE_ID) != fire_id:
        wrong.append(f"{FIRE_ID} {record.stated(FIRE_ID)!r}, not {fire_id!r}")
    if contract.epoch_ms(record.stated(EPOCH)) != due_ms:
        wrong.append(f"{EPOCH} {record.stated(EPOCH)!r}, due {due_ms}")
    if said.outcome is None:
        unknown = {name for name, _ in record.headers or () if name.startswith(contract.OWN)} - contract.OF_A_MESSAGE
        if unknown:
            wrong.append(f"headers {sorted(unknown)}")
    elif not (record.stated(LATENESS) or b"").isdigit():
        wrong.append(f"{LATENESS} {record.stated(LATENESS)!r}")
    return wrong if version is None else wrong + _not_as_written(said, version)


def _not_as_written(said: Said, version: Version) -> list[str]:
    record, wrong = said.record, []
    payload = None if said.outcome is None and version.delivers_null else version.record.value_sha256
    if not said.partial and record.value_sha256 != payload:
        wrong.append(f"payload of {record.value_size} bytes, not that of {version.record.value_size}")
    if said.customers != version.customers:
        wrong.append(f"headers {list(said.customers)}, not {list(version.customers)}")
    if said.version_s != version.written_s:
        wrong.append(f"{TIMESTAMP} {said.version_s!r} for {version.record.timestamp_ms}")
    if said.outcome is None:
        if record.topic != version.target:
            wrong.append(f"at {record.topic}, not {version.target}")
        if record.key != version.target_key:
            wrong.append(f"key {record.key!r}, not {version.target_key!r}")
        if version.target_partition not in (None, record.partition):
            wrong.append(f"in partition {record.partition}, not {version.target_partition}")
    return wrong
