"""What answers teach of limits: what the provider says is left, and what its refusals suggest.

A reading (of rate-limit headers) lowers a meter to what the provider says is left, less what
was admitted after that request and not yet answered. The smallest reading stands until its
reset. Where all is back only a window after the last request, the provider's window slides as
the ring does: what it counts more than the ring goes into the ring, as taken by others, and our
own comes back as it was taken. A limit stated with it holds beside the configured one. What
makes no sense is ignored.

A refusal without readings, where no limit is known, gives a guess: a share of what went in
the last window. It grows by equal steps and is dropped when it has outgrown what it came
from. Fields of a bucket: ``guess_from``, the guess as it was made; ``guessed_at``; and
``guess_mark``, the requests admitted until then: their refusals are the same refusal.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from .bucket import Bucket, BucketSpec, Reservation
from .meter import REQUESTS, Meter

LONGEST_RESET_SECONDS = 25 * 3_600.0  # the longest day; a header that says more is not believed
LARGEST_AMOUNT = 1e15
SLIDING = 0.9  # windows: one that is back so late after a request slides, as the ring does
LATE_RESET = 1.1  # windows: a limit that takes longer to come back is not one per window

GUESS_SHARE = 0.7
GUESS_STEP = 0.05  # of what went when it was refused, per window
GUESS_ENDS = 2.0  # times what went when it was refused
FEWEST_TO_GUESS = 10  # requests in a window; below that a cooldown does as well


class Reading(NamedTuple):
    """One limit as an answer states it. ``kind``: of meter; None: not stated. A limit per day
    is a reading of the same kind with a late reset.
    """

    kind: int
    remaining: float | None = None
    limit: float | None = None
    reset_seconds: float | None = None


def of_scope(
    readings: Sequence[Reading], scope: str, window_seconds: float, day_seconds: float
) -> Sequence[Reading]:
    """What the readings say of a ``minute``'s limits or a ``day``'s, whatever their resets say
    (``auto``: as those say). ``day_seconds``: until the provider's day ends.
    """
    if scope == "auto":
        return readings
    if scope == "day":
        return [each._replace(limit=None, reset_seconds=day_seconds) for each in readings]
    return [each._replace(reset_seconds=_within(window_seconds, each)) for each in readings]


def _within(window_seconds: float, reading: Reading) -> float:
    stated = reading.reset_seconds
    return window_seconds if stated is None else min(stated, window_seconds)


def observe(
    bucket: Bucket, reservation: Reservation, readings: Sequence[Reading], now: float
) -> None:
    """Heeds what the answer to the reservation's request says. Never raises. Where the answer
    is whole, ``settle`` comes first: what it corrects is in the reading already.
    """
    at = bucket.tick(now)
    for reading in readings:
        reset = _reset_seconds(reading, bucket.spec)
        if reset is None:
            continue
        meter = bucket.meter(reading.kind)
        limit = reading.limit
        is_per_window = reset <= LATE_RESET * meter.window
        if limit is not None and 1.0 <= limit < LARGEST_AMOUNT and is_per_window:
            meter.told = float(limit)
            meter.rate()
        remaining = reading.remaining
        if remaining is not None and 0.0 <= remaining < LARGEST_AMOUNT:
            left = remaining - _on_their_way(bucket, reservation, meter.kind)
            if is_per_window and reset >= SLIDING * meter.window and meter.limit < math.inf:
                # What came back while the answer was on its way is not in it yet.
                seconds = at - reservation.at + 1 / meter.per_second
                meter.note_left(left + seconds / meter.pace, at)
            else:
                _lower(meter, left, at + reset, at)


def _reset_seconds(reading: Reading, spec: BucketSpec) -> float | None:
    """Until when the reading holds; a window where it does not say. None: nonsense."""
    reset = spec.window_seconds if reading.reset_seconds is None else reading.reset_seconds
    return reset if 0.0 <= reset <= LONGEST_RESET_SECONDS else None


def _lower(meter: Meter, left: float, until: float, at: float) -> None:
    if meter.left_until > at:
        ours, theirs = max(meter.left, 0.0), max(left, 0.0)
        if theirs > ours:
            return
        if theirs == ours:
            left, until = min(left, meter.left), max(until, meter.left_until)
    meter.left, meter.left_until = left, until


def _on_their_way(bucket: Bucket, reservation: Reservation, kind: int) -> float:
    """What was admitted after the reservation and is not yet answered. Of tokens, and of
    requests that were answered out of order, the store knows the sum only: the unanswered
    are taken to be the newest, and of the mean size.
    """
    requests, inputs, outputs = (
        now - then for now, then in zip(bucket.admitted, reservation.mark, strict=True)
    )
    if not requests:
        return 0.0
    is_open = not reservation.is_settled and reservation.generation >= bucket.generation - 1
    unanswered = min(requests, bucket.open + bucket.opened_before - is_open)
    return unanswered / requests * (requests, inputs + outputs, inputs, outputs)[kind]


def learn(bucket: Bucket, spec: BucketSpec, reservation: Reservation, now: float) -> bool:
    """The reservation's request was refused, and no reading said why. True: the guess fell."""
    if not spec.learns or spec.rpm is not None or reservation.mark[0] <= bucket.guess_mark:
        return False
    at = bucket.tick(now)
    recover(bucket, at)
    meter = bucket.meter(REQUESTS)
    taken = min(meter.taken(at), meter.guess)
    if taken < FEWEST_TO_GUESS or meter.told < math.inf:
        return False
    bucket.guess_from, bucket.guessed_at = GUESS_SHARE * taken, at
    bucket.guess_mark = bucket.admitted[0]
    recover(bucket, at)
    return True


def recover(bucket: Bucket, at: float) -> None:
    """Sets the guess to what it has grown to at ``at``."""
    if bucket.guessed_at == math.inf:
        return
    meter = bucket.meter(REQUESTS)
    windows = (at - bucket.guessed_at) / meter.window
    peak = bucket.guess_from / GUESS_SHARE
    guess = bucket.guess_from + GUESS_STEP * peak * windows
    if guess >= GUESS_ENDS * peak:
        guess = bucket.guess_from = bucket.guessed_at = math.inf
    meter.guess = guess
    meter.rate()
