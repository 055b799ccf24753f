from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from llm_rotate.testing import Simulator

from .command import environment
from .desk import Desk


@pytest.fixture
def sim() -> Iterator[Simulator]:
    with Simulator().serve() as sim:
        yield sim


@pytest.fixture
def desk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Desk]:
    for name in os.environ.keys() - environment().keys():
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    with Simulator().serve() as sim:
        yield Desk(tmp_path, sim, monkeypatch, capsys)
