"""How help texts name what a command takes."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand


class Worded(TyperCommand):
    """Names arguments in the usage line alone, without the braces that typer puts around them:
    the command's own text says what they are.
    """

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        return [piece.strip("{}") for piece in super().collect_usage_pieces(ctx)]
