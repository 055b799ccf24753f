"""The output of a job with its checkpoint: each row is written once, whatever stops the job.

A row is appended to the output at once, and settled in the checkpoint with some others, which
notes how long the output is. What stands behind that length after a crash is adopted if it is
whole, and cut off if it is not. Room for the answers under way is reserved in a file, so that a
disk that fills up costs none of them.
"""

from __future__ import annotations

import errno
import json
import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from ...errors import ConfigurationError
from .checkpoint import Checkpoint, beside, is_full

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
OPENING = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)
LEAST_RESERVE = 1 << 20  # bytes
SETTLED_TOGETHER = 64  # rows
CHECKPOINT_SHARE = 256 << 10  # bytes: what the checkpoint may need for its own log


class NoRoomError(Exception):
    """The disk is full."""


class Journal:
    """``window``: rows that may be under way. ``is_full``: the disk is; no more rows should be
    begun, those under way are still saved.

    Raises ConfigurationError for an output that would be overwritten, or that belongs to
    another job; NoRoomError for a disk that is full already.
    """

    def __init__(self, path: Path, job: Mapping[str, Any], window: int, *, resume: bool) -> None:
        self.path = path
        self.is_full = False
        self._window = window
        self._reserved = 0
        self._unsettled: list[tuple[int, str | None]] = []
        self._reserve = beside(path).with_suffix(".reserve")
        if not path.parent.is_dir():
            raise ConfigurationError(f"{path} cannot be written: there is no {path.parent}")
        is_new = not (path.exists() and path.stat().st_size)
        if not (is_new or resume):
            raise ConfigurationError(
                f"{path} is there already: --resume goes on with it; or remove it, or name another"
            )
        if not is_new and not beside(path).exists():
            raise ConfigurationError(
                f"{path} has no checkpoint beside it ({beside(path).name}), so it cannot be gone "
                "on with: remove it, or name another"
            )
        with self._no_room():
            self._checkpoint = Checkpoint(beside(path))
        try:
            with self._no_room():
                self._open(job, resume=resume)
        except BaseException:
            self._checkpoint.close()
            raise

    def _open(self, job: Mapping[str, Any], *, resume: bool) -> None:
        known = self._checkpoint.job()
        if resume and known is not None:
            self._compare(known, job)
            self._repair()
        else:
            self._checkpoint.bind(job)
        self._file = os.open(self.path, OPENING, 0o666)
        self._size = os.fstat(self._file).st_size
        self._hold(LEAST_RESERVE)

    def _compare(self, known: Mapping[str, Any], job: Mapping[str, Any]) -> None:
        if known.get("input") != job.get("input"):
            raise ConfigurationError(
                f"{self.path} cannot be gone on with: the input file has changed since. Put it "
                "back as it was, or give the rows that are new or corrected a file and an output "
                "of their own"
            )
        told = [
            f"{name} was {known.get(name)!r}, is {job.get(name)!r}"
            for name in sorted({*known, *job})
            if known.get(name) != job.get(name)
        ]
        if told:
            raise ConfigurationError(
                f"{self.path} belongs to another job: {'; '.join(told)}. Go on with what it was, "
                "or name another output"
            )

    # -- rows

    def is_done(self, number: int) -> bool:
        """Whether the row stands in the output, and well."""
        return self._checkpoint.is_done(number)

    def counts(self) -> tuple[int, int]:
        """Rows that are done, and rows that failed."""
        self._settle()
        done, failed = self._checkpoint.counts()
        more = sum(error is not None for _, error in self._unsettled)
        return done + len(self._unsettled) - more, failed + more

    def write(self, number: int, row: Mapping[str, Any]) -> None:
        """Saves a row. Raises NoRoomError if there is no room even for what was under way."""
        line = line_of(row)
        error = row.get("error")
        self._save(lambda: self._append(line))
        self._unsettled.append((number, error))
        if len(self._unsettled) >= SETTLED_TOGETHER:
            self._settle()
        if not self.is_full:
            self._keep_room(2 * self._window * len(line))

    def _settle(self) -> None:
        """Without room for it nothing is lost: the output has the rows."""
        try:
            self._save(lambda: self._checkpoint.settle(self._unsettled, self._size))
        except NoRoomError:
            self.is_full = True
        else:
            self._unsettled.clear()

    def _append(self, line: bytes) -> None:
        left = memoryview(line)
        try:
            while left:
                left = left[os.write(self._file, left) :]
        except OSError:
            os.ftruncate(self._file, self._size)  # no half of a line stays
            raise
        self._size += len(line)

    def _save(self, step: Callable[[], None]) -> None:
        """A step that finds the disk full gets the room that was kept for it."""
        try:
            with self._no_room():
                step()
        except NoRoomError:
            if not self._reserved:
                raise
            self.is_full = True
            self._release()
            with self._no_room():
                step()

    # -- room

    def _keep_room(self, size: int) -> None:
        if size > self._reserved:
            try:
                with self._no_room():
                    self._hold(2 * size)
            except NoRoomError:
                self.is_full = True

    def _hold(self, size: int) -> None:
        with self._reserve.open("ab") as file:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, size + CHECKPOINT_SHARE)
            else:
                file.write(bytes(size + CHECKPOINT_SHARE - file.tell()))
        self._reserved = size

    def _release(self) -> None:
        self._reserved = 0
        with suppress(FileNotFoundError):
            self._reserve.unlink()

    def _no_room(self) -> _NoRoom:
        return _NoRoom(self.path)

    # -- after a crash

    def _repair(self) -> None:
        size = self.path.stat().st_size if self.path.exists() else 0
        checkpoint = self._checkpoint
        if checkpoint.is_rewriting or checkpoint.counts()[1]:
            self._rewrite()
        elif size < checkpoint.size:
            raise ConfigurationError(
                f"{self.path} is shorter than when it was written: rows are missing. Put it back, "
                f"or remove it and {checkpoint.path.name} to begin anew"
            )
        elif size > checkpoint.size and not self._adopt():
            self._rewrite()

    def _adopt(self) -> bool:
        """Whole rows that were written but not settled. False: the output needs rewriting."""
        end = self._checkpoint.size
        adopted: dict[int, None] = {}
        with self.path.open("rb+") as file:
            file.seek(end)
            for line in file:
                number, is_good = read_row(line)
                if number is None and not line.endswith(b"\n"):
                    break
                if number is None or not is_good or number in adopted or self.is_done(number):
                    return False
                end += len(line)
                adopted[number] = None
            file.truncate(end)
        self._checkpoint.settle(adopted.items(), end)
        return True

    def _rewrite(self) -> None:
        """Leaves good rows alone, each once: the others are tried again."""
        new = self.path.with_name(self.path.name + ".new")
        self._checkpoint.begin_rewrite()
        try:
            with new.open("wb") as file:
                for number, line in self._good_rows():
                    if self._checkpoint.keep(number):
                        file.write(line)
                file.flush()
                os.fsync(file.fileno())
                self._checkpoint.end_rewrite(file.tell())
            new.replace(self.path)
        except OSError:
            with suppress(FileNotFoundError):
                new.unlink()
            raise
        self._checkpoint.rewritten()

    def _good_rows(self) -> Iterator[tuple[int, bytes]]:
        if not self.path.exists():
            return
        file: IO[bytes]
        with self.path.open("rb") as file:
            for line in file:
                number, is_good = read_row(line)
                if number is not None and is_good:
                    yield number, line

    def close(self) -> None:
        """All is on the disk when it returns."""
        self._settle()
        self._release()
        os.fsync(self._file)
        os.close(self._file)
        self._checkpoint.close()


def line_of(row: Mapping[str, Any]) -> bytes:
    """A row as a line; halves of characters, which no encoding takes, as JSON escapes them."""
    try:
        return (json.dumps(row, ensure_ascii=False) + "\n").encode()
    except UnicodeEncodeError:
        return (json.dumps(row) + "\n").encode()


def read_row(line: bytes) -> tuple[int | None, bool]:
    """A row's number, None for what is no whole row; and whether it is a good one."""
    if not line.endswith(b"\n"):
        return None, False
    try:
        row = json.loads(line)
        return int(row["_index"]), row["error"] is None
    except (ValueError, TypeError, KeyError):
        return None, False


class _NoRoom:
    """Whatever says that the disk is full, in one word."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None:
            return
        if is_full(error) or (isinstance(error, OSError) and error.errno in FULL):
            raise NoRoomError(f"no room on the disk of {self._path}") from error
        if isinstance(error, (OSError, sqlite3.Error)):
            raise ConfigurationError(f"{self._path} cannot be written: {error}") from error
