"""Keys lent raw to vendor SDKs: the caller sends, the outcome comes back to the pool."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import Any

from ..core.outcome import Outcome
from ..core.wire import Verdict
from ..providers.lent import address
from ..secrets import SecretError
from .credentials import has_new_secret, read_secret
from .judge import Judge
from .portal import PORTAL
from .run import Grant
from .stages import Stage

Borrow = Callable[[], Awaitable[Grant]]


class LoanExchange:
    """An attempt that sends nothing: the grant itself is the answer, reported later."""

    def prepare(self, stage: Stage) -> None:
        """Every stage can lend."""

    def size(self, stage: Stage) -> tuple[float, int | None]:  # noqa: ARG002 - nobody knows
        """What the caller will send is not known: a loan counts as a request."""
        return 0.0, 0

    async def __call__(self, grant: Grant) -> Verdict[Any]:
        """The grant, once its secret is known."""
        try:
            grant.secret = await read_secret(grant)
        except SecretError as error:
            return Verdict(Outcome.SECRET_MISSING, message=str(error), error=error)
        return Verdict(Outcome.OK, grant, held=True)


class _Lent:
    """What both contexts share: the key, and one report of how it went."""

    def __init__(self, grant: Grant, judge: Judge) -> None:
        self._grant = grant
        self._judge = judge
        self.key_value: str = grant.secret or ""
        self.provider: str = grant.stage.provider.name
        self.key_id: str = grant.key.key_id
        self.metadata: Mapping[str, Any] = grant.key.metadata
        stage = grant.stage
        sent_to = address(stage.provider.dialect_name, grant.key.endpoint, stage.model)
        self.base_url: str = sent_to.base_url
        self.api_version: str | None = sent_to.api_version
        self.deployment: str | None = sent_to.deployment

    def __repr__(self) -> str:
        return f"{type(self).__name__}(provider={self.provider!r}, key_id={self.key_id!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        raise TypeError("a lent key holds a secret and cannot be pickled")

    def _succeed(self) -> None:
        self._end(Verdict(Outcome.OK))

    def _end(self, verdict: Verdict[Any]) -> None:
        if not self._grant.lease.is_settled:
            self._judge.report(self._grant, verdict)
            self._judge.call_left(self._grant.run)

    def _judged(self, error: BaseException) -> Verdict[Any]:
        dialect = self._grant.stage.provider.judging_dialect
        own = Verdict[Any](Outcome.CANCELLED, error=error)
        if not isinstance(error, Exception):
            return own
        return dialect.classify(error, self._judge.wall()) or own

    async def _fail(self, error: BaseException) -> None:
        """A secret that was refused and has been changed since blames nobody."""
        verdict = self._judged(error)
        try:
            if verdict.outcome is Outcome.AUTH_FAILED and await has_new_secret(self._grant):
                verdict = Verdict(Outcome.CANCELLED, message=_CHANGED, error=error)
        finally:
            self._end(verdict)


_CHANGED = "the key's secret was refused, and has been changed since"


def _once(is_entered: bool) -> None:
    if is_entered:
        raise RuntimeError("this loan was entered before: call acquire() for each")


class AcquireContext(_Lent):
    """A lent key: ``key_value`` (the raw secret, "" where none is needed), ``provider``,
    ``key_id``, ``metadata``.

    ``base_url``: where its vendor's SDK is to send, as that SDK takes it. ``api_version``: what
    the SDK is to be told beside, at Azure and Google; None: nothing. ``deployment``: at Azure, the
    name of the model that it was lent for; None elsewhere, and where no model was said.

    Leaving the block reports by itself; the two methods are for outcomes that do not show in
    how it is left. Only the first report counts.
    """

    async def report_success(self, upstream_provider: str | None = None) -> None:  # noqa: ARG002 - the reference's
        """The key worked."""
        self._succeed()

    async def report_error(self, exc: BaseException) -> None:
        """The key failed with ``exc``, judged by its status, headers and class names; an
        error that no SDK raises blames nobody.
        """
        await self._fail(exc)


class SyncAcquireContext(_Lent):
    """The same for ``acquire_sync``; its reports are plain calls."""

    def report_success(self, upstream_provider: str | None = None) -> None:  # noqa: ARG002 - the reference's
        """The key worked."""
        self._succeed()

    def report_error(self, exc: BaseException) -> None:
        """As :meth:`AcquireContext.report_error`."""
        verdict = self._judged(exc)
        if verdict.outcome is Outcome.AUTH_FAILED:
            PORTAL.run(lambda: self._fail(exc))
        else:
            self._end(verdict)


class Loan:
    """``async with lm.acquire(...) as key``."""

    def __init__(self, borrow: Borrow, judge: Judge) -> None:
        self._borrow = borrow
        self._judge = judge
        self._is_entered = False
        self._context: AcquireContext | None = None

    async def __aenter__(self) -> AcquireContext:
        _once(self._is_entered)
        self._is_entered = True
        self._context = AcquireContext(await self._borrow(), self._judge)
        return self._context

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._context is None:
            return
        if error is None:
            await self._context.report_success()
        else:
            await self._context.report_error(error)


class SyncLoan:
    """``with lm.acquire_sync(...) as key``."""

    def __init__(self, borrow: Callable[[], Grant], judge: Judge) -> None:
        self._borrow = borrow
        self._judge = judge
        self._is_entered = False
        self._context: SyncAcquireContext | None = None

    def __enter__(self) -> SyncAcquireContext:
        _once(self._is_entered)
        self._is_entered = True
        self._context = SyncAcquireContext(self._borrow(), self._judge)
        return self._context

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._context is None:
            return
        if error is None:
            self._context.report_success()
        else:
            self._context.report_error(error)
