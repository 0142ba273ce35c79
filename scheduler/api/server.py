"""Serves the API on a thread of its own."""

from __future__ import annotations

import logging
import socket
import threading
from typing import TYPE_CHECKING

import uvicorn

from scheduler.api.app import make_app
from scheduler.errors import ConfigurationError
from scheduler.runtime.logs import fields
from scheduler.runtime.settings import Address

if TYPE_CHECKING:
    from scheduler.api.replica import Replica

log = logging.getLogger("scheduler.api")


class ApiServer:
    """Listens from its construction on."""

    def __init__(self, scheduler: Replica, address: Address) -> None:
        """Listen at once.

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
        self.address = Address(address.host, self._socket.getsockname()[1])
        app = make_app(scheduler, str(self.address))
        self._server = uvicorn.Server(
            uvicorn.Config(app, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=1)
        )
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [self._socket]}, name="api", daemon=True
        )
        self._thread.start()
        log.info("api", extra=fields(address=f"http://{self.address}"))

    def close(self) -> None:
        """Stop listening; requests under way get a second."""
        self._server.should_exit = True
        self._thread.join()
        self._socket.close()
