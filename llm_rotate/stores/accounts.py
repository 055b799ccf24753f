"""What became of leases under limits, on its way to the server."""

from __future__ import annotations

from collections.abc import Sequence

from ..core.bucket import BucketSpec, Tokens
from ..core.learned import Reading
from .rows import owed_words, reading_words, row_of

MOST_WORDS = 500 * 6  # in one script call


class Accounts:
    """Said in the order in which it came. What was given out is kept until it is heard: said
    twice, it counts once.
    """

    def __init__(self) -> None:
        self._waiting: list[str] = []
        self._given: list[list[str]] = []

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def settle(self, lease: str, owed: Tokens | None) -> None:
        """The request is over; None: nothing was sent."""
        self._waiting += ("settle", lease, *owed_words(owed))

    def renew(self, lease: str) -> None:
        """The request is still in flight."""
        self._waiting += ("renew", lease, "", "", "", "")

    def told(self, lease: str, spec: BucketSpec, readings: Sequence[Reading]) -> None:
        """The answer speaks of limits; without readings, it is a refusal for them."""
        what = "told" if readings else "refused"
        self._waiting += (what, lease, spec.name, row_of(spec), reading_words(readings), "")

    def take(self) -> list[list[str]]:
        """All that waits, in parts for one script call each."""
        said, self._waiting = self._waiting, []
        parts = [said[i : i + MOST_WORDS] for i in range(0, len(said), MOST_WORDS)]
        self._given += parts
        return parts

    def heard(self, part: list[str]) -> None:
        """The server has taken it."""
        self._given = [each for each in self._given if each is not part]

    def again(self) -> None:
        """What was given out may not have been heard."""
        self._waiting = [word for part in self._given for word in part] + self._waiting
        self._given = []
