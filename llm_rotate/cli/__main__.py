"""``python -m llm_rotate.cli``."""

from __future__ import annotations

from . import main

main()
