"""Recordings, whatever they come as: a path, bytes or a file, read while they are sent."""

from __future__ import annotations

import io
import mimetypes
import os
import secrets
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO

from ..core.wire import Upload
from ..errors import ConfigurationError

AudioInput = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO

PIECE = 256 * 1024  # bytes read at a time
# How files of sound begin -> the end of their name, by which providers know them.
_MAGIC: tuple[tuple[int, bytes, str], ...] = (
    (8, b"WAVE", ".wav"),
    (0, b"fLaC", ".flac"),
    (0, b"OggS", ".ogg"),
    (4, b"ftyp", ".m4a"),
    (0, b"\x1aE\xdf\xa3", ".webm"),
    (0, b"ID3", ".mp3"),
    (0, b"\xff\xfb", ".mp3"),
    (0, b"\xff\xf3", ".mp3"),
    (0, b"\xff\xf2", ".mp3"),
)
# What the system's table may not know.
_TYPES = {
    ".wav": "audio/wav",
    ".m4a": "audio/mp4",
    ".webm": "audio/webm",
    ".flac": "audio/flac",
    ".ogg": "audio/ogg",
}
_ODD = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class Recording:
    """``path``: where it lies on disk, None if it does not."""

    filename: str
    upload: Upload
    path: Path | None = None

    @property
    def size(self) -> int:
        return self.upload.size

    @property
    def mime_type(self) -> str:
        """By the end of its name."""
        end = Path(self.filename).suffix.lower()
        return _TYPES.get(end) or mimetypes.guess_type(self.filename)[0] or _ODD

    def check(self, most: int | None) -> None:
        """Raises ConfigurationError if it is larger than ``most`` bytes, or empty."""
        if not self.size:
            raise ConfigurationError(f"{self.filename} is empty: there is nothing to transcribe")
        _bounded(self.filename, self.size, most)


def boundary() -> str:
    """A word that no recording has in it, but by a chance of 2^-128."""
    return secrets.token_hex(16)


def recorded(given: Any, filename: str | None, most: int | None, left: ExitStack) -> Recording:
    """Looks at a recording without reading it; blocks for as long as the disk does.

    ``filename``: as the provider is to hear it. ``most``: bytes after which a stream that
    cannot be rewound is refused; such a one is copied to disk, until ``left`` is closed.
    Raises ConfigurationError.
    """
    if isinstance(given, bytes | bytearray | memoryview):
        return _of_bytes(memoryview(given).cast("B"), filename)
    if isinstance(given, str | os.PathLike):
        return _of_path(Path(given), filename)
    if hasattr(given, "read"):
        return _of_file(given, filename, most, left)
    raise ConfigurationError(
        f"a recording is a path, bytes or a file opened with 'rb', not {type(given).__name__}"
    )


def _of_path(path: Path, filename: str | None) -> Recording:
    try:
        size = path.stat().st_size
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from error
    if not path.is_file():
        raise ConfigurationError(f"{path} is no file: a recording is one")
    upload = Upload(size, lambda: _reading(lambda: path.open("rb"), size, str(path)))
    return Recording(filename or path.name, upload, path)


def _of_bytes(data: memoryview, filename: str | None) -> Recording:
    def pieces() -> Iterator[bytes]:
        for start in range(0, len(data), PIECE):
            yield bytes(data[start : start + PIECE])

    return Recording(filename or _named(bytes(data[:16])), Upload(len(data), pieces))


def _of_file(file: Any, filename: str | None, most: int | None, left: ExitStack) -> Recording:
    if isinstance(file, io.TextIOBase):
        raise ConfigurationError("the recording was opened as text: open it with 'rb'")
    named = filename or _name_of(file)
    try:
        if not getattr(file, "seekable", bool)():
            file = _copied(file, most, named or "the recording", left)
        start = file.tell()
        size = file.seek(0, os.SEEK_END) - start
        file.seek(start)
        begin = file.read(16)
        file.seek(start)
    except ConfigurationError:
        raise
    except (OSError, ValueError) as error:  # a closed file is a ValueError
        raise unreadable(named or "the file", error) from error
    if not isinstance(begin, bytes):
        raise ConfigurationError("the recording gives text: open it with 'rb'")
    name = named or _named(begin)

    def rewound() -> Any:
        file.seek(start)
        return io.BufferedReader(_Borrowed(file))

    return Recording(name, Upload(size, lambda: _reading(rewound, size, name)))


def _copied(file: Any, most: int | None, name: str, left: ExitStack) -> IO[bytes]:
    """A stream that cannot be rewound, on disk, as another key may have to hear it again.

    A call that is cancelled meanwhile closes the copy, which ends the copying.
    """
    copy = left.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 - ``left`` closes it
    size = 0
    while piece := file.read(PIECE):
        size += copy.write(piece)
        _bounded(name, size, most)
    copy.seek(0)
    return copy


def _bounded(name: str, size: int, most: int | None) -> None:
    if most is not None and size > most:
        raise ConfigurationError(
            f"{name} has {size:,} bytes or more, and {most:,} is the most: pass split=True to "
            "send it in pieces, or max_transcription_bytes= where the server takes more"
        )


class _Borrowed(io.RawIOBase):
    """A caller's file, which is not ours to close."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def readable(self) -> bool:
        return True

    def readinto(self, into: Any) -> int:
        found = self._file.read(len(into))
        into[: len(found)] = found
        return len(found)


def _reading(opened: Callable[[], Any], size: int, name: str) -> Iterator[bytes]:
    """Exactly ``size`` bytes, or ConfigurationError: half a body must never look like one."""
    left = size
    try:
        with opened() as file:
            while left:
                piece = file.read(min(PIECE, left))
                if not piece:
                    raise ConfigurationError(f"{name} became shorter while it was sent")
                left -= len(piece)
                yield piece
    except OSError as error:
        raise unreadable(name, error) from error


def _name_of(file: Any) -> str | None:
    name = getattr(file, "name", None)
    return Path(name).name if isinstance(name, str) and name else None


def _named(begin: bytes) -> str:
    """A name for bytes without one, by what they begin with."""
    ends = (end for at, magic, end in _MAGIC if begin[at : at + len(magic)] == magic)
    return "recording" + next(ends, "")


def unreadable(what: object, error: Exception) -> ConfigurationError:
    """What to say of a file that the system does not give."""
    said = error.strerror if isinstance(error, OSError) else str(error)
    return ConfigurationError(f"{what} cannot be read: {said or type(error).__name__}")
