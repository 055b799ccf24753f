"""Rows as they stand in a file or a pipe."""

from __future__ import annotations

import csv
import hashlib
import json
import sys
from codecs import BOM_UTF8
from collections.abc import Callable, Iterator, Mapping
from io import TextIOWrapper
from pathlib import Path
from typing import Any, cast

from ...errors import ConfigurationError
from .extras import needed

PIPE = Path("-")
CHUNK = 1 << 20  # bytes read at once for the digest
CELL = 1 << 27  # characters a CSV cell may have; more than any provider takes in one request


class BadRowError(ValueError):
    """A row that cannot be read; the others can."""


Record = dict[str, Any] | BadRowError


def records(path: Path) -> Iterator[Record]:
    """Every row of the file, or of standard input; a broken one is a BadRowError.

    Raises ConfigurationError if the file cannot be read at all.
    """
    read = READERS.get(path.suffix.lower(), _json_lines)
    try:
        yield from read(path)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from None


def check(path: Path) -> None:
    """Raises ConfigurationError if the file cannot be read at all, before a job begins. What
    can be read only once is left alone.
    """
    if path != PIPE and (path.is_file() or not path.exists()):
        next(records(path), None)


def digest(path: Path) -> str:
    """What tells this content from any other. Raises ConfigurationError."""
    found = hashlib.blake2b(digest_size=16)
    try:
        with path.open("rb") as file:
            while chunk := file.read(CHUNK):
                found.update(chunk)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from None
    return found.hexdigest()


def size(path: Path) -> int | None:
    """How many rows there are, if their lines say so."""
    if path == PIPE or path.suffix.lower() in READERS or not path.is_file():
        return None
    with path.open("rb") as file:
        return sum(1 for line in file if line.strip())


def _json_lines(path: Path) -> Iterator[Record]:
    if path == PIPE:
        # As text: a thread that reads the bytes below it would abort the process at its end.
        text = cast("TextIOWrapper", sys.stdin)
        text.reconfigure(encoding="utf-8", errors="surrogateescape", newline="\n")
        lines = (line.encode("utf-8", "surrogateescape") for line in text)
        yield from map(_from_line, filter(bytes.strip, lines))
        return
    # Lines end at \\n alone: other ends of lines may stand inside a JSON text.
    with path.open("rb") as file:
        yield from map(_from_line, filter(bytes.strip, file))


def _from_line(line: bytes) -> Record:
    try:
        found = json.loads(line.removeprefix(BOM_UTF8).decode())
    except UnicodeDecodeError as error:
        return BadRowError(f"the line is not UTF-8 text from its byte {error.start + 1} on")
    except RecursionError:
        return BadRowError("the line is no JSON that can be read: it is nested too deeply")
    except ValueError as error:
        return BadRowError(f"the line is no JSON: {error}")
    return found if isinstance(found, dict) else BadRowError("the line is no JSON object")


def _csv(path: Path) -> Iterator[Record]:
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        csv.field_size_limit(CELL)
        rows = csv.DictReader(file)
        while (found := _next_of(rows)) is not None:
            yield found


def _next_of(rows: csv.DictReader[str]) -> Record | None:
    try:
        row = next(rows, None)
    except csv.Error as error:
        return BadRowError(f"the row is no CSV: {error}")
    return None if row is None else _from_fields(row)


def _from_fields(row: dict[str, Any]) -> Record:
    if None in row:
        return BadRowError("more fields than the first line names")
    try:
        "".join(each or "" for pair in row.items() for each in pair).encode()
    except UnicodeEncodeError:  # what could not be decoded
        return BadRowError("the row is not UTF-8 text")
    return row


def _parquet(path: Path) -> Iterator[Record]:
    parquet = needed("pyarrow.parquet", "tables", f"{path}: a Parquet file")
    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches():
                yield from batch.to_pylist()
    except needed("pyarrow", "tables", "Parquet").ArrowInvalid as error:
        raise ConfigurationError(f"{path} is no Parquet file: {error}") from None


READERS: Mapping[str, Callable[[Path], Iterator[Record]]] = {".csv": _csv, ".parquet": _parquet}
