"""Embeddings, as LMClient has them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..engine.portal import PORTAL
from ..helpers.batch import OnProgress, OnResult, run_batch_sync
from ..helpers.embedding import EmbeddingBatch
from .bound import Bound
from .results import EmbeddingResult, embedding_of

MICRO_BATCH_SIZE = 32


class Embeddings(Bound):
    """Texts as vectors."""

    def embed(self, input_data: str, **kwargs: Any) -> EmbeddingResult:
        """:meth:`aembed` for code without a loop."""
        return PORTAL.run(lambda: self.aembed(input_data, **kwargs))

    async def aembed(self, input_data: str, **kwargs: Any) -> EmbeddingResult:
        """One text as a vector. The keywords are those of the pool's ``embed`` (dimensions,
        task_type, as_array, ...). Raises what that raises.
        """
        said = self._said(kwargs)
        found = await self._once(self._lm.embed, self._lm.embed_batch, input_data, said)
        return embedding_of(found)

    def embed_batch(
        self,
        input_batch: Iterable[str],
        *,
        micro_batch_size: int = MICRO_BATCH_SIZE,
        return_exceptions: bool = True,
        on_progress: OnProgress | None = None,
        on_result: OnResult | None = None,
        **kwargs: Any,
    ) -> EmbeddingBatch:
        """:meth:`aembed_batch` for code without a loop; callbacks run in the thread that serves
        such calls.
        """
        return run_batch_sync(
            lambda: self.aembed_batch(
                input_batch,
                micro_batch_size=micro_batch_size,
                return_exceptions=return_exceptions,
                on_progress=on_progress,
                on_result=on_result,
                **kwargs,
            )
        )

    async def aembed_batch(
        self,
        input_batch: Iterable[str],
        *,
        micro_batch_size: int = MICRO_BATCH_SIZE,
        return_exceptions: bool = True,
        on_progress: OnProgress | None = None,
        on_result: OnResult | None = None,
        **kwargs: Any,
    ) -> EmbeddingBatch:
        """Every text as an EmbeddingResult: results in order, errors beside them.

        ``micro_batch_size``: texts in one request at most. A text that the provider refuses
        fails alone. The rest as in the pool's ``embed_batch``. Raises ConfigurationError for a
        size below 1.
        """
        return await self._lm.embed_batch(
            self._models,
            input_batch,
            micro_batch_size=micro_batch_size,
            return_exceptions=return_exceptions,
            on_progress=on_progress,
            on_result=on_result,
            postprocess=embedding_of,
            **self._rows(kwargs),
        )
