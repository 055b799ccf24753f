"""State of many processes, in Redis."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from ..core.bucket import BucketSpec, Tokens
from ..core.keystate import Change, KeyState
from ..core.learned import Reading
from ..core.limits import Room
from ..core.pool import FREE, LEASE_SECONDS, Candidate, Counts, Lease, Refused
from ..errors import StoreError
from .accounts import Accounts
from .batch import LOCAL
from .conversation import Conversation
from .counters import counts_of
from .errands import LOOK, TALLY, Ask, Command, Link, Question, Script
from .pending import Op
from .rows import day_words, rooms_of, row_of

FLUSH_ROUNDS = 100
MOST_ROOMS = 200  # asked of in one script call: some 10 ms of the server's


class RedisStore(Conversation):
    """The StateStore of many processes. ``raises``: no going on alone, a StoreError instead."""

    looks_again_s = 5.0  # as LOOKS_S in admit.lua

    def __init__(self, namespace: str, link: Link, *, raises: bool = False) -> None:
        super().__init__(namespace, link)
        self._raises = raises

    async def admit(
        self,
        candidates: Sequence[Candidate],
        now: float,
        cost: Tokens = FREE,
        patience_s: float = 0.0,
    ) -> Lease | Refused:
        """The first candidate that may go, as a Lease; else why each may not."""
        link = self._link
        if not link.is_cut:
            barred = self._barred(candidates, now)
            ask = Ask(self._new_id(), candidates, barred, cost, min(patience_s, LEASE_SECONDS))
            try:
                await link.ask(ask)
            except BaseException:  # cancelled, perhaps with the answer already here
                self.abandoned(ask, link.now())
                raise
            if ask.answer is not None:
                return ask.answer
        self._check_alone()
        return await super().admit(candidates, link.now(), cost)

    def settle(
        self, lease: Lease, changes: Sequence[Change], now: float, owed: Tokens | None = None
    ) -> None:
        """As MemoryStore; the server hears of it in the next flush."""
        if not lease.is_settled and lease.reservations and self._is_lent_there(lease):
            self._say(lambda accounts: accounts.settle(lease.id, owed))
        super().settle(lease, changes, now, owed)
        self._link.later()

    def learn(
        self, lease: Lease, spec: BucketSpec, readings: Sequence[Reading], now: float
    ) -> None:
        """As MemoryStore; the server hears of it in the next flush."""
        if not self._link.is_cut:
            self._say(lambda accounts: accounts.told(lease.id, spec, readings))
        super().learn(lease, spec, readings, now)

    async def rooms(
        self, candidates: Sequence[Candidate], now: float
    ) -> Mapping[str, Mapping[str, Room]]:
        """How the limits stand in the whole fleet, by the bucket's name."""
        asked = {each.name: (each, one.resets) for one in candidates for each in one.buckets}
        names = list(asked)
        found: dict[str, Mapping[str, Room]] = {}
        for at in range(0, len(names), MOST_ROOMS):  # a script holds up everybody's calls
            part = names[at : at + MOST_ROOMS]
            args = [
                word
                for spec, resets in map(asked.__getitem__, part)
                for word in (spec.name, row_of(spec), day_words(spec, resets, now))
            ]
            reply = None if self._link.is_cut else await self._question(LOOK, args)
            if reply is None:
                return await super().rooms(candidates, now)
            found.update(rooms_of(part, reply))
        return found

    def count(self, unsaid: Callable[[], Counts]) -> None:
        """What the server adds up; said about once a second."""
        self._counters.of(unsaid)

    async def counted(self) -> Counts | None:
        """The counts of the whole fleet; None where the server is away."""
        if self._link.is_cut:
            return None
        self._counters.is_urgent = True
        reply = await self._question(TALLY, ())
        return None if reply is None else counts_of(reply)

    async def _question(self, script: Script, args: Sequence[str]) -> Any:
        """The server's reply; None where it is away."""
        asked = Question(self._new_id())

        def heard(reply: Any, now: float) -> None:  # noqa: ARG001 - as every command's
            asked.answer, asked.reply = Refused(()), reply

        asked.command = Command(script, self._shared, args, heard)
        await self._link.ask(asked)
        return asked.reply

    def decide(self, lease: Lease, changes: Sequence[Change], now: float) -> None:
        """As MemoryStore; the server hears of it in the next flush."""
        if not lease.is_decided:
            self._publish(changes, now, lease)
            super().decide(lease, changes, now)

    def transition(self, changes: Sequence[Change], now: float) -> None:
        """As MemoryStore; the server hears of it in the next flush."""
        self._publish(changes, now)
        super().transition(changes, now)

    def renew(self, leases: Sequence[Lease], now: float) -> None:
        """Extends the trials of leases that are still held."""
        super().renew(leases, now)
        if not self._link.is_cut:
            for lease in leases:
                if lease.reservations and self._is_lent_there(lease):
                    self._say(partial(Accounts.renew, lease=lease.id))
                if not lease.is_decided:
                    self._post(
                        Op(subject, self._new_id(), now, frees=lease.id, word="renew")
                        for subject in self._trials_there(lease)
                    )

    async def catch_up(self) -> bool:
        """Hears what other processes changed; whether there was anything."""
        told = self._told
        await self._link.ask(Ask(self._new_id()))
        return told != self._told

    def watch(self, is_waiting: Callable[[], bool]) -> None:
        """News of other processes come within a second while ``is_waiting()``."""
        self._link.watch(is_waiting)

    async def flush(self) -> None:
        """Returns when the server has all that was changed here, or is away. Raises
        StoreError then, if so told.
        """
        for _ in range(FLUSH_ROUNDS):
            await self.catch_up()
            if self._link.is_cut or not self._pending:
                break
        if self._link.is_cut:
            self._check_alone()

    async def snapshot(self) -> Mapping[str, KeyState]:
        """All states that are not as new, of all processes. Raises as flush does."""
        await self.catch_up()
        if self._link.is_cut:
            self._check_alone()
        return await super().snapshot()

    def forget_leases(self) -> None:
        """After a fork: calls, and what was on its way, are the parent's."""
        super().forget_leases()
        self._begin()
        self._is_stale = True
        self._link.forget()

    async def aclose(self) -> None:
        """Sends what is left, and closes the connections."""
        await self._link.aclose()

    def _check_alone(self) -> None:
        if self._raises:
            raise StoreError(
                f"the shared state cannot be reached ({self._link.failure}): is the server up, "
                "and state_store.redis_url right?"
            )

    def _publish(self, changes: Sequence[Change], now: float, lease: Lease | None = None) -> None:
        """Before the view takes them: each is judged from what the server was known to have."""
        free = set(self._trials_there(lease)) if lease is not None and lease.trials else set()
        if not changes and not free:
            return
        name = lease.id if lease is not None else ""
        ops = []
        for change in changes:
            if not change.subject.startswith(LOCAL):
                frees = name if change.subject in free else ""
                free.discard(change.subject)
                ops.append(Op(change.subject, self._new_id(), now, change, frees))
        ops += [Op(subject, self._new_id(), now, frees=name) for subject in sorted(free)]
        if self._link.is_cut:
            self._remember(ops)
        else:
            self._post(ops)
