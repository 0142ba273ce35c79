"""The routes of etf1's scheduler, as its admin server reads them, and what an orchestrator asks."""

from __future__ import annotations

import base64
import socket
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Response, status

from scheduler.engine.life import State
from scheduler.schedule import display

if TYPE_CHECKING:
    from scheduler.api.replica import Replica
    from scheduler.schedule import Schedule


READ_SECONDS = 60.0
"""For all of a partition that is not in memory."""


def routes(replica: Replica, address: str) -> APIRouter:
    """What one replica answers for itself."""
    router = APIRouter(tags=["this replica"])
    settings = replica.settings

    @router.get("/liveness", responses={503: {"description": "a call of the Kafka client does not return"}})
    def liveness(response: Response) -> dict[str, Any]:
        """The process answers, and none of its threads is stuck; 503 where only a restart is sure to help."""
        stuck = replica.stuck
        if stuck:
            response.status_code = status.HTTP_503_SERVICE_UNAVAILABLE
            return {"status": "stuck", "calls": stuck}
        return {"status": "alive"}

    @router.get("/readiness", responses={503: {"description": "not yet"}})
    def readiness(response: Response) -> dict[str, Any]:
        """Every partition that this replica owns is restored; 503 until then, and before it has joined."""
        states = {f"{topic}/{partition}": s.state.value for (topic, partition), s in replica.standings().items()}
        ready = replica.joined and all(state == State.RUNNING for state in states.values())
        if not ready:
            response.status_code = status.HTTP_503_SERVICE_UNAVAILABLE
        return {"ready": ready, "partitions": states}

    @router.get("/info")
    def info() -> dict[str, Any]:
        """Who this replica is and what it reads."""
        hostname = socket.gethostname()
        # for the admin page, which has no sign of a decoder where none is set
        decoder = {"payload_decoder": True} if settings.payload_decoder_url.get_secret_value() else {}
        return {
            "hostname": hostname,
            "address": _addresses(hostname),
            "server_address": address,
            "kafka": {
                "bootstrap_servers": settings.bootstrap_servers,
                "topics": settings.schedules_topics,
                "history_topic": settings.history_topic,
            },
            **decoder,
        }

    @router.get("/schedules")
    def schedules() -> list[dict[str, Any]]:
        """What is pending in the partitions of this replica."""
        found = []
        for where, owner in replica.owners().items():
            pending = owner.engine.pending
            far = [version.offset for version in pending.far()]
            there = [*pending, *(replica.read_again(where, far, READ_SECONDS) if far else ())]
            found += [_shown(where[0], schedule) for schedule in there]
        return found

    return router


def _shown(topic: str, schedule: Schedule) -> dict[str, Any]:
    return {
        "id": schedule.schedule_id,
        "epoch": schedule.due_ms // 1000,
        "timestamp": schedule.timestamp_ms // 1000,
        "topic": topic,
        "target-topic": schedule.target_topic,
        "target-key": display(schedule.target_key),
        "value": base64.b64encode(schedule.value).decode("ascii"),
    }


def _addresses(hostname: str) -> list[str]:
    try:
        return sorted({str(entry[4][0]) for entry in socket.getaddrinfo(hostname, None)})
    except OSError:
        return []  # a host that cannot resolve itself has no address to show
