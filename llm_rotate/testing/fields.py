"""What the plainest fields of a request may hold: a table for each wire, checked as the services
check them. What is not in a table is taken as it is, and so is null.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf
from typing import Any


@dataclass(frozen=True, slots=True)
class Kind:
    """``words``: what it has to be, for the sentence that refuses it."""

    words: str
    fits: Callable[[Any], bool]


def wrong_field(body: Mapping[str, Any], kinds: Mapping[str, Kind]) -> str | None:
    """What is wrong with the first wrong field of ``body``; None: nothing."""
    for name, kind in kinds.items():
        value = body.get(name)
        if value is not None and not kind.fits(value):
            return f"'{name}' must be {kind.words}, not {value!r}"[:_MOST]
    return None


_MOST = 300  # characters of a sentence that shows a value


def _number(least: float, most: float) -> Kind:
    def fits(value: Any) -> bool:
        return type(value) in (int, float) and least <= value <= most

    return Kind(f"a number from {least:g} to {most:g}", fits)


def _whole(least: int) -> Kind:
    return Kind(
        f"an integer of at least {least}", lambda value: type(value) is int and least <= value
    )


def _one_of(*names: str) -> Kind:
    return Kind(f"one of {', '.join(names)}", lambda value: value in names)


def _typed(*names: str) -> Kind:
    def fits(value: Any) -> bool:
        return isinstance(value, Mapping) and (value.get("type") in names if names else True)

    return Kind("an object" + (f" whose type is one of {', '.join(names)}" if names else ""), fits)


def _is_objects(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, Mapping) for each in value)


def _either(first: Kind, second: Kind) -> Kind:
    words = f"{first.words}, or {second.words}"
    return Kind(words, lambda value: first.fits(value) or second.fits(value))


_TOOLS = Kind("a list of objects", _is_objects)
_SWITCH = Kind("true or false", lambda value: isinstance(value, bool))
_WORDS = Kind("a list of texts", lambda v: isinstance(v, list) and all(type(w) is str for w in v))
_TEXT = Kind("a text", lambda value: isinstance(value, str))
# "default" and "max" are known to some of the compatible services.
_EFFORT = _one_of("none", "minimal", "low", "medium", "high", "xhigh", "max", "default")
_CHOICE = _either(_one_of("none", "auto", "required"), _typed())
_ANY_NUMBER = Kind("a number", lambda value: type(value) in (int, float))
_INTEGER = Kind("an integer", lambda value: type(value) is int)
_COUNT, _SHARE = _whole(1), _number(0, 1)

OPENAI: Mapping[str, Kind] = {
    "max_tokens": _COUNT,
    "max_completion_tokens": _COUNT,
    "temperature": _number(0, 2),
    "top_p": _SHARE,
    "n": _COUNT,
    "presence_penalty": _number(-2, 2),
    "frequency_penalty": _number(-2, 2),
    "stop": _either(_TEXT, _WORDS),
    "tools": _TOOLS,
    "tool_choice": _CHOICE,
    "response_format": _typed("text", "json_object", "json_schema"),
    "reasoning_effort": _EFFORT,
    "stream": _SWITCH,
    "stream_options": _typed(),
}
# Services that are compatible differ in ranges and names, and in shapes not named here.
COMPATIBLE: Mapping[str, Kind] = {
    "max_tokens": _INTEGER,
    "max_completion_tokens": _INTEGER,
    "temperature": _ANY_NUMBER,
    "top_p": _ANY_NUMBER,
    "n": _INTEGER,
    "presence_penalty": _ANY_NUMBER,
    "frequency_penalty": _ANY_NUMBER,
    "stop": _either(_TEXT, _WORDS),
    "tools": _TOOLS,
    "stream": _SWITCH,
    "stream_options": _typed(),
}
RESPONSES: Mapping[str, Kind] = {
    "max_output_tokens": _COUNT,
    "temperature": _number(0, 2),
    "top_p": _SHARE,
    "tools": _TOOLS,
    "tool_choice": _CHOICE,
    "text": _typed(),
    "reasoning": _typed(),
    "stream": _SWITCH,
}
REASONING: Mapping[str, Kind] = {"effort": _EFFORT}
ANTHROPIC: Mapping[str, Kind] = {
    "max_tokens": _COUNT,
    "temperature": _SHARE,
    "top_p": _SHARE,
    "top_k": _whole(0),
    "stop_sequences": _WORDS,
    "tools": _TOOLS,
    "tool_choice": _typed("auto", "any", "tool", "none"),
    "thinking": _typed("enabled", "disabled", "adaptive"),
    "output_config": _typed(),
    "stream": _SWITCH,
}
GEMINI: Mapping[str, Kind] = {
    "tools": _TOOLS,
    "toolConfig": _typed(),
    "generationConfig": _typed(),
}
GENERATION: Mapping[str, Kind] = {
    "maxOutputTokens": _COUNT,
    "temperature": _number(0, 2),
    "topP": _SHARE,
    "topK": _number(0, inf),
    "candidateCount": _COUNT,
    "stopSequences": _WORDS,
    "responseMimeType": _TEXT,
    "responseSchema": _typed(),
    "thinkingConfig": _typed(),
}
