"""``python -m llm_rotate``: the command."""

from __future__ import annotations

from .cli import main

main()
