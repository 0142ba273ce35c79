"""CONFIGURATION_FILE: properties of the Kafka clients, each error naming the file and the line."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml

from scheduler.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

NOT_TO_BE_SET = {
    "plugin.library.paths": "it loads code",
    **dict.fromkeys(
        (
            "isolation.level",
            "enable.auto.commit",
            "enable.auto.offset.store",
            "auto.offset.reset",
            "enable.partition.eof",
            "partition.assignment.strategy",
            "enable.idempotence",
            "partitioner",
            "transactional.id",
        ),
        "a guarantee stands on it",
    ),
    "group.id": "GROUP_ID is for that",
    "session.timeout.ms": "SESSION_TIMEOUT is for that",
    "transaction.timeout.ms": "TRANSACTION_TIMEOUT is for that",
}
"""librdkafka properties that a file may not set, and why."""

BROKERS = frozenset({"bootstrap.servers", "metadata.broker.list"})
"""The property that names the brokers, and its other name."""


class KafkaFile(NamedTuple):
    """Client properties from CONFIGURATION_FILE."""

    common: dict[str, Any]
    producer: dict[str, Any]
    consumer: dict[str, Any]
    target: dict[str, Any]
    """For the cluster at TARGET_BOOTSTRAP_SERVERS; they win over `common` there."""


@cache
def read_kafka_file(path: Path | None) -> KafkaFile:
    """Read client properties: YAML as etf1's, or `name=value` lines as librdkafka's.

    Read once: every client of a process has the same, also one that is made in a rebalance later on.

    Raises:
        ConfigurationError: the file cannot be read, or sets what it may not.
    """
    if path is None:
        return KafkaFile({}, {}, {}, {})
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"CONFIGURATION_FILE: {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"CONFIGURATION_FILE: {path} cannot be read: it is not UTF-8") from None
    file = (_read_yaml if path.suffix in (".yaml", ".yml") else _read_properties)(text, path)
    for properties in file:
        for name in sorted(NOT_TO_BE_SET.keys() & properties.keys()):
            raise ConfigurationError(f"CONFIGURATION_FILE: {path}: {name} is not accepted, {NOT_TO_BE_SET[name]}")
    for name in sorted(BROKERS & file.target.keys()):
        raise ConfigurationError(
            f"CONFIGURATION_FILE: {path}: kafka.target.configuration: {name} is not accepted, "
            "TARGET_BOOTSTRAP_SERVERS is for that"
        )
    return file


def _read_yaml(text: str, path: Path) -> KafkaFile:
    try:
        # every value as the text that is written there: as YAML's number, a password of 0123 is 83
        document = yaml.load(text, Loader=yaml.BaseLoader) or {}  # noqa: S506 - it makes texts, lists and mappings only
    except (yaml.YAMLError, RecursionError) as error:
        # the error itself would quote the line, and the line may hold a password
        mark = getattr(error, "problem_mark", None)
        place = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else str(path)
        raise ConfigurationError(
            f"CONFIGURATION_FILE: {place}: not YAML; quote values with special characters"
        ) from None
    found: dict[str, dict[str, Any]] = {}
    known = KafkaFile._fields
    for section in known:
        found[section] = _dig(document, ("kafka", section, "configuration"), path)
    unknown = sorted(set(document) - {"kafka"} if isinstance(document, dict) else []) + sorted(
        set(document.get("kafka") or {}) - set(known) if isinstance(document, dict) else []
    )
    if unknown:
        raise ConfigurationError(f"CONFIGURATION_FILE: {path}: {', '.join(map(str, unknown))}: not known here")
    return KafkaFile(**found)


def _dig(document: Any, names: tuple[str, ...], path: Path) -> dict[str, Any]:
    place = document
    for depth, name in enumerate(names, 1):
        if not isinstance(place, dict):
            missing = ".".join(names[:depth])
            raise ConfigurationError(f"CONFIGURATION_FILE: {path}: expected names and values above {missing}")
        place = place.get(name)
        if place in (None, ""):
            return {}
    if not isinstance(place, dict):
        raise ConfigurationError(f"CONFIGURATION_FILE: {path}: {'.'.join(names)} is not a list of names and values")
    for name, value in place.items():
        if not isinstance(value, str):
            raise ConfigurationError(f"CONFIGURATION_FILE: {path}: {'.'.join(names)}: {name}: expected one value")
    return dict(place)


def _read_properties(text: str, path: Path) -> KafkaFile:
    properties: dict[str, Any] = {}
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        name, equals, value = stripped.partition("=")
        if not equals:
            raise ConfigurationError(f"CONFIGURATION_FILE: {path}:{number}: expected name=value")
        if not name.strip():
            raise ConfigurationError(f"CONFIGURATION_FILE: {path}:{number}: there is no name before the =")
        properties[name.strip()] = value.strip()
    return KafkaFile(properties, {}, {}, {})
