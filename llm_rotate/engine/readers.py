"""Secrets that may take their time are read off the loop."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Executor, Future
from functools import partial
from threading import Thread
from typing import Any, ParamSpec, TypeVar

from ..secrets import SecretError

P = ParamSpec("P")
T = TypeVar("T")


class TooSlowError(SecretError):
    """It may come yet: asking again at once would wait as long."""


class Readers(Executor):
    """A daemon thread per read: one that hangs keeps neither others nor the exit waiting. Who
    asks for what is being read at the moment gets the same answer.
    """

    def __init__(self) -> None:
        self._under_way: dict[object, Future[Any]] = {}

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        place = (os.getpid(), fn, args, *kwargs.items())  # a fork has none of its parent's threads
        future: Future[T] | None = self._under_way.get(place)
        if future is None:
            self._under_way[place] = future = Future()
            future.set_running_or_notify_cancel()  # who goes away leaves it to the others
            future.add_done_callback(lambda _: self._under_way.pop(place, None))
            work = partial(_read, future, partial(fn, *args, **kwargs))
            try:
                Thread(target=work, name="llm_rotate secret", daemon=True).start()
            except RuntimeError as error:  # no more threads now; the next who asks tries again
                future.set_exception(SecretError(f"nothing reads it: {error}"))
        return future


def _read(future: Future[T], fn: Callable[[], T]) -> None:
    try:
        future.set_result(fn())
    except BaseException as error:
        future.set_exception(error)
