"""What is said to the server that processes share, and what its answers mean. Pure: a Link in
the engine carries both.
"""

from __future__ import annotations

import itertools
import math
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..core.keystate import FRESH, KeyState, Kind
from ..core.pool import LEASE_SECONDS, Blocked, Candidate, Lease, News, Refused
from .accounts import Accounts
from .batch import LOCAL, Batch
from .counters import Counters
from .debts import FORGOTTEN_SECONDS, Debts
from .errands import ADMIT, CHANGE, KEEP, SETTLE, TALLY, Ask, Command, Link, Question
from .memory import MemoryStore
from .memory_limits import room_news
from .pending import Op, Pending
from .records import ABSENT, Record, packed, unpacked

ROOM = "room|"  # before a bucket's name, among what changed
NO_WORDS = ("", "", "", "")
MOST_OPS = 500  # in one script call
MOST_CHANGED = 2000  # subjects in one flush, which has one timeout for all that it says
MOST_KEYS = 2000  # in one script call; a script's unpack ends at some 8000
KEEP_SECONDS = 20.0  # a third of what a worker counts as present for


class Conversation(MemoryStore):
    """The local view of the shared state, told what others did with every answer. It applies
    its own changes at once, and goes on alone when the server is away.

    Changes of one subject go one after another, each judged again from what stands at the
    server when its answer comes.
    """

    forgets_s = FORGOTTEN_SECONDS  # not before the server: what it keeps, this has to know

    def __init__(self, namespace: str, link: Link) -> None:
        super().__init__()
        self._link = link
        self._prefix = f"{{{namespace}}}s:"
        self._counters = Counters("")
        self._shared = tuple(f"{{{namespace}}}{name}" for name in ("epoch", "count", "changed"))
        self._begin()
        self._epoch, self._count = "", 0
        self._is_stale = self._is_lost = True
        self._keep_at = -math.inf
        self._told = 0
        self._workers = self._counted = 1

    def _begin(self) -> None:
        self._name = uuid.uuid4().hex[:12]
        self._counters.began(self._name)
        self._pending = Pending()
        self._accounts = Accounts()
        self._debts = Debts()

    def _new_id(self) -> str:
        return f"{self._name}-{next(self._ids)}"

    # -- what this process alone knows

    def _barred(self, candidates: Sequence[Candidate], now: float) -> Mapping[int, Blocked]:
        """Candidates that a ``local:`` subject keeps back."""
        states = self._states
        found = {}
        for place, candidate in enumerate(candidates):
            for subject in candidate.subjects:
                if subject in states and subject.startswith(LOCAL):
                    alone = replace(candidate, subjects=(subject,))
                    barrier, _, _ = self._look(alone, now)
                    if barrier is not None:
                        found[place] = barrier
        return found

    # -- changes, on their way

    def _is_lent_there(self, lease: Lease) -> bool:
        return lease.id.startswith(self._name)

    def _trials_there(self, lease: Lease) -> Iterable[str]:
        """The trials that the server gave to the lease."""
        if not self._is_lent_there(lease):
            return ()
        return [subject for subject in lease.trials if not subject.startswith(LOCAL)]

    def _frees(self, lease: Lease, now: float) -> list[Op]:
        return [
            Op(subject, self._new_id(), now, frees=lease.id)
            for subject in self._trials_there(lease)
        ]

    def _post(self, ops: Iterable[Op]) -> None:
        with self._lock:
            for op in ops:
                self._pending.add(op, self._states.get(op.subject, FRESH))
        if self._pending.is_ready:
            self._link.soon()

    def _say(self, say: Callable[[Accounts], None]) -> None:
        with self._lock:
            say(self._accounts)
        self._link.soon()

    def _there(self, subject: str) -> KeyState:
        """A state as the server was last heard to have it."""
        return self._pending.known(subject) or self._states.get(subject, FRESH)

    def _remember(self, ops: Iterable[Op]) -> None:
        """While the server is away: what it will have to hear."""
        with self._lock:
            self._debts.remember(ops, self._there)

    # -- the link's side

    def outgoing(self, asks: Sequence[Ask], now: float) -> list[Command]:
        """All that is to be said now, changes first."""
        with self._lock:
            taken = self._pending.take(MOST_CHANGED)
            commands = [
                self._change_command(taken[i : i + MOST_OPS], now)
                for i in range(0, len(taken), MOST_OPS)
            ]
            commands += [self._settle_command(part) for part in self._accounts.take()]
            counts = self._count_command(now)
            if counts is not None:
                commands.append(counts)
            if now >= self._keep_at:
                commands.append(self._keep_command(now))
            asked = [ask.command for ask in asks if isinstance(ask, Question) and ask.command]
            admissions = [ask for ask in asks if not isinstance(ask, Question)]
            if admissions or self._is_stale:
                commands += self._admit_commands(admissions, now)
        return commands + asked

    def stale(self) -> None:
        """A new connection: the server may not be what it was, and may not take writes."""
        self._is_stale = True
        self._keep_at = -math.inf

    @property
    def is_owing(self) -> bool:
        """Whether something waits to be said."""
        return self._pending.is_ready or bool(self._accounts) or self._counters.is_urgent

    def hurry(self) -> None:
        """It is the end: counts are said now."""
        with self._lock:
            self._counters.hurry()

    def unsent(self) -> None:
        """What was given out may not have been sent: it is said again."""
        with self._lock:
            self._pending.again()
            self._accounts.again()
            self._counters.again()

    def cut_off(self) -> None:
        """The server is away: from here on the store is on its own."""
        with self._lock:
            self._remember(self._pending)
            self._pending.clear()
            self._accounts.again()
            self._counters.again()
            self._is_stale = True
            self._buckets.share = 1.0 / self._workers

    def unanswered(self, asks: Iterable[Ask]) -> None:
        """The server may have admitted them all the same: what it lent is given back when it
        can be told.
        """
        with self._lock:
            for ask in asks:
                if any(candidate.buckets for candidate in ask.candidates):
                    self._accounts.settle(ask.id, None)
                for subject in {name for each in ask.candidates for name in each.subjects}:
                    if not subject.startswith(LOCAL):  # it may rest there and nobody here know
                        self._debts.owe(subject, ask.id)

    def abandoned(self, ask: Ask, now: float) -> None:
        """Whoever asked has gone away."""
        if isinstance(ask.answer, Lease):
            self.settle(ask.answer, (), now)

    # -- saying

    def _change_command(self, taken: Sequence[Sequence[Op]], now: float) -> Command:
        ops = list(itertools.chain.from_iterable(taken))
        keys = [*self._shared, *(self._prefix + op.subject for op in ops)]
        args = [self._epoch, str(int(LEASE_SECONDS * 1000))]
        for op in ops:
            words = NO_WORDS if op.word in ("free", "renew") else packed(op.new, now)
            args += [op.subject, op.word, *words, op.id, op.frees]
        return Command(CHANGE, keys, args, lambda reply, at: self._heard_change(ops, reply, at))

    def _settle_command(self, part: list[str]) -> Command:
        return Command(
            SETTLE, self._shared, part, lambda reply, at: self._heard_settled(part, reply, at)
        )

    def _count_command(self, now: float) -> Command | None:
        message = self._counters.take(now)
        if message is None:
            return None

        def heard(reply: Any, at: float) -> None:  # noqa: ARG001 - as every command's
            with self._lock:
                self._counters.heard(message)

        return Command(TALLY, self._shared, message, heard)

    def _keep_command(self, now: float) -> Command:
        self._keep_at = now + KEEP_SECONDS
        endless = [
            self._prefix + subject
            for subject, state in self._states.items()
            if state.until == math.inf and not subject.startswith(LOCAL)
        ]
        return Command(KEEP, [*self._shared, *endless], [self._name], self._heard_keep)

    def _admit_commands(self, asks: Sequence[Ask], now: float) -> list[Command]:
        commands, rest = [], list(asks)
        while True:
            batch = Batch(now)
            while rest and len(batch.subjects) < MOST_KEYS and len(batch.asks) < MOST_OPS:
                batch.add(rest.pop(0))
            commands.append(self._admit_command(batch))
            if not rest:
                return commands

    def _admit_command(self, batch: Batch) -> Command:
        epoch = "" if self._is_stale else self._epoch
        keys = [*self._shared, *(self._prefix + subject for subject in batch.subjects)]
        lease_ms = str(int(LEASE_SECONDS * 1000))
        args = [epoch, str(self._count), lease_ms, *batch.words()]
        return Command(
            ADMIT, keys, args, lambda reply, at: self._heard_admit(batch, epoch, reply, at)
        )

    # -- hearing

    def _heard_keep(self, reply: int, now: float) -> None:  # noqa: ARG002 - as every command's
        # A server that forgot all counts anew, and who asks it first is not alone.
        self._workers, self._counted = max(reply, self._counted), reply

    def _heard_change(self, ops: Sequence[Op], reply: Sequence[Any], now: float) -> None:
        server_ms, epoch, before, after = _head(reply)
        told: list[News] = []
        with self._lock:
            if epoch != self._epoch:
                self._is_stale = self._is_lost = True
                self._epoch = epoch
            if before == self._count:
                self._count = after
            for op, is_done, text in zip(ops, reply[4::2], reply[5::2], strict=True):
                if is_done or not self._is_lost:
                    state = unpacked(text, server_ms, now).state
                    self._pending.heard(op, bool(is_done), state)
            for subject in dict.fromkeys(op.subject for op in ops):
                if self._is_lost and subject in self._pending:
                    continue  # what stood before it forgot is still to be told
                stands = self._pending.answered(subject)
                if stands is not None:
                    told += self._learn(subject, Record(stands, is_tried=True), now)
            is_more = self._pending.is_ready or self._is_stale
        self._tell(told)
        if is_more:
            self._link.soon()

    def _heard_settled(self, part: list[str], reply: Sequence[Any], now: float) -> None:
        _, epoch, before, after = _head(reply)
        with self._lock:
            self._accounts.heard(part)
            if epoch == self._epoch and before == self._count:
                self._count = after
        self._tell([room_news(_name(name), now) for name in reply[4]])

    def _learn(self, subject: str, record: Record, now: float) -> list[News]:
        """Takes a state into the view; news if it says something new."""
        before, after = self._states.get(subject, FRESH), record.state
        if after.version:
            self._states[subject] = after
            self._changed += 1
        else:
            self._states.pop(subject, None)
        if (before.version, before.kind) != (after.version, after.kind):
            return [News(subject, after.until, before, after)]
        if record.is_tried or after.kind is Kind.ACTIVE or subject in self._trials:
            return []
        return [News(subject, max(now, after.until), after, after)]

    def _heard_admit(self, batch: Batch, asked: str, reply: Sequence[Any], now: float) -> None:
        server_ms, epoch, count, _ = _head([*reply[:3], 0])
        texts = reply[3]
        told: list[News] = []
        with self._lock:
            named = [
                (_name(name), text) for name, text in zip(texts[::2], texts[1::2], strict=True)
            ]
            news = {
                name: unpacked(text, server_ms, now)
                for name, text in named
                if not name.startswith(ROOM)
            }
            told += [
                room_news(name[len(ROOM) :], now) for name, _ in named if name.startswith(ROOM)
            ]
            for subject, record in news.items():
                if subject in self._pending:
                    record = Record(self._pending.learn(subject, record.state), is_tried=True)
                if asked == epoch:
                    told += self._learn(subject, record, now)
            self._is_lost |= epoch != self._epoch
            self._count, self._epoch = count, epoch
            if asked != epoch:
                told += self._rejoin(news, now)
            for ask, answer in zip(batch.asks, reply[4], strict=True):
                ask.answer = self._answer(batch, ask, answer, reply[5], now)
            self._sweep_if_due(now)
        self._tell(told)

    def _tell(self, news: Sequence[News]) -> None:
        self._told += len(news)
        super()._tell(news)

    def _answer(
        self, batch: Batch, ask: Ask, answer: Any, barriers: Sequence[Any], now: float
    ) -> Lease | Refused:
        full = answer[1:] if answer and not answer[0] else ()
        if not answer or full:
            return batch.refused(ask, full, barriers, self._there, now)
        lease = batch.lease(ask, answer, self._there)
        late = self._barred((lease.candidate,), now)
        if not late:
            self._hold(lease, now)
            if lease.candidate.buckets:
                self._buckets.reserve(lease, ask.cost, now)
            return lease
        self._post(self._frees(lease, now))
        if lease.candidate.buckets:
            self._say(lambda accounts: accounts.settle(lease.id, None))
        return Refused((late[0],))

    # -- coming back

    def _rejoin(self, news: Mapping[str, Record], now: float) -> list[News]:
        """The server was away, or has lost what it knew: it is told what stands here."""
        dropped = self._pending.drop() if self._is_lost else []
        self._remember(dropped)
        told: list[News] = []
        for subject, mine in list(self._states.items()):
            if subject.startswith(LOCAL) or subject in self._pending:
                continue
            there = news.get(subject, ABSENT)
            is_lost = self._is_lost
            offer = self._debts.offer(subject, mine, there.state, now, is_lost=is_lost)
            if offer is not None and offer.upon(there.state, now) is not None:
                self._pending.add(Op(subject, self._new_id(), now, offer), there.state)
            else:
                told += self._learn(subject, there, now)
        for subject in news.keys() - self._states.keys():
            told += self._learn(subject, news[subject], now)
        self._is_stale = self._is_lost = False
        told += self._buckets.whole(now)
        self._post(
            Op(subject, self._new_id(), now, frees=lease) for subject, lease in self._debts.told()
        )
        return told


def _name(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogatepass")


def _head(reply: Sequence[Any]) -> tuple[int, str, int, int]:
    return int(reply[0]), reply[1].decode(), int(reply[2]), int(reply[3])
