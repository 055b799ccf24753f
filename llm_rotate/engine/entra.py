"""Tokens of Microsoft Entra ID, in place of a key of Azure's.

They come from a function of the user's, or from azure-identity (the extra ``azure``). Both keep
a token while it is good, and fetch the next one before it expires.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from inspect import iscoroutine, iscoroutinefunction
from typing import Any

from ..core.redact import redact
from ..secrets import SecretError
from .readers import TooSlowError

# https://learn.microsoft.com/azure/ai-foundry/openai/how-to/managed-identity
_SCOPE = "https://cognitiveservices.azure.com/.default"
# Seconds between two questions whether the token is still the one.
ASKED_AGAIN_SECONDS = 60.0


class Source:
    """Where a key's tokens come from, by its auth_config: ``azure_ad_token_provider``, a
    function; else the application ``client_id`` of ``tenant_id``, with ``secret`` as its own;
    else what azure-identity finds on the machine (``client_id``: the managed identity).
    """

    def __init__(self, auth: Mapping[str, Any], secret: str | None) -> None:
        self._auth = auth
        self.secret = secret
        self._ask: Callable[[], Any] | None = auth.get("azure_ad_token_provider")
        self._asking: dict[asyncio.AbstractEventLoop, asyncio.Task[str]] = {}

    @property
    def is_async(self) -> bool:
        """Whether ``ask`` gives the token; else ``read`` does."""
        kind: Any = type(self._ask)  # an object may have an asynchronous call
        return iscoroutinefunction(self._ask) or iscoroutinefunction(kind.__call__)

    def read(self) -> str:
        """The token that is good now. Blocks. Raises SecretError."""
        try:
            self._ask = self._ask or self._opened()
            return self._checked(self._ask())
        except ModuleNotFoundError as error:
            reason = f"needs {error.name}: pip install 'llm_rotate[azure]'"
        except Exception as error:  # whatever the user's function raises
            reason = self._failed(error)
        raise SecretError(f"Microsoft Entra ID {reason}")

    async def ask(self, limit_s: float) -> str:
        """The token of an asynchronous function, asked once for all who wait for it on their
        loop; one that takes longer than ``limit_s`` seconds is ended. Raises SecretError.
        """
        loop = asyncio.get_running_loop()
        task = self._asking.get(loop)
        if task is None:
            self._asking[loop] = task = loop.create_task(self._asked(limit_s))
            task.add_done_callback(lambda _: self._asking.pop(loop, None))
        return await asyncio.shield(task)

    async def _asked(self, limit_s: float) -> str:
        assert self._ask is not None  # noqa: S101 - for the type checker: it is asynchronous
        try:
            async with asyncio.timeout(limit_s):
                return self._checked(await self._ask())
        except TimeoutError:
            late = TooSlowError(f"Microsoft Entra ID gave no token within {limit_s:g} s")
            raise late from None
        except Exception as error:
            reason = self._failed(error)
        raise SecretError(f"Microsoft Entra ID {reason}")

    @staticmethod
    def _checked(token: object) -> str:
        if isinstance(token, str) and token:
            return token
        if iscoroutine(token):
            token.close()
            raise TypeError("azure_ad_token_provider gave a coroutine: declare it with async def")
        raise TypeError(f"azure_ad_token_provider gave {type(token).__name__}, not a token's text")

    def _failed(self, error: Exception) -> str:
        return redact(f"gave no token: {type(error).__name__}: {error}", self.secret)

    def _opened(self) -> Callable[[], str]:
        from azure import identity  # noqa: PLC0415 - an extra

        tenant, client = self._auth.get("tenant_id"), self._auth.get("client_id")
        credential: Any = (
            identity.DefaultAzureCredential(managed_identity_client_id=client)
            if self.secret is None
            else identity.ClientSecretCredential(str(tenant), str(client), self.secret)
        )
        return identity.get_bearer_token_provider(credential, _SCOPE)
