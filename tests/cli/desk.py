"""A working directory, a server, and the command in the test's own process."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from llm_rotate.cli import main
from llm_rotate.testing import Simulator

from .jobs import generating


@dataclass
class Ended:
    status: int | str | None
    out: str
    err: str


@dataclass
class Desk:
    """A working directory, a server, and the command in this very process."""

    folder: Path
    sim: Simulator
    patch: pytest.MonkeyPatch
    capture: pytest.CaptureFixture[str]

    def run(self, *words: object) -> Ended:
        self.patch.setattr(sys, "argv", ["llm-rotate", *map(str, words)])
        status: int | str | None = 0
        try:
            main()
        except SystemExit as end:
            status = end.code
        out, err = self.capture.readouterr()
        assert "Traceback" not in err, err
        return Ended(status, out, err)

    def generate(self, *more: object) -> Ended:
        return self.run(*generating(self.sim, self.folder, *more))

    @property
    def output(self) -> Path:
        return self.folder / "out.jsonl"

    def write(self, name: str, *lines: Any) -> Path:
        path = self.folder / name
        texts = (each if isinstance(each, str) else json.dumps(each) for each in lines)
        path.write_text("".join(f"{text}\n" for text in texts))
        return path
