"""What is settled of a job, in a SQLite file beside its output."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ...errors import ConfigurationError

VERSION = 1
LOG_PAGES = 32  # of 4 KiB: the log beside the file stays small, for disks that are nearly full
TABLES = (
    "CREATE TABLE IF NOT EXISTS notes (name TEXT PRIMARY KEY, value TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS rows (number INTEGER PRIMARY KEY, error TEXT)",
)
ADD = "INSERT OR REPLACE INTO rows (number, error) VALUES (?, ?)"
ADD_NEW = "INSERT OR IGNORE INTO rows (number, error) VALUES (?, NULL)"
NOTE = "INSERT OR REPLACE INTO notes (name, value) VALUES (?, ?)"


def beside(output: Path) -> Path:
    """Where the checkpoint of an output lies: NAME.checkpoint.sqlite."""
    return output.with_name(f"{output.stem}.checkpoint.sqlite")


class Checkpoint:
    """One writer at a time: the file is locked while it is open, and free again when the
    process ends in whatever way. What is settled is in the system's hands when ``settle``
    returns, and a killed process does not take it along.

    Raises ConfigurationError if another run has it, or if it is no checkpoint.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._rows = sqlite3.connect(path, isolation_level=None, timeout=0.0)
        try:
            self._rows.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._rows.execute("PRAGMA journal_mode = WAL")
            self._rows.execute("PRAGMA synchronous = NORMAL")
            self._rows.execute(f"PRAGMA wal_autocheckpoint = {LOG_PAGES}")
            self._rows.execute("BEGIN EXCLUSIVE")
            for table in TABLES:
                self._rows.execute(table)
            self._rows.execute("COMMIT")
        except sqlite3.DatabaseError as error:
            self._rows.close()
            if isinstance(error, sqlite3.OperationalError) and "locked" in str(error):
                raise ConfigurationError(f"{path}: another run is at work on it") from None
            if is_full(error):
                raise
            raise ConfigurationError(f"{path} is no checkpoint: {error}") from None

    # -- what the job is

    def bind(self, job: Mapping[str, Any]) -> None:
        """Forgets all that was settled, and belongs to ``job`` from now on."""
        with self._rows:
            self._rows.execute("BEGIN")
            self._rows.execute("DELETE FROM rows")
            self._rows.execute("DELETE FROM notes")
            for name, value in {"version": VERSION, "job": job, "bytes": 0}.items():
                self._rows.execute(NOTE, (name, json.dumps(value)))

    def job(self) -> Any:
        """What it was bound to; None if it never was."""
        return self._note("job")

    # -- rows

    def is_done(self, number: int) -> bool:
        """Whether the row is settled, and well."""
        found = self._rows.execute("SELECT error FROM rows WHERE number = ?", (number,)).fetchone()
        return found is not None and found[0] is None

    def settle(self, rows: Iterable[tuple[int, str | None]], size: int) -> None:
        """The rows (with their errors) stand in the output, which has ``size`` bytes now."""
        with self._rows:
            self._rows.execute("BEGIN")
            self._rows.executemany(ADD, rows)
            self._rows.execute(NOTE, ("bytes", str(size)))

    def counts(self) -> tuple[int, int]:
        """Rows that are done, and rows that failed."""
        query = "SELECT COUNT(*) - COUNT(error), COUNT(error) FROM rows"
        done, failed = self._rows.execute(query).fetchone()
        return int(done), int(failed)

    # -- the output

    @property
    def size(self) -> int:
        """Bytes of the output up to the last settled row."""
        return int(self._note("bytes") or 0)

    @property
    def is_rewriting(self) -> bool:
        """The output was about to be replaced by one without failed rows."""
        return bool(self._note("rewriting"))

    def begin_rewrite(self) -> None:
        """From here to ``end_rewrite`` nothing changes until the end."""
        self._rows.execute("BEGIN")
        self._rows.execute("DELETE FROM rows")

    def keep(self, number: int) -> bool:
        """The row goes into the new output; False if it is there already."""
        return self._rows.execute(ADD_NEW, (number,)).rowcount == 1

    def end_rewrite(self, size: int) -> None:
        """The new output is whole, has ``size`` bytes, and is about to take the old one's place."""
        self._rows.execute(NOTE, ("bytes", str(size)))
        self._rows.execute(NOTE, ("rewriting", "1"))
        self._rows.execute("COMMIT")

    def rewritten(self) -> None:
        """It took it."""
        self._rows.execute(NOTE, ("rewriting", "0"))

    def _note(self, name: str) -> Any:
        found = self._rows.execute("SELECT value FROM notes WHERE name = ?", (name,)).fetchone()
        return None if found is None else json.loads(found[0])

    def close(self) -> None:
        """Leaves one file, without a log beside it."""
        self._rows.close()


def is_full(error: BaseException) -> bool:
    """Whether SQLite found no room."""
    return isinstance(error, sqlite3.OperationalError) and "full" in str(error)
