"""Serves the API on a thread of its own."""

from __future__ import annotations

import logging
import socket
import threading
import weakref
from ipaddress import ip_address
from typing import TYPE_CHECKING

import uvicorn

from scheduler.api.app import make_app
from scheduler.errors import ConfigurationError
from scheduler.runtime.kafka import common_conf
from scheduler.runtime.logs import fields
from scheduler.runtime.settings import Address, parse_address

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastapi import APIRouter

    from scheduler.api.replica import Replica
    from scheduler.runtime.settings import Settings

_EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 - recognised, not listened on

log = logging.getLogger("scheduler.api")


class ApiServer:
    """Listens from its construction on."""

    def __init__(
        self, scheduler: Replica, address: Address, routers: Sequence[APIRouter] = (), *, anybody: bool = False
    ) -> None:
        """Listen at once.

        Args:
            scheduler: whose API it is.
            address: where to listen.
            routers: more routes.
            anybody: whether other machines may change things without a token.

        Raises:
            ConfigurationError: the address cannot be listened on.
        """
        family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._socket.bind(address)
            self._socket.listen()  # not only once the server's thread gets to it: the address is told below
        except OSError as error:
            self._socket.close()
            raise ConfigurationError(
                f"SERVER_ADDR: cannot listen on {address}: {error.strerror}; choose another, or `off`"
            ) from error
        host, port = self._socket.getsockname()[:2]
        self.address = Address(address.host, port)
        self.advertised = advertised(scheduler.settings, self.address)
        """Where other replicas find it."""
        # a proxy, because FastAPI keeps its routes in caches of the process: they would keep a replica that is closed,
        # and its connections
        replica: Replica = weakref.proxy(scheduler)
        app = make_app(
            replica,
            self.address,
            self.advertised,
            loopback=ip_address(host).is_loopback,
            routers=routers,
            anybody=anybody,
        )
        self._server = uvicorn.Server(
            uvicorn.Config(
                app, log_config=None, access_log=False, server_header=False, lifespan="on", timeout_graceful_shutdown=1
            )
        )
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [self._socket]}, name="api", daemon=True
        )
        self._thread.start()
        log.info("api", extra=fields(address=f"http://{self.address}", advertised=str(self.advertised)))

    def close(self) -> None:
        """Stop listening; requests under way get a second."""
        self._server.should_exit = True
        self._thread.join()
        self._socket.close()


def advertised(settings: Settings, listens: Address) -> Address:
    """Where other replicas find what listens here: ADVERTISED_ADDR, or where it listens.

    What listens on every interface is found where this machine reaches Kafka from.
    """
    given = parse_address(settings.advertised_addr)
    if given is not None:
        return given
    if listens.host not in _EVERYWHERE:
        return listens
    return Address(_own_host(str(common_conf(settings, "")["bootstrap.servers"])), listens.port)


def _own_host(bootstrap_servers: str) -> str:
    for server in bootstrap_servers.split(","):
        broker = parse_address(server.strip().rpartition("/")[2])
        if broker is None:
            continue
        try:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
                probe.connect(broker)  # of a datagram socket: chooses the interface, sends nothing
                return str(probe.getsockname()[0])
        except OSError:
            continue  # its name is not known yet; another may be
    return socket.gethostname()
