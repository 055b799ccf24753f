"""What the endpoints of OpenAI, Azure and compatible services that answer a chat share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from ..core.learned import Reading
from ..core.wire import (
    ChatRequest,
    EmbedRequest,
    Endpoint,
    EventReader,
    Headers,
    HttpRequest,
    Operation,
    Ready,
    TranscribeRequest,
    Verdict,
)
from ..types import ChatResponse
from .answer import Received, chatted, value_in
from .faults import OPENAI, broken
from .limit_headers import readings_in
from .openai_audio import OpenAITranscriptions
from .openai_embeddings import OpenAIEmbeddings
from .openai_urls import post, template
from .parts import static_headers
from .sdk_errors import classify
from .stream import StreamReader, Tally


class OpenAIEndpoint:
    """Without state of its own. What else a service can do is the same at each of them."""

    name: str
    path: str
    sdk: str | None = None
    counts_cached = True
    operations: Mapping[type, Operation] = {
        EmbedRequest: OpenAIEmbeddings(),
        TranscribeRequest: OpenAITranscriptions(),
    }

    @abstractmethod
    def encode(self, request: ChatRequest, endpoint: Endpoint) -> bytes: ...

    @abstractmethod
    def fault_in(self, answer: object) -> object | None:
        """The error that a good status hides, or None."""

    @abstractmethod
    def response_of(self, answer: object, model: str) -> ChatResponse | None:
        """The response in an answer, or None if it has not the shape of one."""

    @abstractmethod
    def tally(self, request: ChatRequest) -> Tally: ...

    def prepare(self, secret: str | None, endpoint: Endpoint) -> Ready:
        return Ready(endpoint, template(endpoint), static_headers(secret, endpoint))

    def build(
        self,
        request: ChatRequest,
        body: bytes,
        ready: Ready,
        wall: float,  # noqa: ARG002 - of use to signers only
    ) -> HttpRequest:
        return post(self, self.path, request, body, ready)

    def parse(
        self, request: ChatRequest, status: int, headers: Headers, body: bytes, wall: float
    ) -> Verdict[ChatResponse]:
        got = Received(status, headers, body, wall)
        answer = value_in(OPENAI, got, self.fault_in, pinned=request.upstream is not None)
        if isinstance(answer, Verdict):
            return answer
        response = self.response_of(answer, request.model)
        if response is None:
            return broken("the answer has not the shape of one", status, headers, answer)
        return chatted(response, got)

    def events(self, request: ChatRequest) -> EventReader:
        return StreamReader(self.tally(request))

    def readings(self, headers: Headers, wall: float) -> Sequence[Reading]:
        return readings_in(OPENAI.limits, headers, wall)

    def classify(self, error: BaseException, wall: float) -> Verdict[Any] | None:
        return classify(OPENAI, error, wall)
