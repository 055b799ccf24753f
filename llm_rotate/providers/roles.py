"""Conversations of two roles, as most wires have them: the system's words apart, and what one
role says in a row as one message.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .parts import cannot, checked, input_of
from .reading import as_dict

Message = Mapping[str, Any]
Turn = tuple[str, list[Any]]
Roles = Mapping[str, Callable[[Message], Turn | None]]


def in_turns(
    dialect: str,
    messages: Sequence[Message],
    system: Callable[[Message], list[Any]],
    roles: Roles,
    field: str = "content",
) -> tuple[list[Any], list[dict[str, Any]]]:
    """(blocks of the system, messages with their blocks in ``field``).

    ``system`` gives the blocks of a system message. ``roles``: of any other, by its role, whose
    words it is on this wire and its blocks; None to leave it out.
    """
    apart: list[Any] = []
    found: list[dict[str, Any]] = []
    for message in messages:
        role = str(checked(dialect, message).get("role"))
        if role in {"system", "developer"}:
            apart += system(message)
            continue
        if role not in roles:
            cannot(dialect, f"a message of role {role!r}")
        turn = roles[role](message)
        if turn is None:
            continue
        if found and found[-1]["role"] == turn[0]:
            found[-1][field] += turn[1]
        else:
            found.append({"role": turn[0], field: [*turn[1]]})
    return apart, found


def calls_in(dialect: str, message: Message) -> Sequence[Any]:
    """The tool calls of an assistant's message; refused is what only OpenAI's wire has."""
    for name in ("audio", "function_call"):
        if message.get(name):
            cannot(dialect, f"an assistant message with {name}")
    calls = message.get("tool_calls") or ()
    if not isinstance(calls, list | tuple):
        cannot(dialect, "tool_calls that are not a list")
    return calls


def called(dialect: str, call: object) -> tuple[str, dict[str, Any]]:
    """The function's name in a tool call, and its arguments, which are JSON in a string."""
    function = as_dict(as_dict(call).get("function"))
    name, found = function.get("name"), function.get("arguments") or {}
    if not isinstance(name, str):
        cannot(dialect, "a tool call that is no dict with the name of a function")
    found = input_of(found) if isinstance(found, str) else found
    if not isinstance(found, dict):
        cannot(dialect, "a tool call whose arguments are not a JSON object")
    return name, found
