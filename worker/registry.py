"""Python functions that a worker calls by name, and what holds for each: attempts, backoff, timeout, order, hooks."""

from __future__ import annotations

import functools
import inspect
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ArgsKwargs

from scheduler.errors import InputError
from scheduler.job import Retry, describe_validation
from worker.context import seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import timedelta

    from scheduler.job import Job
    from worker.context import JobContext

    OnSuccess = Callable[[JobContext, Any], object]
    OnFailure = Callable[[JobContext, "Failure"], object]

P = ParamSpec("P")
R = TypeVar("R")

ARGUMENTS_SHOWN = 500


@dataclass(frozen=True, slots=True)
class Failure:
    """An attempt that failed, as a failure hook is told of it."""

    error: str
    """`ValueError: no such customer`."""
    traceback: str
    last: bool
    """No other attempt follows: the job is a dead letter."""


@dataclass(frozen=True, slots=True, eq=False)
class Handler:
    """A registered function."""

    name: str
    function: Callable[..., Any]
    stated: Mapping[str, Any]
    """Fields of the job that the registration fills in where its sender said nothing."""
    fifo: bool = False
    process: bool = False
    on_success: OnSuccess | None = None
    on_failure: OnFailure | None = None
    retry_on: tuple[type[BaseException], ...] = (Exception,)
    never_on: tuple[type[BaseException], ...] = ()
    coroutine: bool = False
    _arguments: TypeAdapter[Any] = field(repr=False, kw_only=True)

    def arguments(self, args: Sequence[Any], keywords: Mapping[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments as its signature has them.

        Raises:
            InputError: they do not fit; the message names each that does not.
        """
        try:
            return self._arguments.validator.validate_python(ArgsKwargs(tuple(args), dict(keywords)))  # type: ignore[no-any-return]
        except ValidationError as error:
            told = describe_validation(error)[:ARGUMENTS_SHOWN]
            # annotations that are evaluated late are texts
            signature = str(inspect.signature(self.function)).replace("'", "")
            raise InputError(f"arguments of {self.name}{signature}: {told}") from None
        except Exception as error:  # of a validator of the customer's
            raise InputError(f"arguments of {self.name}: {type(error).__name__}: {error}") from error

    def complete(self, job: Job) -> Job:
        """Write into the job what its sender left to the registration.

        Raises:
            InputError: it has a timeout that cannot be kept.
        """
        if job.timeout_seconds is not None and not (self.process or self.coroutine):
            raise InputError(f"timeout_seconds: {_NO_TIMEOUT.format(self.name)}")
        told = job.model_fields_set
        stated = self.stated
        job.fill_in(stated if told.isdisjoint(stated) else {n: stated[n] for n in stated if n not in told})
        return job


_NO_TIMEOUT = "{} runs in a thread, which nothing can end; register it with process=True, or as a coroutine function"


class Registry:
    """Handlers by name.

    ```python
    from worker import Registry

    jobs = Registry()

    @jobs.register("Add", retries=3)
    def add(x: int, y: int) -> int:
        return x + y
    ```
    """

    def __init__(self) -> None:
        self._handlers: dict[str, Handler] = {}

    def register(
        self,
        name: str | None = None,
        *,
        retries: int = 0,
        backoff: Retry | None = None,
        timeout: str | float | timedelta | None = None,
        fifo: bool = False,
        process: bool = False,
        retry_on: Sequence[type[BaseException]] = (Exception,),
        never_on: Sequence[type[BaseException]] = (),
        on_success: OnSuccess | None = None,
        on_failure: OnFailure | None = None,
        then: str | Sequence[str] = (),
    ) -> Callable[[Callable[P, R]], Callable[P, R]]:
        """Register the function below, and leave it as it is: it may still be called.

        Args:
            name: what jobs call it; the function's own name without it.
            retries: attempts after the first.
            backoff: the delays between them; 10 s, doubled each time, at most an hour, without it.
            timeout: seconds, a timedelta or `30s`: a process is killed, a coroutine is cancelled, a thread has none.
            fifo: one at a time, in the order in which they were enqueued.
            process: call it in another process instead of a thread.
            retry_on: only these exceptions are retried.
            never_on: these are not.
            on_success: called in the worker with the context and what the function returned.
            on_failure: called in the worker with the context and the failure.
            then: handlers to call afterwards, each with what the one before returned.

        Raises:
            InputError: the name is taken, or two of these do not go together.
        """

        def add(function: Callable[P, R]) -> Callable[P, R]:
            called = name or str(getattr(function, "__name__", ""))
            stated: dict[str, Any] = {
                "max_attempts": retries + 1,
                "retry": backoff or Retry(),
                "timeout_seconds": None if timeout is None else seconds(timeout),
                "chain": (then,) if isinstance(then, str) else tuple(then),
            }
            handler = Handler(
                called,
                function,
                stated,
                fifo=fifo,
                process=process,
                on_success=on_success,
                on_failure=on_failure,
                retry_on=tuple(retry_on),
                never_on=tuple(never_on),
                coroutine=inspect.iscoroutinefunction(function),
                _arguments=_checker(called, function),
            )
            _check(handler, taken=called in self._handlers)
            self._handlers[called] = handler
            return function

        return add

    def find(self, name: str | None) -> Handler:
        """The handler of that name.

        Raises:
            InputError: there is none.
        """
        handler = self._handlers.get(name or "")
        if handler is None:
            known = ", ".join(sorted(self._handlers)) or "none"
            raise InputError(f"handler: {name!r} is not registered; there are: {known}")
        return handler

    def __contains__(self, name: object) -> bool:
        return name in self._handlers


def _checker(name: str, function: Callable[..., Any]) -> TypeAdapter[Any]:
    @functools.wraps(function)
    def take(*args: Any, **keywords: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return args, keywords

    try:
        checked: Any = take  # pydantic takes functions, its hints do not
        return TypeAdapter(checked)
    except Exception as error:  # pydantic's errors here have no base of their own
        raise InputError(f"{name}: its signature cannot be checked: {error}") from error


def _check(handler: Handler, *, taken: bool) -> None:
    name, function, timeout = handler.name, handler.function, handler.stated["timeout_seconds"]
    hooks = (handler.on_success, handler.on_failure)
    attempts = handler.stated["max_attempts"]
    if taken:
        raise InputError(f"{name}: is registered already")
    if not 1 <= len(name) <= 249:  # noqa: PLR2004 - as in the job message
        raise InputError(f"{name!r} is not a name of a handler (1 to 249 characters)")
    if not 1 <= attempts <= 10_000:  # noqa: PLR2004 - likewise
        raise InputError(f"{name}: retries={attempts - 1} is not between 0 and 9999")
    if timeout is not None and not timeout > 0:
        raise InputError(f"{name}: timeout={timeout} is not more than 0")
    if timeout is not None and not (handler.process or handler.coroutine):
        raise InputError(_NO_TIMEOUT.format(name))
    if handler.process and handler.coroutine:
        raise InputError(f"{name}: process=True is for plain functions; a coroutine function runs in the event loop")
    if handler.process and ("<" in function.__qualname__):
        raise InputError(f"{name}: process=True is for functions of a module: another process cannot import this one")
    if any(inspect.iscoroutinefunction(hook) for hook in hooks) and not handler.coroutine:
        raise InputError(f"{name}: a hook that is a coroutine function is for handlers that are")
