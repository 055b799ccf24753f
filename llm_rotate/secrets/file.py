"""``file://PATH``: the text of a file; a relative path starts at the working directory."""

from __future__ import annotations

from pathlib import Path

from .secret import SecretError

LONGEST_BYTES = 65_536  # a service account's JSON has about 2,400


def read(rest: str) -> str:
    if not rest:
        raise SecretError("file:// names no file")
    raw = _bytes(rest)
    if isinstance(raw, str):
        raise SecretError(f"file {rest} {raw}")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = None
    if text is None:  # raised out here, for the exception above holds the file's content
        raise SecretError(f"file {rest} is not UTF-8 text")
    return text


def _bytes(path: str) -> bytes | str:
    """What the file holds, or why it cannot be read."""
    try:
        with Path(path).open("rb") as file:
            raw = file.read(LONGEST_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "has an impossible name"
        return f"cannot be read: {reason}"
    return raw if len(raw) <= LONGEST_BYTES else f"is larger than {LONGEST_BYTES} bytes"
