"""Many LLM API keys, many providers, one dependable endpoint.

The names below are resolved when they are first used, so importing the package is cheap.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .client import LMRotate as LMRotate
    from .config import LMRotateConfig as LMRotateConfig
    from .config import configure_from_dict as configure_from_dict
    from .config import configure_from_file as configure_from_file
    from .core.events import Event as Event
    from .core.events import EventKind as EventKind
    from .core.outcome import Outcome as Outcome
    from .engine.lending import AcquireContext as AcquireContext
    from .engine.report import HealthReport as HealthReport
    from .engine.stream import ChatStream as ChatStream
    from .errors import AuthenticationError as AuthenticationError
    from .errors import BadRequestError as BadRequestError
    from .errors import BatchError as BatchError
    from .errors import CapabilityError as CapabilityError
    from .errors import ConfigurationError as ConfigurationError
    from .errors import ContentFilteredError as ContentFilteredError
    from .errors import DeadlineError as DeadlineError
    from .errors import ForbiddenError as ForbiddenError
    from .errors import LMRotateError as LMRotateError
    from .errors import ModelNotFoundError as ModelNotFoundError
    from .errors import NoAvailableKeyError as NoAvailableKeyError
    from .errors import OverloadedError as OverloadedError
    from .errors import PoolClosedError as PoolClosedError
    from .errors import ProviderError as ProviderError
    from .errors import QuotaExhaustedError as QuotaExhaustedError
    from .errors import RateLimitedError as RateLimitedError
    from .errors import RequestTooLargeError as RequestTooLargeError
    from .errors import SecretMissingError as SecretMissingError
    from .errors import ServerError as ServerError
    from .errors import StoreError as StoreError
    from .errors import StreamInterruptedError as StreamInterruptedError
    from .errors import TimedOutError as TimedOutError
    from .errors import UnreachableError as UnreachableError
    from .errors import UpstreamFailedError as UpstreamFailedError
    from .helpers.batch import BatchResult as BatchResult
    from .helpers.cache import MemoryCache as MemoryCache
    from .helpers.cache import ResponseCache as ResponseCache
    from .helpers.cache import SQLiteCache as SQLiteCache
    from .helpers.embedding import EmbeddingBatch as EmbeddingBatch
    from .helpers.progress import Progress as Progress
    from .lmclient.client import LMClient as LMClient
    from .lmclient.client import PoolClient as PoolClient
    from .lmclient.deployment import DeploymentConfig as DeploymentConfig
    from .lmclient.limiter import RateLimiter as RateLimiter
    from .lmclient.limiter import RateLimiterAcquisitionHandle as RateLimiterAcquisitionHandle
    from .lmclient.results import EmbeddingResult as EmbeddingResult
    from .lmclient.results import GenerationResult as GenerationResult
    from .lmclient.results import RequestMetrics as RequestMetrics
    from .lmclient.results import TokenUsage as TokenUsage
    from .lmclient.results import ToolCall as ToolCall
    from .lmclient.results import TranscriptionResult as TranscriptionResult
    from .singleton import configure as configure
    from .singleton import lm as lm
    from .singleton import reset_singleton as reset_singleton
    from .strategies import Place as Place
    from .strategies import Strategy as Strategy
    from .types import Attempt as Attempt
    from .types import ChatMessage as ChatMessage
    from .types import ChatResponse as ChatResponse
    from .types import ContentPart as ContentPart
    from .types import EmbeddingResponse as EmbeddingResponse
    from .types import GenerateContentRequest as GenerateContentRequest
    from .types import StreamChunk as StreamChunk
    from .types import TranscriptionResponse as TranscriptionResponse
    from .types import UploadedFile as UploadedFile
    from .types import Usage as Usage

__version__ = "0.4.0"

_ROOMS = {
    "client": ("LMRotate",),
    "config": ("LMRotateConfig", "configure_from_dict", "configure_from_file"),
    "core.events": ("Event", "EventKind"),
    "core.outcome": ("Outcome",),
    "engine.lending": ("AcquireContext",),
    "engine.report": ("HealthReport",),
    "engine.stream": ("ChatStream",),
    "errors": (
        "AuthenticationError",
        "BadRequestError",
        "BatchError",
        "CapabilityError",
        "ConfigurationError",
        "ContentFilteredError",
        "DeadlineError",
        "ForbiddenError",
        "LMRotateError",
        "ModelNotFoundError",
        "NoAvailableKeyError",
        "PoolClosedError",
        "OverloadedError",
        "ProviderError",
        "QuotaExhaustedError",
        "RateLimitedError",
        "RequestTooLargeError",
        "SecretMissingError",
        "ServerError",
        "StoreError",
        "StreamInterruptedError",
        "TimedOutError",
        "UnreachableError",
        "UpstreamFailedError",
    ),
    "helpers.batch": ("BatchResult",),
    "helpers.cache": ("MemoryCache", "ResponseCache", "SQLiteCache"),
    "helpers.progress": ("Progress",),
    "helpers.embedding": ("EmbeddingBatch",),
    "lmclient.client": ("LMClient", "PoolClient"),
    "lmclient.deployment": ("DeploymentConfig",),
    "lmclient.limiter": ("RateLimiter", "RateLimiterAcquisitionHandle"),
    "lmclient.results": (
        "EmbeddingResult",
        "GenerationResult",
        "RequestMetrics",
        "TokenUsage",
        "ToolCall",
        "TranscriptionResult",
    ),
    "singleton": ("configure", "lm", "reset_singleton"),
    "strategies": ("Place", "Strategy"),
    "types": (
        "Attempt",
        "ChatMessage",
        "ChatResponse",
        "ContentPart",
        "EmbeddingResponse",
        "GenerateContentRequest",
        "StreamChunk",
        "TranscriptionResponse",
        "UploadedFile",
        "Usage",
    ),
}
_ROOM_OF = {name: room for room, names in _ROOMS.items() for name in names}
__all__ = ["__version__", *_ROOM_OF]  # noqa: PLE0604 - strings all


def __getattr__(name: str) -> Any:
    room = _ROOM_OF.get(name)
    if room is None:
        raise AttributeError(f"module 'llm_rotate' has no attribute {name!r}")
    value = getattr(import_module(f".{room}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
