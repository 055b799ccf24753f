"""Admissions of one turn of the loop, packed for one script call."""

from __future__ import annotations

from ..core.pool import Candidate
from .errands import Ask

LOCAL = "local:"


class Batch:
    """Every subject, candidate and list stands in it once; see admit.lua."""

    def __init__(self) -> None:
        self.asks: list[Ask] = []
        self.subjects: dict[str, int] = {}
        self.names: list[str] = []
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
        number = self._lists.setdefault(listed, len(self._lists) + 1)
        self._requests.append(f"{ask.id} {number}")

    def number(self, candidate: Candidate, is_barred: bool) -> int:
        """The candidate's place in the call."""
        name = (id(candidate), is_barred)
        found = self._rows.get(name)
        if found is None:
            words = ["-" if is_barred else "+"]
            words += [str(self._subject(s)) for s in candidate.subjects if not s.startswith(LOCAL)]
            self._row_words.append(" ".join(words))
            found = self._rows[name] = len(self._row_words)
        return found

    def _subject(self, subject: str) -> int:
        found = self.subjects.get(subject)
        if found is None:
            found = self.subjects[subject] = len(self.subjects) + 1
            self.names.append(subject)
        return found

    def words(self) -> list[str]:
        """The script's arguments."""
        rows, lists = self._row_words, list(self._lists)
        return [str(len(rows)), str(len(lists)), *rows, *lists, *self._requests]
