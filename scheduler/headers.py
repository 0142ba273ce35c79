"""Takes the headers out of a message of the client, which crashes the interpreter where that is done plainly."""

from __future__ import annotations

from operator import methodcaller
from typing import TYPE_CHECKING, Any, Final

from confluent_kafka import Message

if TYPE_CHECKING:
    from collections.abc import Iterable

    from scheduler.schedule import Header

_headers = methodcaller("headers")
UNREADABLE: Final[list[Header]] = []
"""Stands for headers that the client cannot read; told from others by identity."""


def read_all_headers(messages: Iterable[Message]) -> list[list[Header]]:
    """Those of many, and `UNREADABLE` where a name is not UTF-8; as `read_headers`, and a third faster."""
    found: list[Any] = []
    left = iter(messages)
    while True:
        try:
            # by way of `map`, which is a C function too; what it has given before an error stays in the list
            found.extend(map(Message.headers, left))
        except SystemError as error:
            if not isinstance(cause := _cause(error), UnicodeDecodeError):
                raise cause from None
            found.append(UNREADABLE)
        else:
            # a record without any has None
            return found if all(found) else [[] if headers is None else headers for headers in found]


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
        raise _cause(error) from None


def _cause(error: SystemError) -> BaseException:
    """The name that is not UTF-8, of which several make a chain; the error itself where it has another cause."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, UnicodeDecodeError):
            return cause
        cause = cause.__cause__
    return error
