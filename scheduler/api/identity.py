"""How replicas find each other: the `client.id` of a member of the group says where its API answers."""

from __future__ import annotations

from scheduler.runtime.settings import Address, parse_address

_PREFIX = "scheduler@"


def client_id(address: Address) -> str:
    """`scheduler@host:port`, for a replica whose API answers there."""
    return f"{_PREFIX}{address}"


def api_address(member: str) -> Address | None:
    """Where the member with this `client.id` answers; None for one that serves no API."""
    if not member.startswith(_PREFIX):
        return None
    address = parse_address(member.removeprefix(_PREFIX))
    return address if address is not None and address.port else None
