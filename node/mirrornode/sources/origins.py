"""The configured origins together: which is asked first, and when one that is away is tried again.

Nothing is asked of an origin here but what the caller wants to know; what an answer means is
decided in `mirror.hub`. Any thread.
"""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from mirrornode.errors import (
    MirrorError,
    OriginAway,
    RemoteProtocolError,
    SourceError,
    SourceGone,
    SourceRefused,
    SourceTooSlow,
)
from mirrornode.sources.asking_chain import LOOP_STATUS
from mirrornode.sources.first_answer import first_answer

if TYPE_CHECKING:
    from mirrornode.sources.hub_origin import HubOrigin

FIRST_REST_S = 3.0  # for an origin that gave no answer; doubles up to LONGEST_REST_S
LONGEST_REST_S = 30.0
LONGEST_ASKED_REST_S = 60.0  # of a `Retry-After`: it may concern one token of many
KNOCK_TARGET = "/api/whoami-v2"  # answered at once by every Hub, if only with 401
LATE_S = 3.0  # without an answer, and another origin is asked beside: clients wait 8 s in all
SLOW_S = 2.0  # answers slower than this let another origin go first
PACE_WEIGHT = 0.3  # of the last answer in the smoothed time of answers

# Let down by the way there, not by the question: another one would fare no better now.
_AWAY_STATUSES = frozenset({429, 502, 503, 504, LOOP_STATUS})

_T = TypeVar("_T")


@dataclass(slots=True)
class _Health:
    """How an origin has been of late; guarded by the lock of `Origins`."""

    failures: int = 0  # in a row
    answer_s: float = 0.0  # smoothed; 0 while unknown
    rests_until: float = 0.0
    is_probed: bool = False
    reason: str = ""


@dataclass(frozen=True, slots=True)
class OriginState:
    """How an origin is, for people; `failures` in a row, `reason` of the last as a predicate."""

    origin_id: str
    failures: int
    reason: str


class Origins:
    """The configured origins, the healthiest first; any thread.

    One that gave no answer rests for some seconds, so that being offline costs nothing; then a
    single question finds out whether it is back.
    """

    def __init__(
        self,
        origins: Sequence[HubOrigin],
        *,
        clock: Callable[[], float] = time.monotonic,
        late_s: float = LATE_S,
    ) -> None:
        self._origins = tuple(origins)
        self._clock = clock
        self._late_s = late_s
        self._lock = threading.Lock()
        self._health = {origin: _Health() for origin in self._origins}
        self._last: frozenset[str] = frozenset()  # ids of those that are put aside

    @property
    def is_away(self) -> bool:
        """Whether no origin can be asked right now."""
        now = self._clock()
        with self._lock:
            return not any(self._may_ask(origin, now) for origin in self._origins)

    def put_last(self, origin_ids: Collection[str]) -> None:
        """Ask these origins, from now on, only when no other one does."""
        with self._lock:
            self._last = frozenset(origin_ids)

    def states(self) -> list[OriginState]:
        """Return how each origin is, as configured."""
        with self._lock:
            return [
                OriginState(origin.origin_id, health.failures, health.reason)
                for origin, health in self._health.items()
            ]

    def try_failing(self, also: Collection[str] = ()) -> None:
        """Knock at those that failed last time, unless they rest; blocking.

        Any answer shows that it is there; nothing is asked for that a token would be needed for.

        Args:
            also: Ids of others to knock at.
        """
        for origin in self._origins:
            with self._lock:
                is_meant = self._health[origin].failures > 0 or origin.origin_id in also
            if is_meant and self._begin(origin):
                self._ask_begun(origin, _knock)

    def in_order(self) -> list[HubOrigin]:
        """Return all origins: those that answer before those that rest, fast before slow, and
        otherwise as configured; what `put_last` names comes at the end."""
        now = self._clock()
        with self._lock:
            return sorted(self._origins, key=lambda origin: self._rank(origin, now))

    def ask_any(self, question: Callable[[HubOrigin], _T]) -> tuple[HubOrigin, _T]:
        """Put a question to the best origin that answers it.

        When it is late, the next one is asked beside it: an origin that takes a connection and
        then falls silent would else cost all the time that clients have.

        Args:
            question: Asks one origin, in any thread; its `SourceError` and `RemoteProtocolError`
                lead to the next one, anything else to the caller: a refusal is an answer.

        Raises:
            OriginAway: None answers.
        """
        reasons: list[str] = []

        def ask(origin: HubOrigin) -> tuple[HubOrigin, _T] | None:
            if not self._begin(origin):
                return None
            answers, failure = self._ask_begun(origin, question)
            if failure is None:
                return origin, answers[0]
            reasons.append(f"{origin.origin_id}: {failure}")
            return None

        asks = [functools.partial(ask, origin) for origin in self.in_order()]
        found = first_answer(asks, self._late_s)
        if found is None:
            raise OriginAway(self._away_message(reasons))
        return found

    def _ask_begun(
        self, origin: HubOrigin, question: Callable[[HubOrigin], _T]
    ) -> tuple[list[_T], MirrorError | None]:
        """Ask after `_begin`; return the one answer, or why there was none."""
        began = self._clock()
        try:
            answer = question(origin)
        except (SourceError, RemoteProtocolError) as exc:
            self._failed(origin, exc)
            return [], exc
        except BaseException as exc:
            # A refusal shows that it lives; after anything else we know as much as before.
            self._ended(origin, is_alive=isinstance(exc, MirrorError), began=began)
            raise
        self._ended(origin, is_alive=True, began=began)
        return [answer], None

    def _rank(self, origin: HubOrigin, now: float) -> tuple[bool, bool, bool, int]:
        health = self._health[origin]
        rests, is_last = health.rests_until > now, origin.origin_id in self._last
        return rests, is_last, health.failures > 0, int(health.answer_s // SLOW_S)

    def _may_ask(self, origin: HubOrigin, now: float) -> bool:
        health = self._health[origin]
        return health.rests_until <= now and not (health.rests_until and health.is_probed)

    def _begin(self, origin: HubOrigin) -> bool:
        with self._lock:
            if not self._may_ask(origin, self._clock()):
                return False
            health = self._health[origin]
            health.is_probed = health.rests_until > 0
            return True

    def _ended(self, origin: HubOrigin, *, is_alive: bool, began: float) -> None:
        with self._lock:
            health = self._health[origin]
            health.is_probed = False
            if not is_alive:
                return
            took_s = self._clock() - began
            kept = 1 - PACE_WEIGHT if health.answer_s else 0.0
            health.answer_s = health.answer_s * kept + took_s * (1 - kept)
            health.failures, health.rests_until, health.reason = 0, 0.0, ""

    def _failed(self, origin: HubOrigin, exc: MirrorError) -> None:
        status = exc.status if isinstance(exc, SourceRefused) else 0
        rest_s = 0.0
        with self._lock:
            health = self._health[origin]
            health.is_probed = False
            health.failures += 1
            health.reason = str(exc)
            if isinstance(exc, SourceGone | SourceTooSlow) or status in _AWAY_STATUSES:
                rest_s = min(FIRST_REST_S * 2 ** min(health.failures - 1, 10), LONGEST_REST_S)
            if isinstance(exc, SourceRefused) and exc.retry_after_s is not None:
                rest_s = max(rest_s, min(exc.retry_after_s, LONGEST_ASKED_REST_S))
            if rest_s:
                health.rests_until = self._clock() + rest_s

    def _away_message(self, reasons: Sequence[str]) -> str:
        if not self._origins:
            return "no origin is configured"
        with self._lock:
            known = [
                f"{origin.origin_id}: {health.reason}"
                for origin, health in self._health.items()
                if health.reason
            ]
        return "no origin answers: " + "; ".join(reasons or known or ["asked a moment ago"])


def _knock(origin: HubOrigin) -> None:
    origin.ask(KNOCK_TARGET, "", method="HEAD")
