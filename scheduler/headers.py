"""Takes the headers out of a message of the client, which crashes the interpreter where that is done plainly."""

from __future__ import annotations

from operator import methodcaller
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from confluent_kafka import Message

    from scheduler.schedule import Header

_headers = methodcaller("headers")


def read_headers(message: Message) -> list[Header]:
    """The headers of a record, as a customer wrote them; to be asked for once for each message.

    A name that is not UTF-8 makes the client set an error and return a list with a hole in it all the same. Called
    as `message.headers()`, an interpreter that has seen the call a few times takes the list, and crashes when it is
    looked at; called by way of another C function it always notices the error. A second call would not.

    Raises:
        UnicodeDecodeError: a name is not UTF-8.
    """
    try:
        return _headers(message) or []
    except SystemError as error:
        cause: BaseException | None = error
        while cause is not None:  # several such names make a chain of them
            if isinstance(cause, UnicodeDecodeError):
                raise cause from None
            cause = cause.__cause__
        raise
