"""Questions to the coordinator of a consumer group, by a client that is given up where no answer comes in time.

The client library ends the process by an assertion (librdkafka 2.16, its issue 4605) where such a request times out
while its coordinator is still looked for, and is found afterwards: a frozen coordinator would end every replica. And
a client that has lived through an outage was seen to time out for minutes afterwards. So the library is told to wait
for as long as it can, the waiting is done here, and a client that did not answer is dropped with all that it had begun.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, TypeVar

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from scheduler.runtime.kafka import Conf

Answer = TypeVar("Answer")

LONGEST_SECONDS = 3600.0
"""As `request_timeout`; the library takes no more."""
PATIENCE = 2
"""Silences in a row after which it is waited for longer."""
_UNANSWERED = {KafkaError._TIMED_OUT, KafkaError._TRANSPORT}  # noqa: SLF001 - librdkafka's public codes


class CoordinatorClient:
    """Asks from any thread."""

    def __init__(self, conf: Conf) -> None:
        self._conf = conf
        self._admin: AdminClient | None = None
        self._silences = 0
        """Questions in a row that got no answer."""
        self._lock = threading.Lock()

    def close(self) -> None:
        """Drop the connections; what is asked all the same makes new ones."""
        with self._lock:
            self._admin = None

    def ask(self, question: Callable[[AdminClient], Future[Answer]], seconds: float) -> Answer:
        """Ask, and wait for the answer.

        Args:
            question: hands the request to a client, with `request_timeout=LONGEST_SECONDS`.
            seconds: how long to wait; twice as long where several were not answered, for a new client has to find
                its way first. Not from the second one on: asked while its broker is lost, a client is told of that one
                and waits for it, and only the next client is told who has become the coordinator.

        Raises:
            KafkaException: the answer is an error, or does not come in time.
        """
        with self._lock:
            admin = self._admin = self._admin or AdminClient(self._conf)
            patience = seconds if self._silences < PATIENCE else 2 * seconds
        try:
            answer = question(admin).result(patience)
        except TimeoutError:
            error = KafkaError(KafkaError._TIMED_OUT)  # noqa: SLF001 - librdkafka's public code
        except KafkaException as failure:
            error = failure.args[0]
        else:
            self._silences = 0
            return answer
        if error.code() in _UNANSWERED:
            with self._lock:
                if self._admin is admin:
                    self._admin = None
                    self._silences += 1
        raise KafkaException(error)
