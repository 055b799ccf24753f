"""A secret that shows itself to nobody who does not ask."""

from __future__ import annotations

from typing import NoReturn, Protocol

from ..errors import LMRotateError


class SecretError(LMRotateError):
    """A secret could not be read. The message names its place, never a value."""


class SecretScheme(Protocol):
    """Reads the secret behind ``NAME://REST``; ``rest`` is what stands after ``://``.

    It may block, for 30 s at most, and is called off the event loop, by several threads at
    once. Raises SecretError, whose message is shown to people.
    """

    def __call__(self, rest: str, /) -> str: ...


class Secret:
    """A value that repr, str and format hide, and that is never pickled or copied."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The value in the clear."""
        return self._value

    def __repr__(self) -> str:
        return "Secret('**********')"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret cannot be pickled or copied")
