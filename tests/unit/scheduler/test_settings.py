"""Settings: etf1's variables, their defaults, and an error that names what does not parse."""

import pytest
from confluent_kafka import KafkaError
from pydantic import SecretStr

from scheduler.errors import ConfigurationError, ExitCode
from scheduler.runtime.kafka import (
    check_target,
    common_conf,
    consumer_conf,
    courier_conf,
    producer_conf,
    target_conf,
    transactional_conf,
    unavailable,
)
from scheduler.runtime.kafka_file import KafkaFile, read_kafka_file
from scheduler.runtime.settings import Address, Settings, parse_address

SECRET = "hunter2"  # noqa: S105 - what must not be shown


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """None of our variables is set, whatever the machine's are; sets those that are given."""
    for name in (*Settings.model_fields, "metrics_addr"):
        monkeypatch.delenv(name.upper(), raising=False)

    def set_all(**variables):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return set_all


def refusal(load=Settings.load):
    with pytest.raises(ConfigurationError) as refused:
        load()
    assert refused.value.exit_code is ExitCode.CONFIGURATION
    return str(refused.value)


def file(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def file_refusal(path):
    return refusal(lambda: read_kafka_file(path))


# ---------------------------------------------------------------- the environment


def test_the_defaults_are_those_that_are_documented():
    settings = Settings.load()

    assert settings.bootstrap_servers == "localhost:9092"
    assert settings.schedules_topics == ["schedules"]
    assert settings.group_id == "scheduler-cg"
    assert settings.history_topic == "history"
    assert settings.metrics_address == Address("0.0.0.0", 8001)  # noqa: S104 - every interface, as in etf1
    assert settings.server_address == Address("127.0.0.1", 8000)
    assert settings.since_delta is None
    assert settings.session_timeout == 6000
    assert settings.allowed_targets == []
    assert settings.configuration_file is None


def test_every_variable_is_read(environment, tmp_path):
    path = tmp_path / "kafka.yaml"
    environment(
        BOOTSTRAP_SERVERS="a:9092,b:9092",
        TARGET_BOOTSTRAP_SERVERS="c:9092",
        ADVERTISED_ADDR="scheduler-1:8000",
        API_TOKEN=SECRET,
        TARGET_GRACE="5000",
        PREPARE_AHEAD="false",
        OTEL_TRACES_EXPORTER="OTLP",
        SCHEDULES_TOPICS="one",
        HISTORY_TOPIC="past",
        DEAD_LETTER_TOPIC="dead",
        RESULTS_TOPIC="ends",
        CLUSTERS="x",
        GROUP_ID="us",
        METRICS_HTTP_ADDR="127.0.0.1:0",
        SERVER_ADDR="off",
        SINCE_DELTA="-1",
        HISTORY_CACHE="0",
        PAYLOAD_DECODER_URL=f"https://us:{SECRET}@Decoder:8443/Read?x=Y",
        SESSION_TIMEOUT="45000",
        TRANSACTION_TIMEOUT="60000",
        SNAPSHOT_DIR=str(tmp_path),
        SNAPSHOT_INTERVAL="60000",
        STANDBY="true",
        RESTORE_PROCESSES="3",
        RESTORE_SHARED_FROM="1000",
        ALLOWED_TARGETS="orders, payments",
        PARTITIONS="32",
        REPLICATION_FACTOR="3",
        LOG_LEVEL="DEBUG",
        LOG_FORMAT="json",
        CONFIGURATION_FILE=str(path),
    )

    assert Settings.load().model_dump() == {
        "bootstrap_servers": "a:9092,b:9092",
        "prepare_ahead": False,
        "target_bootstrap_servers": "c:9092",
        "advertised_addr": "scheduler-1:8000",
        "api_token": SecretStr(SECRET),
        "target_grace": 5000,
        "otel_traces_exporter": "otlp",
        "schedules_topics": ["one"],
        "history_topic": "past",
        "dead_letter_topic": "dead",
        "results_topic": "ends",
        "clusters": ["x"],
        "group_id": "us",
        "metrics_http_addr": "127.0.0.1:0",
        "server_addr": "off",
        "since_delta": -1,
        "history_cache": 0,
        "payload_decoder_url": SecretStr(f"https://us:{SECRET}@Decoder:8443/Read?x=Y"),
        "session_timeout": 45_000,
        "transaction_timeout": 60_000,
        "snapshot_dir": tmp_path,
        "snapshot_interval": 60_000,
        "standby": True,
        "restore_processes": 3,
        "restore_shared_from": 1000,
        "allowed_targets": ["orders", "payments"],
        "partitions": 32,
        "replication_factor": 3,
        "log_level": "debug",
        "log_format": "json",
        "configuration_file": path,
    }


def test_what_is_given_wins_over_the_environment_and_none_does_not(environment):
    environment(GROUP_ID="theirs", METRICS_ADDR=":1")

    assert Settings.load(group_id="ours").group_id == "ours"
    assert Settings.load(group_id=None).group_id == "theirs"
    assert Settings.load(metrics_http_addr=":2").metrics_http_addr == ":2"
    assert Settings.load(metrics_http_addr=None).metrics_http_addr == ":1"


def test_what_is_given_and_is_no_setting_is_named():
    with pytest.raises(ConfigurationError, match="there is no such setting: bootstrap_server, topic"):
        Settings.load(topic="schedules", bootstrap_server="kafka:9092", group_id="ours")


def test_an_empty_variable_is_as_good_as_none(environment):
    """Compose files pass on variables that nobody has set."""
    environment(SCHEDULES_TOPICS="", SINCE_DELTA="", SESSION_TIMEOUT="", METRICS_HTTP_ADDR="", CONFIGURATION_FILE="")

    assert Settings.load() == Settings.load(schedules_topics=["schedules"])


@pytest.mark.parametrize("text", ["one,two", " one , two ", "one,,two,"])
def test_topics_are_a_list_with_commas(environment, text):
    environment(SCHEDULES_TOPICS=text)

    assert Settings.load().schedules_topics == ["one", "two"]


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"METRICS_ADDR": ":9001"}, Address("0.0.0.0", 9001)),  # noqa: S104 - every interface
        ({"METRICS_HTTP_ADDR": ":9002"}, Address("0.0.0.0", 9002)),  # noqa: S104 - every interface
        ({"METRICS_ADDR": ":9001", "METRICS_HTTP_ADDR": "127.0.0.1:9002"}, Address("127.0.0.1", 9002)),
        ({"METRICS_ADDR": "off"}, None),
        ({"METRICS_ADDR": "[::1]:9001", "METRICS_HTTP_ADDR": ""}, Address("::1", 9001)),
    ],
)
def test_metrics_addr_is_an_alias(environment, variables, expected):
    environment(**variables)

    assert Settings.load().metrics_address == expected


@pytest.mark.parametrize("days", [0, -1, -30])
def test_since_delta_counts_days_back(environment, days):
    environment(SINCE_DELTA=str(days))

    assert Settings.load().since_delta == days


WRONG = [
    ("SCHEDULES_TOPICS", ",", "at least one name is needed"),
    ("SCHEDULES_TOPICS", "a,b,a", "a name is there twice"),
    ("SCHEDULES_TOPICS", "a,b c", "'b c' is not a topic name"),
    ("SCHEDULES_TOPICS", "..", "'..' is not a topic name"),
    ("CLUSTERS", "a/b", "'a/b' is not a topic name"),
    ("HISTORY_TOPIC", "a b", "'a b' is not a topic name"),
    ("DEAD_LETTER_TOPIC", "x" * 250, "is not a topic name"),
    ("RESULTS_TOPIC", "é", "'é' is not a topic name"),
    ("SINCE_DELTA", "1", "less than or equal to 0"),
    ("HISTORY_CACHE", "-1", "greater than or equal to 0"),
    ("HISTORY_CACHE", "64MB", "'64MB'"),
    ("SINCE_DELTA", "yesterday", "'yesterday'"),
    ("SESSION_TIMEOUT", "6s", "'6s'"),
    ("SESSION_TIMEOUT", "999", "greater than or equal to 1000"),
    ("TRANSACTION_TIMEOUT", "1e3", "'1e3'"),
    ("PARTITIONS", "0", "greater than or equal to 1"),
    ("REPLICATION_FACTOR", "-1", "greater than or equal to 1"),
    ("LOG_LEVEL", "loud", "'debug', 'info', 'warning' or 'error'"),
    ("LOG_FORMAT", "xml", "'text' or 'json'"),
    *[
        (name, text, f"{text!r} is not host:port")
        for name in ("METRICS_HTTP_ADDR", "METRICS_ADDR", "SERVER_ADDR")
        for text in ("8001", "localhost", ":", "a b:1", ":65536", ":-1", "::1:80", "http://a:80", "a:80/metrics")
    ],
]


@pytest.mark.parametrize(("name", "text", "why"), WRONG)
def test_a_value_that_does_not_parse_is_refused_under_its_variable_s_name(environment, name, text, why):
    environment(**{name: text})
    found = refusal()

    assert found.startswith(f"{name}: ")
    assert why in found
    assert "\n" not in found


def test_all_that_is_wrong_is_said_at_once(environment):
    environment(SESSION_TIMEOUT="x", SINCE_DELTA="1", LOG_LEVEL="loud", METRICS_ADDR="x", SCHEDULES_TOPICS=",")
    named = {line.partition(":")[0] for line in refusal().splitlines()}

    assert named == {"SESSION_TIMEOUT", "SINCE_DELTA", "LOG_LEVEL", "METRICS_ADDR", "SCHEDULES_TOPICS"}


@pytest.mark.parametrize(
    ("variables", "both"),
    [
        ({"HISTORY_TOPIC": "schedules"}, "SCHEDULES_TOPICS and HISTORY_TOPIC"),
        ({"DEAD_LETTER_TOPIC": "history"}, "HISTORY_TOPIC and DEAD_LETTER_TOPIC"),
        ({"RESULTS_TOPIC": "schedules"}, "SCHEDULES_TOPICS and RESULTS_TOPIC"),
        ({"CLUSTERS": "history"}, "HISTORY_TOPIC and CLUSTERS"),
        ({"CLUSTERS": "a,a-retry"}, "CLUSTERS and CLUSTERS (retries)"),
    ],
)
def test_a_topic_has_one_purpose(environment, variables, both):
    """A history among the schedules would be read as schedules."""
    environment(**variables)
    found = refusal()

    assert found.startswith(both)
    assert "\n" not in found


@pytest.mark.parametrize(
    ("text", "host", "port", "shown"),
    [
        (":8001", "0.0.0.0", 8001, "0.0.0.0:8001"),  # noqa: S104 - every interface
        ("localhost:0", "localhost", 0, "localhost:0"),
        ("[::1]:65535", "::1", 65_535, "[::1]:65535"),
    ],
)
def test_an_address(text, host, port, shown):
    address = parse_address(text)

    assert address == (host, port)
    assert str(address) == shown


# ---------------------------------------------------------------- CONFIGURATION_FILE

YAML = """
kafka:
  common:
    configuration:
      security.protocol: SASL_SSL
      sasl.password: 0123
      bootstrap.servers: file:9092
  producer:
    configuration:
      linger.ms: 20
      acks: all
  consumer:
    configuration:
      fetch.wait.max.ms: 100
  target:
    configuration:
      sasl.password: theirs
      acks: 1
"""

PROPERTIES = """\
# how to reach the brokers
security.protocol = SASL_SSL
sasl.password=a=b#c

  sasl.username= us
"""


def test_without_a_file_there_are_no_properties():
    assert read_kafka_file(None) == KafkaFile({}, {}, {}, {})


@pytest.mark.parametrize("suffix", ["yaml", "yml"])
def test_a_yaml_file_has_properties_for_all_clients_and_for_each_kind(tmp_path, suffix):
    """Each value is the text that is written: a password of digits stays what it is."""
    assert read_kafka_file(file(tmp_path, f"kafka.{suffix}", YAML)) == KafkaFile(
        {"security.protocol": "SASL_SSL", "sasl.password": "0123", "bootstrap.servers": "file:9092"},
        {"linger.ms": "20", "acks": "all"},
        {"fetch.wait.max.ms": "100"},
        {"sasl.password": "theirs", "acks": "1"},
    )


@pytest.mark.parametrize(
    "text", ["", "# nothing\n", "kafka:\n", "kafka:\n  common:\n    configuration:\n", "kafka: {}"]
)
def test_a_yaml_file_may_leave_everything_out(tmp_path, text):
    assert read_kafka_file(file(tmp_path, "kafka.yaml", text)) == KafkaFile({}, {}, {}, {})


def test_a_properties_file_has_properties_for_all_clients(tmp_path):
    assert read_kafka_file(file(tmp_path, "kafka.config", PROPERTIES)) == KafkaFile(
        {"security.protocol": "SASL_SSL", "sasl.password": "a=b#c", "sasl.username": "us"}, {}, {}, {}
    )


def test_the_variable_wins_over_the_file_and_its_default_does_not(environment, tmp_path):
    path = file(tmp_path, "kafka.yaml", YAML)

    assert common_conf(Settings.load(configuration_file=path), "c")["bootstrap.servers"] == "file:9092"
    environment(BOOTSTRAP_SERVERS="variable:9092")
    assert common_conf(Settings.load(configuration_file=path), "c")["bootstrap.servers"] == "variable:9092"


def test_a_broker_that_does_not_answer_is_told_with_where_its_address_stands(environment, tmp_path):
    path = file(tmp_path, "kafka.yaml", YAML)
    error = KafkaError(KafkaError._TRANSPORT)

    told = str(unavailable(Settings.load(configuration_file=path), error))
    assert told.startswith("Kafka at file:9092: ")
    assert told.endswith(f"check bootstrap.servers in {path} and the broker")
    environment(BOOTSTRAP_SERVERS="variable:9092")
    told = str(unavailable(Settings.load(configuration_file=path), error))
    assert told.startswith("Kafka at variable:9092: ")
    assert told.endswith("check BOOTSTRAP_SERVERS and the broker")


def test_the_file_reaches_every_client(environment, tmp_path):
    environment(CONFIGURATION_FILE=str(file(tmp_path, "kafka.yaml", YAML)))
    settings = Settings.load()
    consumer = consumer_conf(settings, "c", "g")
    producer = producer_conf(settings, "c")

    assert consumer["security.protocol"] == producer["security.protocol"] == "SASL_SSL"
    assert (producer["linger.ms"], "linger.ms" in consumer) == ("20", False)
    assert transactional_conf(settings, "c", "t")["security.protocol"] == "SASL_SSL"


def test_clients_of_another_cluster_have_what_all_have_but_its_address_and_what_is_said_for_it(environment, tmp_path):
    environment(
        CONFIGURATION_FILE=str(file(tmp_path, "kafka.yaml", YAML)),
        BOOTSTRAP_SERVERS="home:9092",
        TARGET_BOOTSTRAP_SERVERS="there:9092",
    )
    theirs = target_conf(Settings.load(), "c")
    courier = courier_conf(Settings.load(), "c")

    assert theirs["security.protocol"] == courier["security.protocol"] == "SASL_SSL"
    assert theirs["sasl.password"] == courier["sasl.password"] == "theirs"
    assert theirs["bootstrap.servers"] == courier["bootstrap.servers"] == "there:9092"
    assert "linger.ms" not in theirs, "that is for producers of the schedules' own cluster"
    assert (courier["acks"], courier["enable.idempotence"]) == ("all", True)
    assert common_conf(Settings.load(), "c")["sasl.password"] == "0123"


def test_another_name_for_the_brokers_does_not_lead_a_courier_home(environment, tmp_path):
    path = file(tmp_path, "kafka.config", "metadata.broker.list=home:9092\n")
    environment(CONFIGURATION_FILE=str(path), TARGET_BOOTSTRAP_SERVERS="there:9092")

    assert "metadata.broker.list" not in target_conf(Settings.load(), "c")


@pytest.mark.parametrize("name", ["bootstrap.servers", "metadata.broker.list"])
def test_the_brokers_of_another_cluster_are_a_variable(tmp_path, name):
    path = file(tmp_path, "kafka.yaml", f"kafka:\n  target:\n    configuration:\n      {name}: there:9092\n")

    assert file_refusal(path) == (
        f"CONFIGURATION_FILE: {path}: kafka.target.configuration: {name} is not accepted, "
        "TARGET_BOOTSTRAP_SERVERS is for that"
    )


def test_properties_of_another_cluster_need_its_address(environment, tmp_path):
    path = file(tmp_path, "kafka.yaml", YAML)
    environment(CONFIGURATION_FILE=str(path))

    assert refusal(lambda: check_target(Settings.load())) == (
        f"CONFIGURATION_FILE: {path}: kafka.target.configuration is for the cluster at TARGET_BOOTSTRAP_SERVERS, "
        "which is not set"
    )
    environment(TARGET_BOOTSTRAP_SERVERS="there:9092")
    check_target(Settings.load())


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("isolation.level", "a guarantee stands on it"),
        ("enable.idempotence", "a guarantee stands on it"),
        ("partitioner", "a guarantee stands on it"),
        ("group.id", "GROUP_ID is for that"),
        ("session.timeout.ms", "SESSION_TIMEOUT is for that"),
    ],
)
def test_a_property_that_is_not_the_files_to_set_is_refused_not_ignored(tmp_path, name, why):
    path = file(tmp_path, "kafka.config", f"linger.ms=1\n{name}=x\n")

    assert file_refusal(path) == f"CONFIGURATION_FILE: {path}: {name} is not accepted, {why}"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("kafka.config", "linger.ms=1\nplugin.library.paths=/tmp/evil.so\n"),
        *[
            ("kafka.yaml", f"kafka:\n  {section}:\n    configuration:\n      plugin.library.paths: /tmp/evil.so\n")
            for section in ("common", "producer", "consumer", "target")
        ],
    ],
)
def test_a_property_that_loads_code_is_refused(tmp_path, name, text):
    path = file(tmp_path, name, text)

    assert file_refusal(path) == f"CONFIGURATION_FILE: {path}: plugin.library.paths is not accepted, it loads code"


@pytest.mark.parametrize(
    ("text", "where", "why"),
    [
        ("a=1\n\nsasl.password hunter2\n", ":3", "expected name=value"),
        ("=hunter2\n", ":1", "there is no name before the ="),
    ],
)
def test_a_line_that_is_no_property_is_refused_by_its_number(tmp_path, text, where, why):
    path = file(tmp_path, "kafka.config", text)

    assert file_refusal(path) == f"CONFIGURATION_FILE: {path}{where}: {why}"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("kafka:\n  comon:\n    configuration: {}\n", "comon: not known here"),
        ("kafka: {}\nschedules: {}\n", "schedules: not known here"),
        ("- kafka\n", "expected names and values above kafka"),
        ("kafka: 7\n", "expected names and values above kafka.common"),
        ("kafka:\n  common: 7\n", "expected names and values above kafka.common.configuration"),
        ("kafka:\n  common:\n    configuration: [a]\n", "kafka.common.configuration is not a list of names and values"),
        ("kafka:\n  common:\n    configuration:\n      a: [1]\n", "kafka.common.configuration: a: expected one value"),
    ],
)
def test_a_yaml_file_of_another_shape_is_refused_by_the_place(tmp_path, text, why):
    path = file(tmp_path, "kafka.yaml", text)

    assert file_refusal(path) == f"CONFIGURATION_FILE: {path}: {why}"


@pytest.mark.parametrize(
    "line",
    [
        f'sasl.password: "{SECRET}',
        f"sasl.password: *{SECRET}",
        f"sasl.password: %{SECRET}",
        f"sasl.password: a: {SECRET}",
        f"sasl.password:{SECRET}",
        f"sasl.password {SECRET}",
        f"sasl.password: [{SECRET}]",
        f"sasl.password: {{{SECRET}: 1}}",
        f"sasl.password: @{SECRET}",
        f"sasl.password: !!python/object/apply:os.system ['{SECRET}']",
    ],
)
def test_a_mistake_in_a_yaml_file_does_not_show_the_password(tmp_path, line):
    path = file(tmp_path, "kafka.yaml", f"kafka:\n  common:\n    configuration:\n      {line}\n")
    found = file_refusal(path)

    assert SECRET not in found
    assert found.startswith(f"CONFIGURATION_FILE: {path}")


def test_a_mistake_in_a_yaml_file_is_shown_by_line_and_column(tmp_path):
    path = file(tmp_path, "kafka.yaml", "kafka:\n  common: @\n")

    assert file_refusal(path) == f"CONFIGURATION_FILE: {path}:2:11: not YAML; quote values with special characters"


def test_a_mistake_in_a_properties_file_does_not_show_the_password(tmp_path):
    assert SECRET not in file_refusal(file(tmp_path, "kafka.config", f"sasl.password {SECRET}"))


def test_a_yaml_bomb_of_brackets_is_refused(tmp_path):
    assert "not YAML" in file_refusal(file(tmp_path, "kafka.yaml", "[" * 100_000))


def test_a_file_that_cannot_be_read_is_refused_by_name(tmp_path):
    missing = tmp_path / "missing.yaml"
    binary = tmp_path / "binary.config"
    binary.write_bytes(b"a=\xff\xfe")

    assert file_refusal(missing) == f"CONFIGURATION_FILE: {missing} cannot be read: No such file or directory"
    assert file_refusal(tmp_path) == f"CONFIGURATION_FILE: {tmp_path} cannot be read: Is a directory"
    assert file_refusal(binary) == f"CONFIGURATION_FILE: {binary} cannot be read: it is not UTF-8"


def test_every_setting_is_described_for_the_help():
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []
