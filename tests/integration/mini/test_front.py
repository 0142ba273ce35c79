"""What stands before the embedded broker: where clients find it, and whom it hangs up on."""

from __future__ import annotations

import gc
import socket
import struct
import threading
import warnings
from contextlib import suppress

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from scheduler.broker.embedded import EmbeddedBroker
from scheduler.errors import ConfigurationError
from scheduler.mini.front import Front
from scheduler.mini.protocol import API_VERSIONS, JOIN_GROUP, PRODUCE, SYNC_GROUP
from scheduler.runtime.settings import Address

NEW_YEAR = 1_893_456_000_000
HERE = Address("127.0.0.1", 0)


@pytest.fixture(scope="module")
def front():
    with EmbeddedBroker() as broker:
        host, _, port = broker.bootstrap_servers.rpartition(":")
        front = Front(Address(host, int(port)), lambda: NEW_YEAR)
        yield front
        front.close()
        front.close()


def free_port():
    with socket.socket() as probe:
        probe.bind(HERE)
        return probe.getsockname()[1]


def round_trip(servers, topic):
    """Write and read a record; the client that wrote it."""
    producer = Producer({"bootstrap.servers": servers, "broker.address.family": "v4"})
    producer.produce(topic, b"x", partition=0)
    assert producer.flush(30) == 0
    consumer = Consumer({"bootstrap.servers": servers, "group.id": "any", "broker.address.family": "v4"})
    consumer.assign([TopicPartition(topic, 0, 0)])
    message = consumer.poll(30)
    consumer.close()
    assert (message.value(), message.timestamp()[1]) == (b"x", NEW_YEAR)
    return producer


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1"])
def test_clients_find_it_at_the_port_and_by_the_name_that_were_chosen(front, name):
    port = free_port()

    told = front.listen(Address("127.0.0.1", port), Address(name, port))

    assert told == Address(name, port)
    brokers = round_trip(str(told), f"found-at-{name}").list_topics(timeout=30).brokers.values()
    assert [(broker.host, broker.port) for broker in brokers] == [(name, port)], "and nowhere else"


def test_a_free_port_is_chosen_and_told(front):
    told = front.listen(HERE)

    assert told.port != 0
    round_trip(str(told), "free")


def test_a_port_that_is_taken_is_named(front):
    told = front.listen(HERE)

    with pytest.raises(ConfigurationError, match=rf"--port: cannot listen on 127.0.0.1:{told.port}.*choose another"):
        front.listen(told)


@pytest.mark.parametrize(
    "said",
    [
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"\x00\x00\x00\x00",
        b"\xff\xff\xff\xff",
        b"\x00\x00\x00\x08\x00\x00\x00\x09\x00\x00\x00\x01",  # a produce request that ends too soon
        b"\x00\x00\x00\x40\x00",  # half a message
    ],
)
def test_who_speaks_otherwise_is_hung_up_on_and_nobody_else(front, said):
    told = front.listen(HERE)
    with socket.create_connection(told, timeout=30) as stranger:
        stranger.sendall(said)
        stranger.shutdown(socket.SHUT_WR)
        assert stranger.recv(1) == b""

    round_trip(str(told), "strangers")


def test_the_answer_to_a_request_without_acknowledgement_is_not_waited_for(front):
    servers = str(front.listen(HERE))
    producer = Producer({"bootstrap.servers": servers, "acks": 0})
    for _ in range(3):
        producer.produce("unacknowledged", b"x", partition=0)
        assert producer.flush(30) == 0
    consumer = Consumer({"bootstrap.servers": servers, "group.id": "any"})
    consumer.assign([TopicPartition("unacknowledged", 0, 0)])

    assert [consumer.poll(30).value() for _ in range(3)] == [b"x"] * 3
    consumer.close()


def asked(front, kind, version, body=b""):
    """The answer to a request, as it is on the wire, behind its correlation."""
    with socket.create_connection(front.listen(HERE), timeout=30) as client:
        request = struct.pack(">hhi", kind, version, 17) + struct.pack(">h", -1) + body
        client.sendall(struct.pack(">i", len(request)) + request)
        stream = client.makefile("rb")
        (length,) = struct.unpack(">i", stream.read(4))
        answer = stream.read(length)
    assert answer[:4] == struct.pack(">i", 17)
    return answer[4:]


def test_a_client_that_is_newer_than_the_broker_is_told_what_that_knows(front):
    """Otherwise a Java client waits for twenty minutes."""
    newest = b"\x00" + b"\x05java" + b"\x044.3" + b"\x00"

    assert asked(front, API_VERSIONS, 4, newest) == struct.pack(">hihhh", 35, 1, API_VERSIONS, 0, 2)


def test_it_does_not_say_that_it_knows_what_makes_it_hang_up(front):
    """On a Java client that joins a group."""
    answer = asked(front, API_VERSIONS, 0)

    error, count = struct.unpack_from(">hi", answer)
    known = {kind: (least, most) for kind, least, most in struct.iter_unpack(">hhh", answer[6 : 6 + 6 * count])}
    assert error == 0
    assert known[JOIN_GROUP] == (0, 5)
    assert known[SYNC_GROUP] == (0, 3)
    assert known[PRODUCE][1] >= 10, "and nothing else is kept from anybody"


def test_nothing_is_left_of_clients_that_come_while_it_closes():
    arrived = threading.Event()
    clients: list[socket.socket] = []

    def come(address: Address) -> None:
        with suppress(OSError):
            for _ in range(20):
                clients.append(socket.create_connection(address))
                arrived.set()

    with warnings.catch_warnings(record=True) as left, socket.create_server(HERE) as broker:
        warnings.simplefilter("always")
        for _ in range(20):
            arrived.clear()
            front = Front(Address(*broker.getsockname()), lambda: NEW_YEAR)
            coming = threading.Thread(target=come, args=[front.listen(HERE)])
            coming.start()
            arrived.wait()
            front.close()
            coming.join()
        del front
        gc.collect()
        for client in clients:
            client.close()

    assert [str(warning.message) for warning in left] == []
