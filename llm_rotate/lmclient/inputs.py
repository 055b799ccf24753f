"""What callers give, as the pool takes it."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Mapping, Sequence
from typing import Any, Literal

from ..errors import ConfigurationError

_log = logging.getLogger("llm_rotate")

EndpointType = Literal["chat_completion", "responses"]
ENDPOINTS: tuple[EndpointType, ...] = ("chat_completion", "responses")
# What a payload for the responses endpoint may hold here; the rest is for keywords.
PAYLOAD = ("input", "instructions")
# What a call may not say, for it would go to the provider as a part of the request.
OF_THE_CLIENT = frozenset({"model", "api_key", "api_base", "base_url", "deployments"})
OTHER_NAMES: Mapping[str, str] = {"num_retries": "max_retries", "request_timeout": "timeout"}


def check_keywords(keywords: Iterable[str]) -> None:
    """Raises ConfigurationError for keywords that belong elsewhere."""
    for name in keywords:
        if name in OF_THE_CLIENT:
            raise ConfigurationError(f"{name}= belongs to the client, not to a call: make another")
        if name == "postprocess":
            raise ConfigurationError("postprocess= is of the pool's batches: see client.lm")
        if name in OTHER_NAMES:
            raise ConfigurationError(f"{name}= is called {OTHER_NAMES[name]}= here")


def checked_endpoint(endpoint: str) -> EndpointType:
    """Raises ConfigurationError for one that is not known."""
    for known in ENDPOINTS:
        if endpoint == known:
            return known
    raise ConfigurationError(f"endpoint must be one of {', '.join(ENDPOINTS)}, not {endpoint!r}")


def messages_of(input_data: Any, endpoint: EndpointType) -> Sequence[Any]:
    """Messages from a prompt, a list of messages, or a payload for the responses endpoint.

    Raises ConfigurationError for what is none of them.
    """
    if isinstance(input_data, str) and input_data:
        return [{"role": "user", "content": input_data}]
    if endpoint == "responses" and isinstance(input_data, Mapping):
        return _from_payload(input_data)
    if _is_list(input_data) and input_data:
        return list(input_data)
    wanted = "a prompt, a list of messages" + (
        " or a payload with 'input'" if endpoint == "responses" else ""
    )
    is_empty = isinstance(input_data, str) or _is_list(input_data)
    got = "this one is empty" if is_empty else f"not {type(input_data).__name__}"
    raise ConfigurationError(f"an input must be {wanted}, {got}")


def _from_payload(payload: Mapping[str, Any]) -> Sequence[Any]:
    for name in payload:
        if name not in PAYLOAD:
            raise ConfigurationError(
                f"a responses payload takes {' and '.join(PAYLOAD)}; give {name!r} as a keyword"
            )
    found = list(messages_of(payload.get("input"), "chat_completion"))
    instructions = payload.get("instructions")
    return [{"role": "system", "content": instructions}, *found] if instructions else found


def _is_list(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes, bytearray))


def format_of(response_format: Any) -> Any:
    """``response_format`` as chat takes it: a pydantic class as it is, a bare JSON schema in
    its envelope.
    """
    if not isinstance(response_format, Mapping) or "json_schema" in response_format:
        return response_format
    if response_format.get("type") in ("json_object", "text"):
        return response_format
    name = str(response_format.get("title", "answer"))
    return {
        "type": "json_schema",
        "json_schema": {"name": name, "schema": dict(response_format)},
    }


def parsed_text(text: str) -> Any:
    """The text as a JSON value; None, with a warning in the log, where it is none."""
    try:
        return json.loads(text)
    except ValueError as error:
        _log.warning("an answer could not be parsed as JSON: %s", error)
        return None


def rows_of(inputs: Any, endpoint: EndpointType) -> Any:
    """The inputs of a batch, with payloads for the responses endpoint made into messages. A
    payload that cannot be is its error instead: the row fails with it, and no other.
    """
    if endpoint != "responses":
        return inputs
    if hasattr(inputs, "__aiter__"):
        return _rows_as_they_come(inputs)
    return [_row(each) for each in inputs] if _is_list(inputs) else map(_row, inputs)


async def _rows_as_they_come(inputs: AsyncIterable[Any]) -> AsyncIterator[Any]:
    async for each in inputs:
        yield _row(each)


def _row(given: Any) -> Any:
    if not isinstance(given, Mapping):
        return given
    try:
        return _from_payload(given)
    except ConfigurationError as error:
        return error
