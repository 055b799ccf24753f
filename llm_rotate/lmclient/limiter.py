"""A rate limiter by itself, for requests that something else sends."""

from __future__ import annotations

import itertools
import math
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ..core.bucket import Bucket, BucketSpec, Reservation, Tokens
from ..core.learned import observe, of_scope
from ..core.limits import exceeded, reserve, settle, turn_day, wait_seconds
from ..core.pool import LEASE_SECONDS
from ..core.wire import Headers
from ..engine.bell import Bell
from ..engine.clock import Clock, RealClock
from ..engine.portal import PORTAL
from ..engine.queue import Place, Queue
from ..engine.quotas import days_of
from ..errors import RequestTooLargeError
from ..providers.limit_headers import OPENAI_LIMITS, readings_in

Scope = Literal["minute", "day", "auto"]


@dataclass(slots=True, eq=False)
class RateLimiterAcquisitionHandle:
    """Leave to send one request; give it back to ``adjust``."""

    estimated_tokens: int
    reservation: Reservation = field(repr=False)


class RateLimiter:
    """The pool's limiter, standing alone: ``await acquire(tokens)`` before each request,
    ``await adjust(handle, tokens)`` after it.

    Requests and tokens per minute and per day; None is no limit. Days end at midnight UTC.
    ``max_request_burst``, ``max_token_burst``: what may go at once, by default what 5 seconds
    bring (three requests at least). ``header_bucket_scope``: whether rate-limit headers speak
    of a minute or of a day; "auto": as their resets say. Calls go in the order in which they
    came, from any thread and any loop.
    """

    def __init__(  # noqa: PLR0913 - the reference's own
        self,
        requests_per_minute: int | None = None,
        tokens_per_minute: int | None = None,
        requests_per_day: int | None = None,
        tokens_per_day: int | None = None,
        max_request_burst: int | None = None,
        max_token_burst: int | None = None,
        header_bucket_scope: Scope = "auto",
        *,
        clock: Clock | None = None,
    ) -> None:
        self._spec = BucketSpec(
            "limiter",
            rpm=requests_per_minute,
            tpm=tokens_per_minute,
            rpd=requests_per_day,
            tpd=tokens_per_day,
            request_burst=max_request_burst,
            token_burst=max_token_burst,
        )
        self._scope = header_bucket_scope
        self._clock = clock or RealClock()
        self._resets = days_of("UTC", self._clock)
        self._bucket = Bucket(self._spec)
        self._queue = Queue()
        self._bell = Bell()
        self._ids = itertools.count(1)
        self._lock = threading.Lock()

    async def acquire(self, estimated_tokens: int = 0) -> RateLimiterAcquisitionHandle:
        """Waits its turn and until there is room for one request of so many tokens.

        Raises RequestTooLargeError for one that is larger than a limit itself.
        """
        cost = Tokens(estimated_tokens)
        limit = exceeded(self._spec, cost)
        if limit is not None:
            raise RequestTooLargeError(
                f"{estimated_tokens} tokens are more than the limiter's {limit} ever holds"
            )
        number = next(self._ids)
        place = self._queue.join(number, cost)
        try:
            while not self._queue.is_first(place):
                await self._queue.turn(place, self._clock, math.inf)
            return await self._admitted(place, cost)
        finally:
            self._queue.leave(place)

    async def _admitted(self, place: Place, cost: Tokens) -> RateLimiterAcquisitionHandle:
        while True:
            epoch = self._bell.epoch
            with self._lock:
                now = self._clock.now()
                if self._spec.has_day:
                    turn_day(self._bucket, self._resets(now), now)
                seconds = wait_seconds(self._bucket, self._spec, cost, now)
                if not seconds:
                    made = reserve(self._bucket, self._spec, place.number, cost, now, LEASE_SECONDS)
                    return RateLimiterAcquisitionHandle(cost.input, made)
            await self._bell.wait(self._clock, seconds, epoch)

    async def adjust(
        self,
        handle: RateLimiterAcquisitionHandle,
        actual_tokens: int,
        response_headers: Mapping[str, Any] | None = None,
    ) -> None:
        """Corrects what was reserved to what was used, and heeds the answer's
        ``x-ratelimit-*`` headers. Acts once per handle; nonsense in headers is ignored.
        """
        with self._lock:
            now = self._clock.now()
            settle(self._bucket, handle.reservation, Tokens(actual_tokens), now)
            readings = readings_in(OPENAI_LIMITS, _headers(response_headers), self._clock.wall())
            if readings:
                day = self._resets(now)[0] - now
                told = of_scope(readings, self._scope, self._spec.window_seconds, day)
                observe(self._bucket, handle.reservation, told, now)
        self._bell.ring()

    def acquire_sync(self, estimated_tokens: int = 0) -> RateLimiterAcquisitionHandle:
        """:meth:`acquire` for code without a loop."""
        return PORTAL.run(lambda: self.acquire(estimated_tokens))

    def adjust_sync(
        self,
        handle: RateLimiterAcquisitionHandle,
        actual_tokens: int,
        response_headers: Mapping[str, Any] | None = None,
    ) -> None:
        """:meth:`adjust` for code without a loop."""
        PORTAL.run(lambda: self.adjust(handle, actual_tokens, response_headers))


def _headers(given: Mapping[str, Any] | None) -> Headers:
    pairs = (given or {}).items()
    return Headers([(str(name).encode(), str(value).encode()) for name, value in pairs])
