"""Tells what happens: typed events to listeners, one record per call to the usage log."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from ..core.events import Event, EventKind, Listener
from ..core.outcome import Outcome
from ..core.pool import News
from ..core.wire import Response, Verdict
from ..types import Attempt
from .clock import Clock
from .run import Grant, Run
from .stages import Stage
from .usage_log import UsageLog

_log = logging.getLogger("llm_rotate")
_OUTCOMES = frozenset(Outcome)


class Herald:
    """Builds an event only if somebody listens."""

    def __init__(self, clock: Clock, log: UsageLog) -> None:
        self.listeners: list[Listener] = []
        self._clock = clock
        self._log = log

    def attempt_started(self, grant: Grant) -> None:
        """A request is about to be sent."""
        self._of_attempt(EventKind.ATTEMPT_STARTED, grant)

    def attempt_ended(self, grant: Grant, verdict: Verdict[Any], seconds: float) -> None:
        """The attempt was judged, and stands among its call's."""
        self._of_attempt(
            EventKind.ATTEMPT_ENDED,
            grant,
            attempt=len(grant.run.call.attempts),
            outcome=verdict.outcome,
            seconds=seconds,
            usage=verdict.used,
            detail=verdict.message,
        )

    def withdrawn(self, grant: Grant, seconds: float) -> None:
        """The key went to rest before the request was written: nothing was sent."""
        if self.listeners:
            self._of_attempt(
                EventKind.ATTEMPT_ENDED,
                grant,
                seconds=seconds,
                detail="withdrawn, nothing was sent",
            )

    def waiting(self, run: Run, seconds: float) -> None:
        """The call is about to sleep."""
        if self.listeners:
            self._of_call(EventKind.WAITING, run, seconds=seconds)

    @staticmethod
    def warn(what: str) -> None:
        """For people: nothing goes on for a while."""
        _log.warning(what)

    def stage_left(self, run: Run, stage: Stage) -> None:
        """The call leaves a stage without an answer."""
        if self.listeners:
            where = {"provider": stage.provider.name, "model": stage.model or ""}
            self._of_call(EventKind.STAGE_LEFT, run, **where)

    def states_changed(self, news: Sequence[News]) -> None:
        """The store changed. What was only freed is no event."""
        for each in news:
            if each.is_freed:
                continue
            state = each.after
            _log.info("%s: %s %s", each.subject, state.kind, state.reason)
            if self.listeners:
                self._publish(
                    Event(
                        self._clock.now(),
                        EventKind.STATE_CHANGED,
                        key_id=_key_of(each.subject),
                        subject=each.subject,
                        outcome=state.outcome,
                        state=state,
                        detail=state.reason,
                    )
                )

    def call_ended(self, run: Run, response: Response | None, error: BaseException | None) -> None:
        """The call is over, well or not."""
        if not (self.listeners or self._log.is_wanted()):
            return
        attempts = tuple(run.call.attempts)
        last = attempts[-1] if attempts else Attempt("", run.plan.asked, None, "none")
        event = self._of_call(
            EventKind.CALL_ENDED,
            run,
            provider=last.provider,
            model=response.model if response else last.model,
            key_id=last.key_id,
            attempt=len(attempts),
            outcome=Outcome(last.outcome) if last.outcome in _OUTCOMES else None,
            seconds=self._clock.now() - run.started,
            usage=response.usage if response else None,
            is_stream=run.plan.is_stream,
            attempts=attempts,
            detail=type(error).__name__ if error else "",
        )
        auth = run.last_grant.key.spec.auth_method if run.last_grant else "api_key"
        self._tell(lambda told: self._log.write(told, auth, self._clock.wall()), event)

    def _of_attempt(self, kind: EventKind, grant: Grant, **more: Any) -> Event:
        known = {
            "attempt": grant.number,
            "provider": grant.stage.provider.name,
            "model": grant.stage.model or "",
            "key_id": grant.key.key_id,
        }
        return self._of_call(kind, grant.run, **{**known, **more})

    def _of_call(self, kind: EventKind, run: Run, **more: Any) -> Event:
        event = Event(self._clock.now(), kind, run.id, **{"model": run.plan.asked, **more})
        self._publish(event)
        return event

    def _publish(self, event: Event) -> None:
        for listener in list(self.listeners):
            self._tell(listener, event)

    @staticmethod
    def _tell(listener: Listener, event: Event) -> None:
        """What a listener raises is logged and kept from the call."""
        try:
            listener(event)
        except Exception:
            _log.exception("a listener failed on %s", event.kind)


def _key_of(subject: str) -> str | None:
    name = subject.removeprefix("local:")
    return name.removeprefix("key:").split("|")[0] if name.startswith("key:") else None
