"""The pages of the documentation and the fenced blocks in them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]

_FENCE = re.compile(r"^(?P<indent> *)```(?P<language>[\w-]+) *(?P<rest>[^`]*)$")
_NOT_RUN = re.compile(r"^ *<!-- not run: (?P<reason>.+?) -->$")
_SETUP = re.compile(r"^<!-- setup$")
_TITLE = re.compile(r'title="([^"]+)"')


@dataclass(frozen=True, slots=True)
class Block:
    """``line`` is that of the block's first line; ``reason``: why it is not run, if it says so.

    ``language`` is "setup" for code in a comment, which readers do not see.
    """

    page: Path
    line: int
    language: str
    text: str
    title: str | None = None
    reason: str | None = None

    def __str__(self) -> str:
        return f"{name_of(self.page)}:{self.line}"


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix() if page.is_relative_to(ROOT) else page.name


def blocks(page: Path) -> list[Block]:
    return list(_blocks(page, page.read_text("utf-8").split("\n")))


def _blocks(page: Path, lines: list[str]) -> Iterator[Block]:
    number, reason = 0, None
    while number < len(lines):
        line = lines[number]
        fence, mark = _FENCE.match(line), _NOT_RUN.match(line)
        if _SETUP.match(line):
            end = lines.index("-->", number)
            yield Block(page, number + 2, "setup", "\n".join(lines[number + 1 : end]))
            number = end
        elif fence:
            indent = fence["indent"]
            end = lines.index(f"{indent}```", number + 1)
            body = [each.removeprefix(indent) for each in lines[number + 1 : end]]
            title = _TITLE.search(fence["rest"])
            yield Block(
                page,
                number + 2,
                fence["language"],
                "\n".join(body) + "\n",
                title[1] if title else None,
                reason,
            )
            number, reason = end, None
        elif mark:
            reason = mark["reason"]
        elif line.strip():
            assert reason is None, f"{name_of(page)}:{number + 1}: a mark without its block"
        number += 1
