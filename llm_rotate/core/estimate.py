"""How many tokens a request will take, before anybody has counted them.

Text is measured in bytes of UTF-8, which follow tokens more closely than characters do
(across scripts), or by a tokenizer where one is given. Either is put right per model by the
usage that comes back: tokens per unit, over the recent past.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .bucket import Tokens

BYTES_PER_TOKEN = 4.0  # at the start: English prose
MESSAGE_TOKENS = 4  # a message's frame: role and separators
BLOB_TOKENS = 1_000  # an image or a document: what a picture of a megapixel takes
FIRST_OUTPUT_TOKENS = 512
OUTPUT_SHARE = 0.8  # of a model's answers are at most as long as is reserved
MOST_TOKENS = 10**9  # whatever a caller or a counter says: sums of them stay numbers
OUTPUTS_KEPT = 100
MOST_MODELS = 4096  # corrected at a time: names of models come from callers
OUTPUTS_NEEDED = 5
KEPT = 0.98  # of the past's weight, per answer: about fifty answers count
PRIOR_UNITS = 2_000.0
LARGEST_RATIO = 16.0  # times the rule at the start; further off is a miscount of somebody's
_SAID_AGAIN = "native"  # a message's field: its content once more, in its provider's words
_BLOBS = frozenset({"image_url", "input_audio", "file", "image_bytes", "pdf_bytes", "image"})

TokenCount = Callable[[str, str], int | None]
"""(model, text) -> tokens, None for a model it does not know. Must be quick, never block."""


class _Model:
    """The recent past of one model: ``tokens`` there were for so many ``units``."""

    __slots__ = ("answers", "long_output", "outputs", "tokens", "units")

    def __init__(self) -> None:
        self.units = self.tokens = PRIOR_UNITS
        self.outputs: deque[int] = deque(maxlen=OUTPUTS_KEPT)
        self.answers = 0
        self.long_output = FIRST_OUTPUT_TOKENS

    def answered(self, tokens: int) -> None:
        """One more answer's length. Sorts after each of the first, then after every eighth."""
        self.outputs.append(tokens)
        self.answers += 1
        if self.answers >= OUTPUTS_NEEDED and (self.answers < 16 or self.answers % 8 == 0):
            by_length = sorted(self.outputs)
            self.long_output = by_length[int(OUTPUT_SHARE * (len(by_length) - 1))]


class Estimator:
    """Estimates per model name. ``count``: a tokenizer; None: the rule of bytes.
    ``output_tokens``: to be reserved for every answer; None: what recent answers suggest.

    One per pool. Threads that note at once may lose one of their notes, nothing more.
    """

    def __init__(self, count: TokenCount | None = None, output_tokens: int | None = None) -> None:
        self.count = count
        self.output_tokens = output_tokens
        self._models: dict[str, _Model] = {}

    def units(self, model: str, messages: Sequence[Any], more: Any = None) -> float:
        """Tokens of the prompt by the bare rule. ``more``: tools and schemas, as JSON values."""
        measure = self._measure(model)
        total = 0.0
        for message in messages:
            if isinstance(message, Mapping) and _SAID_AGAIN in message:
                message = {name: message[name] for name in message if name != _SAID_AGAIN}
            content = message.get("content") if isinstance(message, Mapping) else message
            if not isinstance(content, str) or len(message) > 2:  # more than role and content
                total += MESSAGE_TOKENS + _walk(message, measure)
            else:
                total += MESSAGE_TOKENS + measure(content)
        return total + (_walk(more, measure) if more else 0.0)

    def estimate(self, model: str, units: float, max_tokens: int | None = None) -> Tokens:
        """What to reserve for a prompt of so many ``units`` and its answer."""
        known = self._models.get(model)
        ratio = known.tokens / known.units if known else 1.0
        output = self.output(model) if max_tokens is None else min(max_tokens, MOST_TOKENS)
        return Tokens(int(units * ratio) + 1, output)

    def output(self, model: str) -> int:
        """Tokens that four in five of the model's recent answers did not exceed."""
        if self.output_tokens is not None:
            return self.output_tokens
        known = self._models.get(model)
        return known.long_output if known else FIRST_OUTPUT_TOKENS

    def note(self, model: str, units: float, used: Tokens) -> None:
        """An answer came with its usage: the next estimates are the better for it."""
        known = self._models.get(model)
        if known is None:
            if len(self._models) >= MOST_MODELS:
                self._models.clear()  # those in use are corrected again by their next answers
            known = self._models[model] = _Model()
        if units > 0.0 and 0 < used.input <= LARGEST_RATIO * units:
            known.units = KEPT * known.units + units
            known.tokens = KEPT * known.tokens + used.input
        if used.output > 0:
            known.answered(used.output)

    def _measure(self, model: str) -> Callable[[str], float]:
        count = self.count
        if count is None:
            return _by_bytes

        def counted(text: str) -> float:
            found = count(model, text)
            return _by_bytes(text) if found is None else min(found, MOST_TOKENS)

        return counted


def _by_bytes(text: str) -> float:
    size = len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
    return size / BYTES_PER_TOKEN


def _walk(value: Any, measure: Callable[[str], float]) -> float:
    """Of a JSON value: all its text, names included; a flat sum for what is no text."""
    if isinstance(value, str):
        return measure(value)
    if isinstance(value, Mapping):
        if value.get("type") in _BLOBS:
            return BLOB_TOKENS
        return sum(measure(name) + _walk(inner, measure) for name, inner in value.items())
    if isinstance(value, list | tuple):
        return sum(_walk(inner, measure) for inner in value)
    return 0.0 if value is None else 1.0
