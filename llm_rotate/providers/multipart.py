"""Bodies of many parts (RFC 7578): fields in front, then one file as it is read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ..core.wire import Upload

Fields = Iterable[tuple[str, str]]


def multipart(fields: Fields, file: Upload, filename: str, mime_type: str, boundary: str) -> Upload:
    """The file stands under the name ``file``. It is read when the body is sent."""
    mark = f"--{boundary}\r\n"
    parts = [
        f'{mark}Content-Disposition: form-data; name="{_quoted(name)}"\r\n\r\n{value}\r\n'
        for name, value in fields
    ]
    parts.append(
        f'{mark}Content-Disposition: form-data; name="file"; filename="{_quoted(filename)}"\r\n'
        f"Content-Type: {mime_type}\r\n\r\n"
    )
    head = "".join(parts).encode("utf-8", "replace")
    tail = f"\r\n--{boundary}--\r\n".encode()

    def pieces() -> Iterator[bytes]:
        yield head
        yield from file
        yield tail

    return Upload(len(head) + file.size + len(tail), pieces)


def content_type(boundary: str) -> bytes:
    return f"multipart/form-data; boundary={boundary}".encode()


def fields_of(name: str, value: object) -> Iterator[tuple[str, str]]:
    """A keyword as form fields: lists as ``name[]``, mappings as ``name[key]``."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from fields_of(f"{name}[{key}]", inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from fields_of(f"{name}[]", inner)
    elif isinstance(value, bool):
        yield name, "true" if value else "false"
    elif value is not None:
        yield name, str(value)


def _quoted(name: str) -> str:
    """As browsers write it: https://html.spec.whatwg.org/#multipart-form-data."""
    return name.replace("\r", "%0D").replace("\n", "%0A").replace('"', "%22")
