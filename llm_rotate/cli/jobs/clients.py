"""From the options of a command to the client that serves it."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ...config import LimitsConfig, LMRotateConfig
from ...errors import ConfigurationError
from ...lmclient.client import LMClient, PoolClient
from ...lmclient.inputs import EndpointType, checked_endpoint
from ...lmclient.translation import LIMITS
from ..source import configuration, pool
from .extras import needed
from .options import Connection


def client_of(
    asked: Connection, endpoint: str = "chat_completion", keywords: Mapping[str, Any] | None = None
) -> LMClient:
    """The client. Raises ConfigurationError for options that do not go together."""
    _read_variables(asked.env_file)
    where = checked_endpoint(endpoint)
    said = {name: value for name, value in (keywords or {}).items() if value is not None}
    if asked.config is not None:
        return _of_pool(asked, where, said)
    several = _deployments(asked)
    return LMClient(
        model=asked.model,
        api_base=asked.api_base[0] if asked.api_base and several is None else None,
        deployments=several,
        endpoint=where,
        max_parallel_requests=asked.max_parallel_requests,
        rpm=asked.rpm,
        tpm=asked.tpm,
        rpd=asked.rpd,
        tpd=asked.tpd,
        max_request_burst=asked.max_request_burst,
        max_token_burst=asked.max_token_burst,
        max_retries=asked.max_retries,
        timeout=asked.timeout,
        default_request_kwargs=said,
    )


def _of_pool(asked: Connection, endpoint: EndpointType, said: Mapping[str, Any]) -> LMClient:
    if asked.api_base or asked.deployments_toml:
        raise ConfigurationError(
            "--config says where the servers are: leave --api-base and --deployments-toml out"
        )
    found = _limited(configuration(asked.config), asked)
    return PoolClient(
        pool(found, asked.config),
        asked.model,
        endpoint=endpoint,
        max_parallel_requests=asked.max_parallel_requests,
        timeout=asked.timeout,
        default_request_kwargs={"max_retries": asked.max_retries, **said},
    )


def _limited(config: LMRotateConfig, asked: Connection) -> LMRotateConfig:
    """Limits of the command line win over the file's for all keys together."""
    most = (asked.max_request_burst, asked.max_token_burst, asked.max_parallel_requests)
    given = (asked.rpm, asked.tpm, asked.rpd, asked.tpd, *most)
    stated = {name: limit for name, limit in zip(LIMITS, given, strict=True) if limit}
    limits = LimitsConfig(**{**config.limits.model_dump(), **stated})
    return config.model_copy(update={"limits": limits})


def _deployments(asked: Connection) -> dict[str, Any] | None:
    """Those of a file, or one for each of several addresses; None for a single endpoint."""
    if asked.deployments_toml is not None:
        if asked.api_base:
            raise ConfigurationError("--deployments-toml has the addresses: leave --api-base out")
        return _from_toml(asked.deployments_toml)
    addresses = list(dict.fromkeys(asked.api_base or ()))
    if len(addresses) < 2:
        return None
    hosts = [urlsplit(each).netloc or each for each in addresses]
    labels = hosts if len(set(hosts)) == len(hosts) else addresses
    return {
        label: {"model": asked.model, "api_base": address}
        for label, address in zip(labels, addresses, strict=True)
    }


def _from_toml(path: Path) -> dict[str, Any]:
    try:
        read = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise ConfigurationError(f"{path} is no TOML: {error}") from None
    found = read.get("deployments")
    if not isinstance(found, dict) or not found:
        raise ConfigurationError(f"{path} has no [deployments.NAME]")
    return found


def _read_variables(path: Path | None) -> None:
    """Of a file of variables; those that are set already stay."""
    if path is None:
        return
    dotenv = needed("dotenv", "cli", "--env-file")
    if not path.is_file():
        raise ConfigurationError(f"{path} cannot be read: no such file")
    for name, value in dotenv.dotenv_values(path).items():
        if value is not None:
            os.environ.setdefault(name, value)
