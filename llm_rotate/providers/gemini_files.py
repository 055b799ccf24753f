"""Files uploaded to Google AI Studio, for requests that name them."""

from __future__ import annotations

from ..core.outcome import Outcome
from ..core.wire import Body, Bounds, Endpoint, FileRequest, Headers, Verdict
from ..types import UploadedFile
from .faults import GEMINI, broken, judge
from .jsonio import loads
from .parts import cannot
from .reading import as_count, as_dict, as_text, as_text_or_none


class GeminiFiles:
    """The SDK sends a file in pieces; what comes back at the end is read here."""

    def encode(self, request: FileRequest, endpoint: Endpoint) -> Body:  # noqa: ARG002 - sent as it is
        if endpoint.auth == "google":
            cannot("gemini at Vertex", "file uploads; it reads files from Cloud Storage (gs://...)")
        return b""

    def bounds(self, model: str, endpoint: Endpoint) -> Bounds:  # noqa: ARG002 - one file at a time
        return Bounds(count=1)

    def parse(
        self, request: FileRequest, status: int, headers: Headers, body: bytes, wall: float
    ) -> Verdict[UploadedFile]:
        if not 200 <= status < 300:
            return judge(GEMINI, status, headers, body, wall)
        try:
            answer = as_dict(loads(body))
        except ValueError:
            answer = {}
        told = as_dict(answer.get("file"))
        uri = as_text(told.get("uri"))
        if not uri:
            return broken("the answer names no file", status, headers, body)
        found = UploadedFile(
            uri=uri,
            name=as_text(told.get("name")),
            mime_type=as_text(told.get("mimeType")) or request.mime_type or "",
            size_bytes=as_count(told.get("sizeBytes")) or _number(told.get("sizeBytes")),
            state=as_text_or_none(told.get("state")),
            expires_at=as_text_or_none(told.get("expirationTime")),
            raw=told,
        )
        return Verdict(Outcome.OK, found, status=status, kept=uri)


def _number(text: object) -> int:
    """Counts of 64 bits come as text."""
    return int(text) if isinstance(text, str) and text.isdecimal() and len(text) < 20 else 0
