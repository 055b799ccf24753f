"""Admissions of one turn of the loop, packed for one script call, and its answers read."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from ..core.bucket import BucketSpec, Resets
from ..core.keystate import FRESH, KeyState, Kind
from ..core.limits import Room, words
from ..core.pool import Blocked, Candidate, Lease, Refused
from .errands import Ask
from .rows import day_words, row_of

LOCAL = "local:"
UNCHANGED = b"0"  # the version of what nothing ever happened to
FAR_MS = 4_000_000_000_000_000  # longer is for ever

There = Callable[[str], KeyState]
"""subject -> its state as the server was last heard to have it."""


class Batch:
    """Every subject, bucket, candidate and list stands in it once; see admit.lua."""

    def __init__(self, now: float) -> None:
        self.asks: list[Ask] = []
        self.subjects: dict[str, int] = {}
        self.names: list[str] = []
        self._now = now
        self._specs: list[BucketSpec] = []
        self._buckets: dict[str, int] = {}
        self._bucket_words: list[str] = []
        self._rows: dict[tuple[int, bool], int] = {}
        self._row_words: list[str] = []
        self._lists: dict[str, int] = {}
        self._requests: list[str] = []

    def add(self, ask: Ask) -> None:
        self.asks.append(ask)
        barred = ask.barred
        listed = " ".join(
            [
                str(self.number(candidate, place in barred))
                for place, candidate in enumerate(ask.candidates)
            ]
        )
        listed += "|" * any(candidate.buckets for candidate in ask.candidates)
        number = self._lists.setdefault(listed, len(self._lists) + 1)
        inward, outward, dollars = ask.cost
        self._requests.append(
            f"{ask.id} {number} {inward} {outward} {dollars!r} {ask.patience_s!r}"
        )

    def number(self, candidate: Candidate, is_barred: bool) -> int:
        """The candidate's place in the call."""
        name = (id(candidate), is_barred)
        found = self._rows.get(name)
        if found is None:
            words = ["-" if is_barred else "+"]
            words += [str(self._subject(s)) for s in candidate.subjects if not s.startswith(LOCAL)]
            if candidate.buckets:
                words.append("|")
                words += [str(self._bucket(each, candidate.resets)) for each in candidate.buckets]
            self._row_words.append(" ".join(words))
            found = self._rows[name] = len(self._row_words)
        return found

    def _subject(self, subject: str) -> int:
        found = self.subjects.get(subject)
        if found is None:
            found = self.subjects[subject] = len(self.subjects) + 1
            self.names.append(subject)
        return found

    def _bucket(self, spec: BucketSpec, resets: Resets | None) -> int:
        found = self._buckets.get(spec.name)
        if found is None:
            found = self._buckets[spec.name] = len(self._buckets) + 1
            self._specs.append(spec)
            self._bucket_words += (spec.name, row_of(spec), day_words(spec, resets, self._now))
        return found

    def words(self) -> list[str]:
        """The script's arguments."""
        rows, lists = self._row_words, list(self._lists)
        counts = [str(len(each)) for each in (self._buckets, rows, lists)]
        return [*counts, *self._bucket_words, *rows, *lists, *self._requests]

    # -- answers

    def lease(self, ask: Ask, granted: Sequence[Any], there: There) -> Lease:
        """The lease that the server gave."""
        candidate = ask.candidates[granted[0] - 1]
        words = iter(granted[1:])
        seen: list[KeyState] = []
        trials: list[str] = []
        for subject in candidate.subjects:
            if subject.startswith(LOCAL):
                state = there(subject)
                is_tried = state.kind is not Kind.ACTIVE
            elif (word := next(words)) == UNCHANGED:
                state, is_tried = FRESH, False
            else:
                state = there(subject)
                is_tried = word.endswith(b"t")
                version = int(word.rstrip(b"t"))
                if version != state.version:
                    state = replace(state, version=version) if version else FRESH
            seen.append(state)
            if is_tried:
                trials.append(subject)
        return Lease(ask.id, candidate, tuple(seen), tuple(trials))

    def refused(
        self, ask: Ask, full: Sequence[Any], barriers: Sequence[Any], there: There, now: float
    ) -> Refused:
        """Why each of the ask's candidates may not go. ``full``: by its limits, by place."""
        blocked = []
        for place, candidate in enumerate(ask.candidates):
            barrier = barriers[self.number(candidate, place in ask.barred) - 1]
            reasons = [
                full and full[place] and self._full(candidate, full[place], now),
                barrier and self._resting(candidate, barrier, there, now),
                ask.barred.get(place),
            ]
            blocked.append(max((each for each in reasons if each), key=lambda each: each.until))
        return Refused(tuple(blocked))

    def _resting(
        self, candidate: Candidate, barrier: Sequence[Any], there: There, now: float
    ) -> Blocked:
        number, left_ms, is_trial = barrier
        subject = self.names[number - 1]
        until = math.inf if int(left_ms) > FAR_MS else now + int(left_ms) / 1000.0
        return Blocked(candidate.index, until, subject, there(subject), bool(is_trial))

    def _full(self, candidate: Candidate, reason: Sequence[Any], now: float) -> Blocked:
        number, wait, least, limit = reason[0], float(reason[1]), float(reason[2]), reason[3]
        name = limit.decode()
        room = Room(float(reason[4]), float(reason[5]), bool(reason[6])) if reason[4:] else None
        return Blocked(
            candidate.index,
            now + wait,
            self._specs[number - 1].name,
            is_trial=name == "max_concurrency" and wait < math.inf,
            is_full=True,
            is_too_large=wait == math.inf,
            least=now + least if least else 0.0,
            why=words(name, room),
        )
