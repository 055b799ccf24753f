"""The pages build, strictly and without a network, and speak of nothing but the project."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from .pages import PAGES, ROOT, name_of

TEXTS = [
    *PAGES,
    ROOT / "CHANGELOG.md",
    ROOT / "mkdocs.yml",
    *sorted((ROOT / "docs").rglob("*.py")),
    *sorted((ROOT / "configs").iterdir()),
    *sorted((ROOT / "llm_rotate").rglob("*.py")),
    *sorted((ROOT / "llm_rotate").rglob("*.json")),
]
# What belongs to no reader: folders of one machine, plans, numbers of issues, registries' hosts
FOREIGN = re.compile(
    r"/work/|/root/|/home/|/Users/|shared/|design\.md|behaviours\.md|\bissues? #?\d"
    r"|pypi\.(org|io)|pythonhosted|test\.pypi|npmjs|conda\.anaconda",
    re.IGNORECASE,
)
LINK = re.compile(r"(?<!!)\[[^\]]*\]\((?!https?://|#)([^)#\s]+)(#[^)\s]+)?\)")
# Hosts that a page may load something from: none
LOADED = re.compile(r"<(?:link|script|img)\b[^>]*?\b(?:href|src)=\"(https?:)?//([^\"/]+)")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet"]
    # Any request that the build made would go to a proxy that is not there.
    nowhere = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), "http://127.0.0.1:9")
    built = subprocess.run(
        [*command, "--site-dir", str(folder)],
        cwd=ROOT,
        env={**os.environ, **nowhere, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (built.returncode, built.stdout, built.stderr) == (0, "", "")
    return folder


def test_site_builds_strictly_and_silently(site: Path) -> None:
    assert (site / "index.html").is_file()
    assert (site / "concepts" / "health-machine.svg").is_file()


def test_site_loads_nothing_from_elsewhere(site: Path) -> None:
    found = {
        match[2]
        for page in site.rglob("*.html")
        for match in LOADED.finditer(page.read_text("utf-8"))
    }
    assert found == set()


def test_reference_shows_what_the_docstrings_say(site: Path) -> None:
    page = (site / "reference" / "pool.html").read_text("utf-8")
    for name in ("chat", "chat_stream", "acquire", "health", "usage_summary", "reload_config"):
        assert f'id="llm_rotate.LMRotate.{name}"' in page


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_between_pages_resolve(page: Path) -> None:
    text = page.read_text("utf-8")
    lost = [match[1] for match in LINK.finditer(text) if not (page.parent / match[1]).exists()]
    assert lost == []


@pytest.mark.parametrize("path", TEXTS, ids=name_of)
def test_text_speaks_of_the_project_alone(path: Path) -> None:
    found = [match[0] for match in FOREIGN.finditer(path.read_text("utf-8"))]
    assert found == []


def test_the_first_make_says_that_it_takes_a_while(tmp_path: Path) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "bin").mkdir()
    command = ["make", "--no-print-directory", "demo", "PYTHON=true", f"BIN={tmp_path / 'bin'}"]
    python = tmp_path / "bin" / "python"
    python.write_text("#!/bin/sh\nmkdir -p .venv\n")
    python.chmod(0o755)
    made = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert made.stdout == "installing into .venv, once: a minute or two\n"
    again = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert again.stdout == ""


def test_the_log_of_the_simulator_is_not_said_to_be_a_list() -> None:
    page = (ROOT / "docs" / "how-to" / "testing.md").read_text("utf-8")
    assert "`list(services.log)[:3]`" in page
