"""Whether a world kept its promises: what clients wrote against what stands on target, history and schedules topics.

Two judges. `_promises` looks at what a user sees, by payloads alone. `_transactions` checks each transaction of an
owner against the log that it had read: that it says what docs/contract.md has it say, no more and no less. Both know
what was in force from `reference`, nothing from the engine.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from tests.support.simulation.broker import LARGE
from tests.support.simulation.circumstances import Circumstances
from tests.support.simulation.reference import Reference, instant_ms, occurrence_after, verdict
from tests.support.simulation.replica import PLACE
from tests.support.simulation.world import BrokenError, World, entries_of

if TYPE_CHECKING:
    from scheduler.engine.changes import Change
    from tests.support.simulation.broker import Entry, Transaction
    from tests.support.simulation.reference import Standing

ENDINGS = ("fired", "misfired", "cancelled", "undeliverable")


def judge(world: World) -> None:
    """Find fault with a world that has come to rest.

    Raises:
        BrokenError: with a sentence that begins with what is broken.
    """
    reference = Reference(entries_of(world.log))
    _promises(world, reference)
    _transactions(world, reference)
    _rest(world, reference)


# -- what a user sees --------------------------------------------------------------------------------


def _promises(world: World, reference: Reference) -> None:
    history = entries_of(world.logs[PLACE.history_topic])
    ends: defaultdict[bytes, list[str]] = defaultdict(list)
    for entry in history:
        ends[entry.value or b""].append(_said(entry, "scheduler-outcome"))
    asked = _asked(world)
    _once(world, reference, asked)
    cancelled_by_operators = {value for entry in history if (value := entry.value) and entry.key in asked["cancel"]}
    _ended(reference, ends, cancelled_by_operators)
    for entry in reference.malformed:
        if ends[entry.value or b""] != ["rejected"]:
            raise BrokenError(f"a refusal is told {len(ends[entry.value or b''])} times: {entry.value!r}")


def _once(world: World, reference: Reference, asked: dict[str, set[bytes]]) -> None:
    """No occurrence arrives twice; nothing arrives that nobody sent."""
    sent = {entry.value for entries in reference.of_clients.values() for entry in entries}
    arrived: Counter[tuple[bytes, int]] = Counter()
    jobs: Counter[tuple[bytes, int]] = Counter()
    for entry in _delivered(world):
        payload, due_ms = entry.value or b"", instant_ms(dict(entry.headers)["scheduler-epoch"])
        if payload not in sent:
            raise BrokenError(f"nobody has sent {payload!r}")
        if _said(entry, "scheduler-key").encode() in asked["fire"] | asked["reschedule"]:
            continue  # an operator may ask for the same instant again
        arrived[payload, due_ms] += 1
        if arrived[payload, due_ms] > 1:
            raise BrokenError(f"doubled: {payload!r} due {due_ms}")
        jobs[payload.partition(b"+")[0], due_ms] += 1
        if jobs[payload.partition(b"+")[0], due_ms] > 1:
            raise BrokenError(f"doubled by a change: {payload!r} due {due_ms}")


def _ended(reference: Reference, ends: dict[bytes, list[str]], cancelled_by_operators: set[bytes]) -> None:
    """Every version ends as it has to, once, and is told."""
    recurring = reference.recurring()
    in_force = reference.in_force
    cancelled = {each.version.payload for each in reference.cancelled}
    for key, entries in reference.of_clients.items():
        for entry in entries:
            payload = entry.value
            if payload is None:
                continue
            end = ends.get(payload, [])
            if end.count("cancelled") > 1 or (payload not in recurring and len(end) > 1):
                raise BrokenError(f"ended twice: {payload!r} is {', '.join(end)}")
            if "cancelled" in end and payload not in cancelled | cancelled_by_operators:
                raise BrokenError(f"nobody has cancelled it: {payload!r}")
            if payload in cancelled and "cancelled" not in end and (payload in recurring or not end):
                raise BrokenError(f"a cancel is not told: {payload!r}")
        last = entries[-1].value
        standing = in_force.get(key)
        if last is None:
            if standing is not None:
                raise BrokenError(f"cancelled and in force: {key!r}")
        elif standing is not None:
            if standing.payload != last:
                raise BrokenError(f"an update is lost: {last!r}, and {standing.payload!r} is in force")
        elif not set(ends.get(last, ())) & ({"cancelled"} if last in recurring else set(ENDINGS)):
            raise BrokenError(f"lost: {last!r}")


def _asked(world: World) -> dict[str, set[bytes]]:
    """The keys of which operators got what they asked for, by what that was."""
    asked: defaultdict[str, set[bytes]] = defaultdict(set)
    for transaction, _ in _by_owners(world):
        circumstances = transaction.context
        assert isinstance(circumstances, Circumstances)
        for key, change in circumstances.asked.items():
            asked[change.verb.value].add(key)
    return asked


# -- what an owner writes ----------------------------------------------------------------------------


@dataclass(slots=True)
class _Group:
    """What one transaction says about one key."""

    delivered: list[Entry] = field(default_factory=list)
    told: list[Entry] = field(default_factory=list)
    dead: list[Entry] = field(default_factory=list)
    written: list[Entry] = field(default_factory=list)


def _transactions(world: World, reference: Reference) -> None:
    fired: set[tuple[bytes, int]] = set()
    for transaction, groups in _by_owners(world):
        circumstances = transaction.context
        assert isinstance(circumstances, Circumstances)
        for key, group in groups.items():
            if len(group.written) != 1:
                raise BrokenError(f"torn: a transaction has {len(group.written)} successors of {key!r}")
            written = group.written[0]
            replaces = int(_said(written, "scheduler-replaces"))
            if replaces >= written.offset:
                raise BrokenError(f"a record of {key!r} replaces what stands behind it")
            version = reference.after(key, circumstances.read_to)
            if version is not None and _only_tells(group) and reference.was_ended(version, written.offset):
                version = None  # by the owner itself, which has not read that yet
            if version is not None:
                if version != reference.after(key, replaces) and not version.continues:
                    raise BrokenError(f"what is in force is known and not acted on: {key!r}")
                if any(replaces < offset < written.offset for offset in reference.of_owners.get(key, ())):
                    raise BrokenError(f"written without knowing what an owner had written of {key!r}")
            if group.delivered or any(_said(entry, "scheduler-outcome") == "misfired" for entry in group.told):
                if version is None:
                    raise BrokenError(f"nothing is in force under {key!r}, and it fires")
                if (key, version.offset) in fired:
                    raise BrokenError(f"a version fires twice: {key!r}@{version.offset}")
                fired.add((key, version.offset))
            _check(key, group, version, circumstances, reference)


def _check(
    key: bytes, group: _Group, version: Standing | None, circumstances: Circumstances, reference: Reference
) -> None:
    """Compare what is said of a key with what has to be said."""
    outcomes = [_said(entry, "scheduler-outcome") for entry in group.told]
    if outcomes.count("fired") != len(group.delivered) or outcomes.count("undeliverable") != len(group.dead):
        raise BrokenError(f"torn: {key!r} is {', '.join(outcomes) or 'not told'}, {len(group.delivered)} delivered")
    change = circumstances.asked.get(key)
    if change is None and set(outcomes) <= {"cancelled", "rejected"}:
        _same(key, group.written[0], version)
        return
    if version is None:
        raise BrokenError(f"nothing is in force under {key!r}, and it is {', '.join(outcomes)}")
    due_ms, outcome, successor = (
        _due(version, circumstances) if change is None else _on_request(version, change, circumstances.now_ms)
    )
    if change is None and (version.paused or reference.held(circumstances.read_to)):
        raise BrokenError(f"fires while paused: {key!r}")
    if due_ms > circumstances.now_ms and outcome == "fired":
        raise BrokenError(f"early: {key!r} due {due_ms} fires at {circumstances.now_ms}")
    if outcome == "fired" and (key in circumstances.given_up or LARGE in version.customer):
        outcome = "undeliverable"
    if outcomes != ([outcome] if outcome else []):
        raise BrokenError(f"wrong outcome of {key!r}: {', '.join(outcomes) or 'nothing'} is told, not {outcome}")
    for entry in (*group.delivered, *group.told, *group.dead):
        _says(entry, version, due_ms)
    for entry in group.told:
        if int(_said(entry, "scheduler-lateness-ms")) != max(0, circumstances.now_ms - due_ms):
            raise BrokenError(f"wrong lateness of {key!r}")
    _same(key, group.written[0], successor)


def _only_tells(group: _Group) -> bool:
    """Whether it only tells of something, and leaves a tombstone."""
    outcomes = {_said(entry, "scheduler-outcome") for entry in group.told}
    return group.written[0].value is None and outcomes <= {"cancelled", "rejected"}


def _due(version: Standing, circumstances: Circumstances) -> tuple[int, str, Standing | None]:
    """What has to become of a version that is due: the occurrence, its outcome, its successor."""
    if version.due_ms > circumstances.now_ms:
        raise BrokenError(f"early: {version.key!r} due {version.due_ms} is taken at {circumstances.now_ms}")
    said = verdict(version, circumstances.now_ms, circumstances.since_delta)
    return said.due_ms, said.outcome, None if said.next_ms is None else replace(version, due_ms=said.next_ms)


def _on_request(version: Standing, change: Change, now_ms: int) -> tuple[int, str | None, Standing | None]:
    """What has to become of a version that an operator asked to change."""
    verb, due_ms, rule = change.verb.value, version.due_ms, version.rule
    if verb == "cancel":
        return due_ms, "cancelled", None
    if verb == "fire":
        if due_ms > now_ms:
            return now_ms, "fired", version if rule else None
        said = verdict(version, now_ms, None)
        return said.due_ms, "fired", None if said.next_ms is None else replace(version, due_ms=said.next_ms)
    if verb == "pause":
        return due_ms, None, replace(version, paused=True)
    if verb == "resume":
        passed = version.paused and rule is not None and due_ms <= now_ms
        following_ms = occurrence_after(rule, due_ms, now_ms) if rule is not None and passed else due_ms
        return due_ms, None, replace(version, due_ms=following_ms, paused=False)
    if change.rule is not None:
        rule = change.rule.text
    return due_ms, None, replace(version, due_ms=due_ms if change.due_ms is None else change.due_ms, rule=rule)


def _says(entry: Entry, version: Standing, due_ms: int) -> None:
    """A delivery and its history have the payload, the customer's headers, and whose occurrence it is."""
    customer = tuple(header for header in entry.headers if not header[0].startswith("scheduler-"))
    said = dict(entry.headers)
    found = (
        entry.value,
        customer,
        instant_ms(said.get("scheduler-epoch")),
        said.get("scheduler-fire-id"),
        said.get("scheduler-key"),
        said.get("scheduler-timestamp"),
    )
    wanted = (
        version.payload,
        version.customer,
        due_ms,
        b"%s@%d" % (version.key, due_ms),
        version.key,
        b"%d" % (version.timestamp_ms // 1000),
    )
    if found != wanted:
        raise BrokenError(f"wrong message: {found} instead of {wanted}")


def _same(key: bytes, written: Entry, version: Standing | None) -> None:
    """What is written back is this version, or a tombstone."""
    found = Reference([written]).now(key)
    if (found and found.content) != (version and version.content):
        raise BrokenError(f"wrong successor of {key!r}: {found} instead of {version}")


def _by_owners(world: World) -> list[tuple[Transaction, dict[bytes, _Group]]]:
    """Committed transactions of owners in the order in which they began, each with what it says of each key."""
    transactions: dict[Transaction, dict[bytes, _Group]] = {}
    fields = {PLACE.topic: "written", PLACE.history_topic: "told", PLACE.dead_letter_topic: "dead"}
    for log in world.logs.values():
        for entry in entries_of(log):
            if entry.transaction is None or entry.transaction.context is None:
                continue
            part = fields.get(log.name, "delivered")
            key = _said(entry, "scheduler-key").encode() if part == "delivered" else entry.key or b""
            group = transactions.setdefault(entry.transaction, defaultdict(_Group))[key]
            getattr(group, part).append(entry)
    return list(transactions.items())


# -- what is left ------------------------------------------------------------------------------------


def _rest(world: World, reference: Reference) -> None:
    in_force = reference.in_force
    now_ms = world.now_ms
    for standing in in_force.values():
        if standing.paused:
            raise BrokenError(f"paused for ever: {standing}")
        if standing.due_ms <= now_ms:
            raise BrokenError(f"due and not fired: {standing}")
    wanted = {key: standing.content for key, standing in in_force.items()}
    for what, entries in (
        ("the log that is left", [entry for entry in world.log.entries if entry.committed]),
        ("the newest record of each key", _newest(world)),
    ):
        found = {key: standing.content for key, standing in Reference(entries).in_force.items()}
        if found != wanted:
            raise BrokenError(f"{what} says otherwise: {found} instead of {wanted}")
    known = {each.key: (each.value, each.due_ms) for each in world.assigned.in_force()}
    if known != {key: (standing.payload, standing.due_ms) for key, standing in in_force.items()}:
        raise BrokenError(f"the owner knows otherwise: {known} instead of {wanted}")
    for log in world.logs.values():
        if log.last_stable_offset() != log.end:
            raise BrokenError(f"a transaction hangs on {log.name}")


def _newest(world: World) -> list[Entry]:
    newest = {entry.key: entry for entry in world.log.entries if entry.committed}
    return list(newest.values())


def _delivered(world: World) -> list[Entry]:
    return [entry for name in ("target", "late") for entry in entries_of(world.logs[name])]


def _said(entry: Entry, header: str) -> str:
    return (dict(entry.headers).get(header) or b"").decode()
