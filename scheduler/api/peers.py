"""Requests to the other replicas, over HTTP; a request that was passed on is never passed on again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
from pydantic import BaseModel, ValidationError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TypeVar

    from scheduler.api.directory import Peer
    from scheduler.runtime.settings import Settings

    Model = TypeVar("Model", bound=BaseModel)

HOP = "Scheduler-Hop"
"""The header of a request that another replica has passed on: answer for yourself alone."""
CONNECT_SECONDS = 1.0
READ_SECONDS = 5.0
CHANGE_SECONDS = 20.0
"""More than the replica that makes a change waits itself, so that its own answer arrives."""


class PeerError(Exception):
    """A replica has not answered; a sentence that says why."""

    def __init__(self, why: str, *, nothing_happened: bool = True) -> None:
        super().__init__(why)
        self.nothing_happened = nothing_happened


class Peers:
    """One pool of connections for all of them; used on one event loop."""

    def __init__(self, settings: Settings, own: str, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._own = own
        self._transport = transport
        self._client: httpx.AsyncClient | None = None
        token = settings.api_token.get_secret_value()
        self._headers = {HOP: "1"} | ({"Authorization": f"Bearer {token}"} if token else {})

    async def get(self, peer: Peer, path: str, params: Mapping[str, Any], model: type[Model]) -> Model:
        """What the replica answers for itself.

        Raises:
            PeerError: it does not, or refuses.
        """
        answer = await self.send(peer, "GET", path, params)
        if answer.status_code != httpx.codes.OK:
            raise PeerError(f"{peer.address} answers with {answer.status_code}: {_detail(answer)}")
        try:
            return model.model_validate_json(answer.content)
        except ValidationError as error:
            raise PeerError(f"{peer.address} answers what this version cannot read") from error

    async def send(
        self, peer: Peer, method: str, path: str, params: Mapping[str, Any], content: bytes = b""
    ) -> httpx.Response:
        """Pass a request on.

        Raises:
            PeerError: it does not answer, or does not take this replica's word.
        """
        address = peer.address
        if address is None:
            raise PeerError(f"{peer.client_id} serves no API (SERVER_ADDR=off), or is no scheduler")
        if str(address) == self._own:
            raise PeerError(f"{peer.client_id} gives this replica's own address: give each its own ADVERTISED_ADDR")
        reading = method == "GET"
        seconds = READ_SECONDS if reading else CHANGE_SECONDS
        headers = {**self._headers, "Content-Type": "application/json"} if content else self._headers
        try:
            answer = await self._pool().request(
                method,
                f"http://{address}{path}",
                params=params,
                content=content,
                headers=headers,
                timeout=httpx.Timeout(seconds, connect=CONNECT_SECONDS),
            )
        except httpx.TransportError as error:
            never_sent = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout)
            why = f"{address} does not answer ({type(error).__name__}); is its ADVERTISED_ADDR right?"
            raise PeerError(why, nothing_happened=reading or never_sent) from error
        if answer.status_code == httpx.codes.UNAUTHORIZED:
            raise PeerError(f"{address} does not take this replica's API_TOKEN: give all replicas the same")
        return answer

    def _pool(self) -> httpx.AsyncClient:
        if self._client is None:
            # the environment's proxies are for the world outside
            self._client = httpx.AsyncClient(transport=self._transport, trust_env=False, follow_redirects=False)
        return self._client

    async def close(self) -> None:
        """Close the connections."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()


def _detail(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["detail"])[:200]
    except (ValueError, KeyError, TypeError):
        return answer.reason_phrase
