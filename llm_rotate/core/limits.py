"""The one limiter: may a request go, what it takes, what it gives back.

In one atomic step a store asks ``wait_seconds`` of every bucket that a key needs and, where
each says 0.0, calls ``reserve`` on each; ``settle`` corrects later, once. Where a spec
``has_day``, ``turn_day`` comes first. Nothing here knows the time: ``now`` is seconds on the
store's clock, one for all who share a bucket. The fields are described in ``bucket`` and
``meter``.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from .bucket import Bucket, BucketSpec, LeaseId, Reservation, Tokens
from .learned import recover
from .outcome import Billing

ROUNDING_SECONDS = 1e-6  # who waits as long as told must not be early by a float's last digit
DAY_SECONDS = 86_400.0
NO_DAY = -1.0  # ends: nothing was counted of one
_AMOUNTS = ("tpm", "input_tpm", "output_tpm", "tpd", "max_cost_per_day")
_NO_AMOUNTS = (None,) * len(_AMOUNTS)
_NAMES = ("rpm", "tpm", "input_tpm", "output_tpm")


class Room(NamedTuple):
    """How a limit stands: ``taken`` of ``limit``. ``is_learned``: no configuration says so."""

    limit: float
    taken: float
    is_learned: bool = False


def words(limit: str, room: Room | None) -> str:
    """Why there is no room, by the limit's name."""
    if room is None:
        return f"{limit}: the provider says that nothing is left"
    learned = " (learned)" if room.is_learned else ""
    return f"{limit} {room.taken:g} of {room.limit:g}{learned}"


def wait_seconds(bucket: Bucket, spec: BucketSpec, cost: Tokens, now: float) -> float:
    """How long until a request of ``cost`` may go: 0.0 at once; inf never, because it is
    larger than a limit itself.
    """
    if spec is not bucket.spec:
        bucket.refit(spec, now)
    free = at = bucket.tick(now)
    if bucket.guessed_at < math.inf:
        recover(bucket, at)
    inward, outward, _ = cost
    amounts = (1, inward + outward, inward, outward)
    for meter in bucket.meters:
        due = meter.free_at(amounts[meter.kind], at)
        free = max(free, due)
    if spec.has_day:
        free = max([free, *(due for due, _ in _day_dues(bucket, spec, cost))])
    if spec.max_concurrency is not None and len(bucket.leases) >= _slots(bucket, spec):
        free = max(free, _lease_free_at(bucket, _slots(bucket, spec), at))
    return free - bucket.ahead - now + ROUNDING_SECONDS if free > at else 0.0


def tightest(bucket: Bucket, spec: BucketSpec, cost: Tokens, now: float) -> str | None:
    """The limit, by its field's name, that a request of ``cost`` waits for longest."""
    if not wait_seconds(bucket, spec, cost, now):
        return None
    at = bucket.tick(now)
    amounts = (1, cost.input + cost.output, cost.input, cost.output)
    dues = [(meter.free_at(amounts[meter.kind], at), _NAMES[meter.kind]) for meter in bucket.meters]
    dues += _day_dues(bucket, spec, cost)
    if spec.max_concurrency is not None:
        dues.append((_lease_free_at(bucket, _slots(bucket, spec), at), "max_concurrency"))
    return max(dues)[1]


def exceeded(spec: BucketSpec, cost: Tokens) -> str | None:
    """The limit, by its field's name, that a request of ``cost`` is larger than."""
    limits = (spec.tpm, spec.input_tpm, spec.output_tpm, spec.tpd, spec.max_cost_per_day)
    if limits == _NO_AMOUNTS:
        return None
    inward, outward, dollars = cost
    amounts = (inward + outward, inward, outward, inward + outward, dollars)
    for name, limit, amount in zip(_AMOUNTS, limits, amounts, strict=True):
        if limit is not None and amount > limit:
            return name
    return None


def _day_dues(bucket: Bucket, spec: BucketSpec, cost: Tokens) -> list[tuple[float, str]]:
    """The daily limits without room, each with when it has."""
    reset = bucket.day_ends + bucket.ahead
    return [
        (math.inf if amount > limit else reset, name)
        for limit, taken, amount, name in (
            (spec.rpd, bucket.day_requests, 1, "rpd"),
            (spec.tpd, bucket.day_tokens, cost.input + cost.output, "tpd"),
            (spec.max_cost_per_day, bucket.day_dollars, cost.dollars, "max_cost_per_day"),
        )
        if limit is not None and taken + amount > limit * bucket.share
    ]


def _slots(bucket: Bucket, spec: BucketSpec) -> int:
    """How many may be in flight; of a share of the limit at least one."""
    most = spec.max_concurrency or 0
    return most if bucket.share == 1.0 else max(1, int(most * bucket.share))


def _held(bucket: Bucket, at: float) -> dict[LeaseId, float]:
    """The leases that hold a slot; who neither settled nor renewed holds none."""
    leases = bucket.leases
    for lease_id in [lease_id for lease_id, until in leases.items() if until <= at]:
        del leases[lease_id]
    return leases


def _lease_free_at(bucket: Bucket, most: int, at: float) -> float:
    leases = _held(bucket, at)
    return min(leases.values()) if len(leases) >= most else at


def reserve(
    bucket: Bucket, spec: BucketSpec, lease_id: LeaseId, cost: Tokens, now: float, ttl: float
) -> Reservation:
    """Takes ``cost``, which ``wait_seconds`` let go in the same step. ``ttl``: seconds until
    the lease's concurrency slot is free though nobody settled or renewed it.
    """
    at = bucket.tick(now)
    inward, outward, dollars = cost
    amounts = (1, inward + outward, inward, outward)
    for meter in bucket.meters:
        meter.take(amounts[meter.kind], at)
    if spec.has_day:
        bucket.day_requests += 1
        bucket.day_tokens += amounts[1]
        bucket.day_dollars += dollars
    if spec.max_concurrency is not None:
        bucket.leases[lease_id] = at + ttl
    bucket.open += 1
    requests, inputs, outputs = bucket.admitted
    bucket.admitted = mark = (requests + 1, inputs + inward, outputs + outward)
    day_ends = bucket.day_ends if spec.has_day else NO_DAY
    return Reservation(lease_id, at, cost, mark, day_ends, bucket.generation)


def settle(bucket: Bucket, reservation: Reservation, used: Tokens | None, now: float) -> bool:
    """Corrects what the reservation took to what was ``used``; None: nothing was sent, all is
    given back. Acts once, and returns True only then.
    """
    if reservation.is_settled:
        return False
    reservation.is_settled = True
    at = bucket.tick(now)
    inward, outward, dollars = reservation.cost
    requests = 0
    if used is None:
        requests, used = -1, Tokens()
    inward, outward, dollars = used[0] - inward, used[1] - outward, used[2] - dollars
    more = (requests, inward + outward, inward, outward)
    for meter in bucket.meters:
        if more[meter.kind] and reservation.mark[0] > meter.since:
            meter.correct(more[meter.kind], reservation.at, at)
    if reservation.day_ends == bucket.day_ends:
        bucket.day_requests += requests
        bucket.day_tokens += more[1]
        bucket.day_dollars += dollars
    bucket.leases.pop(reservation.lease_id, None)
    if reservation.generation == bucket.generation:
        bucket.open -= 1
    elif reservation.generation == bucket.generation - 1:
        bucket.opened_before -= 1
    return True


def renew(bucket: Bucket, reservation: Reservation, now: float, ttl: float) -> None:
    """The call is still in flight: its concurrency slot is kept ``ttl`` seconds more, and
    counted again where it had expired.
    """
    if bucket.spec.max_concurrency is not None and not reservation.is_settled:
        bucket.leases[reservation.lease_id] = bucket.tick(now) + ttl


def turn_day(bucket: Bucket, resets: tuple[float, float], now: float) -> None:
    """Begins a new day when the old one is over. ``resets``: the next two, as absolute times
    on the store's clock, by the asking worker's own; a worker whose clock is a little late
    names the reset that has just been as its first.
    """
    if now < bucket.day_ends <= resets[1]:
        return
    coming = resets[0] if now < resets[0] else resets[1]
    if coming <= now:
        coming += math.ceil((now - coming) / DAY_SECONDS + ROUNDING_SECONDS) * DAY_SECONDS
    if now >= bucket.day_ends:
        bucket.day_requests = bucket.day_tokens = 0
        bucket.day_dollars = 0.0
    bucket.day_ends = coming


def rooms(bucket: Bucket, spec: BucketSpec, now: float) -> dict[str, Room]:
    """Every limit that holds, by its field's name."""
    at = bucket.tick(now)
    recover(bucket, at)
    found = {
        _NAMES[meter.kind]: Room(meter.limit, meter.taken(at), meter.is_learned)
        for meter in bucket.meters
        if meter.limit < math.inf
    }
    for name, limit, taken in (
        ("rpd", spec.rpd, bucket.day_requests),
        ("tpd", spec.tpd, bucket.day_tokens),
        ("max_cost_per_day", spec.max_cost_per_day, bucket.day_dollars),
        ("max_concurrency", spec.max_concurrency, len(_held(bucket, at))),
    ):
        if limit is not None:
            found[name] = Room(limit, taken)
    return found


def owed(billing: Billing, reserved: Tokens, used: Tokens | None) -> Tokens | None:
    """What to ``settle`` with. Refused: the tokens go back, the request stays counted. Perhaps
    billed, or used without a word of how much: the reservation stays.
    """
    if billing is Billing.UNSENT:
        return None
    if billing is Billing.REFUSED:
        return Tokens()
    return reserved if used is None or billing is Billing.PERHAPS else used
