"""Generation, as LMClient has it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..engine.portal import PORTAL
from ..helpers.batch import BatchResult, OnProgress, OnResult, run_batch_sync
from ..types import ChatResponse
from .bound import Bound
from .inputs import EndpointType, checked_endpoint, format_of, messages_of, parsed_text, rows_of
from .results import GenerationResult, generation_of


class Generation(Bound):
    """Answers to prompts, messages and payloads."""

    def generate(
        self,
        input_data: Any,
        *,
        endpoint: EndpointType | None = None,
        response_format: Any = None,
        parse_output: bool = False,
        **kwargs: Any,
    ) -> GenerationResult:
        """:meth:`agenerate` for code without a loop; it works in notebooks, too."""
        return PORTAL.run(
            lambda: self.agenerate(
                input_data,
                endpoint=endpoint,
                response_format=response_format,
                parse_output=parse_output,
                **kwargs,
            )
        )

    async def agenerate(
        self,
        input_data: Any,
        *,
        endpoint: EndpointType | None = None,
        response_format: Any = None,
        parse_output: bool = False,
        **kwargs: Any,
    ) -> GenerationResult:
        """One answer.

        ``input_data``: a prompt or a list of messages; for the responses endpoint also
        {"input": ..., "instructions": ...}. ``response_format``: a pydantic class, a JSON
        schema, or OpenAI's own form; it goes to the provider, and the answer into
        ``output_parsed``. ``parse_output``: reads the answer as JSON without one. Other
        keywords are those of the pool's ``chat``, except that ``timeout`` is for one request.

        Raises ConfigurationError for an input of a wrong shape, else what ``chat`` raises.
        """
        where = checked_endpoint(endpoint or self._endpoint)
        said = self._asked(self._said(kwargs), where, response_format)
        messages = messages_of(input_data, where)
        response = await self._once(self._lm.chat, self._lm.chat_batch, messages, said)
        return self._result(response, parse_output)

    def generate_batch(
        self,
        input_batch: Iterable[Any],
        *,
        endpoint: EndpointType | None = None,
        response_format: Any = None,
        parse_output: bool = False,
        return_exceptions: bool = True,
        on_progress: OnProgress | None = None,
        on_result: OnResult | None = None,
        **kwargs: Any,
    ) -> BatchResult[GenerationResult]:
        """:meth:`agenerate_batch` for code without a loop; callbacks run in the thread that
        serves such calls.
        """
        return run_batch_sync(
            lambda: self.agenerate_batch(
                input_batch,
                endpoint=endpoint,
                response_format=response_format,
                parse_output=parse_output,
                return_exceptions=return_exceptions,
                on_progress=on_progress,
                on_result=on_result,
                **kwargs,
            )
        )

    async def agenerate_batch(
        self,
        input_batch: Iterable[Any],
        *,
        endpoint: EndpointType | None = None,
        response_format: Any = None,
        parse_output: bool = False,
        return_exceptions: bool = True,
        on_progress: OnProgress | None = None,
        on_result: OnResult | None = None,
        **kwargs: Any,
    ) -> BatchResult[GenerationResult]:
        """Every input answered: results in order, errors beside them.

        ``input_batch``: a list, or anything that can be gone through once; an input of a wrong
        shape fails alone. ``return_exceptions``: False raises
        the first failure and cancels the rest. ``on_progress(completed, total)`` and
        ``on_result(index, result, error)``: after each row. The rest as in :meth:`agenerate`,
        and as in the pool's ``chat_batch``.
        """
        where = checked_endpoint(endpoint or self._endpoint)
        said = self._asked(self._rows(kwargs), where, response_format)
        return await self._lm.chat_batch(
            self._models,
            rows_of(input_batch, where),
            postprocess=lambda response: self._result(response, parse_output),
            return_exceptions=return_exceptions,
            on_progress=on_progress,
            on_result=on_result,
            **said,
        )

    @staticmethod
    def _asked(
        said: Mapping[str, Any], endpoint: EndpointType, response_format: Any
    ) -> dict[str, Any]:
        where = {} if endpoint == "chat_completion" else {"endpoint": endpoint}
        form = {} if response_format is None else {"response_format": format_of(response_format)}
        return {**said, **where, **form}

    def _result(self, response: ChatResponse, parse_output: bool) -> GenerationResult:
        parsed = response.parsed
        if parsed is None and parse_output:
            parsed = parsed_text(response.content)
        return generation_of(response, parsed, self._lm.cost(response))
