"""One server, or one account, that serves a client's model."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class DeploymentConfig:
    """A plain dataclass, as structured configurations take them.

    ``model``: ``provider/name``, as this deployment knows it. ``api_base``: its address, None
    for the provider's own. ``api_key``: its key; without one the provider's environment
    variable counts, and a server without either gets none. ``extra_kwargs``: what else belongs
    to it: limits (rpm, tpm, rpd, tpd, max_parallel_requests), weight, api_version,
    organization, headers, region and the like; other names are refused.
    """

    model: str
    api_base: str | None = None
    api_key: str | None = field(default=None, repr=False)
    extra_kwargs: dict[str, Any] | None = field(default=None, repr=False)
