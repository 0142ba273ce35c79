"""Settings: from the environment, checked once at the start, each error naming its variable."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import AliasChoices, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from scheduler.errors import ConfigurationError
from scheduler.topics import retry_topic_name

Names = Annotated[list[str], NoDecode]
_ADDRESS = re.compile(r"(?P<host>[^:\s]*|\[[0-9A-Fa-f:]+\]):(?P<port>[0-9]{1,5})", re.ASCII)
_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}", re.ASCII)
_HOST = re.compile(
    r"[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?|[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*(%[A-Za-z0-9._-]+)?", re.ASCII
)

METRICS_NAME = "METRICS_HTTP_ADDR"
METRICS_ALIAS = "METRICS_ADDR"


class Address(NamedTuple):
    """Where to listen; port 0 lets the system choose one."""

    host: str
    port: int

    def __str__(self) -> str:
        """`host:port`, IPv6 in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Settings(BaseSettings):
    """Everything that can be set, under etf1's names where it has them.

    The field's name in capitals is its variable; `METRICS_ADDR` is an alias of `METRICS_HTTP_ADDR`.
    """

    model_config = SettingsConfigDict(extra="ignore", frozen=True, env_ignore_empty=True, populate_by_name=True)

    bootstrap_servers: str = Field("localhost:9092", description="Kafka brokers, host:port, comma between them")
    target_bootstrap_servers: str = Field("", description="brokers of targets on another Kafka (at least once)")
    schedules_topics: Names = Field(["schedules"], description="topics with schedules, comma between them")
    history_topic: str = Field("history", description="where the outcome of every schedule is recorded")
    dead_letter_topic: str = Field("dead-letters", description="where what cannot be delivered or run ends")
    results_topic: str = Field("results", description="where workers record each attempt")
    clusters: Names = Field(["cluster-a", "cluster-b"], description="clusters that run jobs; the first is the default")
    group_id: str = Field("scheduler-cg", min_length=1, description="consumer group of the scheduler's replicas")
    metrics_http_addr: str = Field(
        ":8001",
        validation_alias=AliasChoices(METRICS_NAME, METRICS_ALIAS),
        description="where /metrics is served; `off` for nowhere",
    )
    server_addr: str = Field("127.0.0.1:8000", description="where the HTTP API is served; `off` for nowhere")
    advertised_addr: str = Field("", description="host:port of this API for other replicas; SERVER_ADDR without it")
    api_token: SecretStr = Field(
        SecretStr(""), description="secret for /api/v1; without it, changes only from this machine"
    )
    history_cache: Annotated[int, Field(ge=0, le=4096)] = Field(
        64, description="MB of memory for the past that the admin page shows, read once somebody looks; 0: none"
    )
    payload_decoder_url: SecretStr = Field(
        SecretStr(""), description="http(s) service that reads payloads for the admin page; empty: none is asked"
    )
    since_delta: Annotated[int, Field(le=0)] | None = Field(
        None,
        description="days (UTC) to look back: 0 today, -1 yesterday too; older ones are misfired",
    )
    session_timeout: Annotated[int, Field(ge=1000, le=3_600_000)] = Field(
        6000, description="ms after which a silent replica loses its partitions"
    )
    transaction_timeout: Annotated[int, Field(ge=1000, le=900_000)] = Field(
        15_000, description="ms after which Kafka aborts the transaction of a dead replica"
    )
    prepare_ahead: bool = Field(
        default=True,
        description="prepare a transaction up to 15 ms before it is due; false where aborted records are seen",
    )
    target_grace: Annotated[int, Field(ge=0, le=3_600_000)] = Field(
        30_000, description="ms to wait for a target topic that does not exist yet"
    )
    snapshot_dir: Path | None = Field(
        None, description="folder for what is pending, so that a restart reads less of the log; empty: none is written"
    )
    snapshot_interval: Annotated[int, Field(ge=1000, le=86_400_000)] = Field(
        180_000, description="ms between two snapshots of a partition, beside that of a stop"
    )
    standby: bool = Field(
        default=False,
        description="follow the partitions of the other replicas too, so that this one takes over at once",
    )
    restore_processes: Annotated[int, Field(ge=0, le=64)] | None = Field(
        None,
        description="processes that share a long restore; empty: one for each processor, up to 4; 1: no other",
    )
    restore_shared_from: Annotated[int, Field(ge=0)] = Field(
        200_000, description="records in the logs, by their offsets, from which on a restore is shared"
    )
    allowed_targets: Names = Field(
        [], description="topics that schedules may be fired to; empty: any but internal ones"
    )
    partitions: Annotated[int, Field(ge=1, le=10_000)] = Field(8, description="partitions of topics that are created")
    replication_factor: Annotated[int, Field(ge=1, le=100)] = Field(1, description="copies of topics that are created")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="debug, info, warning, error")
    log_format: Literal["text", "json"] = Field("text", description="text for people, json for programs")
    otel_traces_exporter: Literal["none", "otlp", "console"] = Field(
        "none", description="spans of firings: none, otlp, console"
    )
    configuration_file: Path | None = Field(
        None, description="YAML with kafka.*.configuration, or a librdkafka .config properties file"
    )

    @field_validator("schedules_topics", "clusters", "allowed_targets", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return [name.strip() for name in value.split(",") if name.strip()] if isinstance(value, str) else value

    @field_validator("schedules_topics", "clusters")
    @classmethod
    def _some(cls, names: list[str]) -> list[str]:
        if not names:
            raise ValueError("at least one name is needed")
        if len(set(names)) != len(names):
            raise ValueError("a name is there twice")
        for name in names:
            check_topic(name)
        return names

    @field_validator("history_topic", "dead_letter_topic", "results_topic")
    @classmethod
    def _topic(cls, name: str) -> str:
        return check_topic(name)

    @field_validator("advertised_addr")
    @classmethod
    def _reachable(cls, value: str) -> str:
        address = parse_address(value)
        if value and (address is None or value.startswith(":") or not address.port):
            raise ValueError(f"{value!r} is not host:port (such as scheduler-1:8000)")
        return value

    @field_validator("payload_decoder_url")
    @classmethod
    def _url(cls, value: SecretStr) -> SecretStr:
        if value.get_secret_value() and not is_web_address(value.get_secret_value()):
            # it may hold credentials: it is not repeated
            raise ValueError(
                "is no web address: write http:// or https://, a host and a path (http://decoder:8080/read)"
            )
        return value

    @field_validator("log_level", "log_format", "otel_traces_exporter", mode="before")
    @classmethod
    def _lower(cls, value: Any) -> Any:
        return value.lower() if isinstance(value, str) else value

    @field_validator("metrics_http_addr", "server_addr")
    @classmethod
    def _address(cls, value: str) -> str:
        if value != "off" and parse_address(value) is None:
            raise ValueError(
                f"{value!r} is not host:port (such as 127.0.0.1:8001, or :8001 for every interface) or off"
            )
        return value

    @model_validator(mode="after")
    def _each_topic_has_one_purpose(self) -> Self:
        uses = [
            *((name, "SCHEDULES_TOPICS") for name in self.schedules_topics),
            (self.history_topic, "HISTORY_TOPIC"),
            (self.dead_letter_topic, "DEAD_LETTER_TOPIC"),
            (self.results_topic, "RESULTS_TOPIC"),
            *((name, "CLUSTERS") for name in self.clusters),
            *((retry_topic_name(name), "CLUSTERS (retries)") for name in self.clusters),
        ]
        first: dict[str, str] = {}
        for topic, use in uses:
            if topic in first:
                raise ValueError(f"{first[topic]} and {use}: both name the topic {topic}; each needs its own")
            first[topic] = use
        return self

    @classmethod
    def load(cls, **given: Any) -> Self:
        """Read the environment; what is given (and not None) wins over it.

        Raises:
            ConfigurationError: a value does not parse, and the message names every such variable; or what is given is
                no setting.
        """
        if unknown := given.keys() - cls.model_fields.keys():
            raise ConfigurationError(f"there is no such setting: {', '.join(sorted(unknown))}")
        try:
            return cls(**{name: value for name, value in given.items() if value is not None})
        except ValidationError as error:
            raise ConfigurationError(_name_variables(error)) from None

    @property
    def metrics_address(self) -> Address | None:
        """Where to serve /metrics; None for nowhere."""
        return parse_address(self.metrics_http_addr)

    @property
    def server_address(self) -> Address | None:
        """Where to serve the API; None for nowhere."""
        return parse_address(self.server_addr)


def check_topic(name: str) -> str:
    """The name itself, where Kafka takes it.

    Raises:
        ValueError: it is none.
    """
    if _TOPIC.fullmatch(name) is None or name in (".", ".."):
        raise ValueError(f"{name!r} is not a topic name (letters, digits, '.', '_' and '-', at most 249)")
    return name


def parse_address(text: str) -> Address | None:
    """`host:port`; an empty host means every interface, as in Go. None where it is not one."""
    match = _ADDRESS.fullmatch(text)
    if match is None or int(match["port"]) > 65_535:  # noqa: PLR2004 - the largest port
        return None
    return Address(match["host"].strip("[]") or "0.0.0.0", int(match["port"]))  # noqa: S104 - as it was asked for


def is_web_address(text: str) -> bool:
    """Whether it is an http or https URL with a host."""
    import httpx  # noqa: PLC0415 - what asks it has to understand it; a tenth of a second that few settings need

    try:
        url = httpx.URL(text)
    except httpx.InvalidURL:
        return False
    port_is_one = url.port is None or 0 < url.port <= 65_535  # noqa: PLR2004 - the largest port
    return url.scheme in ("http", "https") and port_is_one and _HOST.fullmatch(url.raw_host.decode()) is not None


def _name_variables(error: ValidationError) -> str:
    lines = []
    for fault in error.errors(include_url=False, include_context=False):
        message = fault["msg"].removeprefix("Value error, ")
        if fault["loc"]:
            shown = repr(str(fault["input"]))
            known = Settings.model_fields.get(str(fault["loc"][0]))
            secret = known is not None and known.annotation is SecretStr
            value = "" if secret or shown in message else f" (it is {shown})"
            message = f"{_variable(str(fault['loc'][0]).upper())}: {message}{value}"
        lines.append(message)
    return "\n".join(lines)


def _variable(name: str) -> str:
    came_from_alias = name == METRICS_NAME and not os.environ.get(METRICS_NAME) and os.environ.get(METRICS_ALIAS)
    return METRICS_ALIAS if came_from_alias else name
