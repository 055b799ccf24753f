"""The faces of embeddings, as LMRotate has them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from ..arguments import Steering, steered
from ..core.wire import EmbedRequest, Request
from ..engine.portal import PORTAL
from ..types import EmbeddingResponse
from .embedding import check_text, numpy, response_of


class Embeddings:
    """Texts as vectors, for whoever can ask."""

    _ask: Callable[[Request, Steering], Awaitable[Any]]

    async def embed(
        self,
        model: str,
        text: str,
        *,
        dimensions: int | None = None,
        task_type: str | None = None,
        as_array: bool = False,
        **kwargs: Any,
    ) -> EmbeddingResponse:
        """One text as a vector.

        ``dimensions``: of the vector, where the model can shorten it. ``task_type``: what it
        is for, where the provider asks. ``as_array``: a numpy array of float32 instead of a
        list. The keywords of :meth:`chat` steer it (provider, timeout, key_id, ...), others go
        into the request as they are. Of a chain only the stages count that send the same model.

        Raises as :meth:`chat` does.
        """
        check_text(text)
        if as_array:
            numpy()
        steering, options = steered(model, kwargs)
        request = EmbedRequest(model, (text,), dimensions, task_type, None, options)
        answer = await self._ask(request, steering)
        return response_of(answer, 0, as_array=as_array)

    def embed_sync(self, model: str, text: str, **kwargs: Any) -> EmbeddingResponse:
        """:meth:`embed` for code without a loop."""
        return PORTAL.run(lambda: self.embed(model, text, **kwargs))
