"""The command ``llm-rotate``. It needs the extra ``cli``, and is imported by nothing else."""

from __future__ import annotations

import sys

_EXTRA = frozenset({"typer", "rich", "click"})
_WITHOUT_EXTRA = (
    "llm-rotate: the command needs typer and rich; from a checkout: pip install '.[cli]'"
)


def main() -> None:
    """Runs the command line, and exits with its status."""
    try:
        from .app import run  # noqa: PLC0415 - an extra
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _EXTRA:
            raise
        sys.exit(_WITHOUT_EXTRA)
    run()
