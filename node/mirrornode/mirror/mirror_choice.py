"""Which mirrors a `get` begins with, when others join, and how each of them did. Pure.

Driven by: `mirror.source_feed` and `mirror.get`, with the caller's monotonic seconds.

A `get` begins with the best few by history and weight, and one that nobody knows yet. The planner
gives each its share by rate. One more joins when one has failed, or when what arrives in all is
less than half of what the next one is known for; while nothing arrives at all, one after the other
without much waiting. Weight 0 is for the last resort: such a mirror
joins when nothing has arrived from anybody for a while and no other is left. So does one that was
put aside (`mirror.alerts_switch`), after those. One that is on trial begins with the first.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from mirrornode.mirror.mirror_score import MirrorScore, mirror_key, score_of
from mirrornode.store.records import MirrorUse
from mirrornode.transfer.worker import WRONG_BYTES

if TYPE_CHECKING:
    from mirrornode.events import SourceState

FIRST_KNOWN: Final = 3
SETTLE_S: Final = 2.0  # how long those at work have to show what they can
SILENT_S: Final = 1.0  # without anything from anybody: then those at work need not settle
IN_VAIN_S: Final = 1.0  # at work without bringing anything: others were faster with all of it
IDLE_S: Final = 3.0  # without a byte from anybody before weight 0 has to do
POOR_SHARE: Final = 0.5
POOR_BYTES_PER_S: Final = 2e6  # below that a mirror nobody knows is worth a try


@dataclass(slots=True)
class _Mirror:
    """One mirror of this `get`."""

    url: str
    weight: float
    score: MirrorScore
    is_aside: bool = False
    is_on_trial: bool = False
    source_id: str = ""  # once it was looked at
    is_started: bool = False
    has_failed: bool = False
    sent_wrong: bool = False
    received_bytes: int = 0
    busy_s: float = 0.0
    failures: int = 0

    @property
    def worth(self) -> float | None:
        return self.score.worth(self.weight)

    @property
    def is_usable(self) -> bool:
        """Whether it may be used before it is needed."""
        return self.weight > 0 and not self.is_aside

    @property
    def outcome(self) -> str:
        """What is to be remembered, see `MirrorUse.outcome`."""
        if self.sent_wrong:
            return "wrong"
        # It may have rested when the others were done; then it was not given up.
        is_useless = self.failures > 0 and not self.received_bytes
        return "failed" if self.has_failed or is_useless else "ok"


@dataclass(slots=True)
class MirrorChoice:
    """The mirrors of one `get`; used from its event loop."""

    _mirrors: list[_Mirror] = field(default_factory=list)
    _changed: float = 0.0  # when the last mirror was started
    _arrived: float = 0.0  # when something last arrived
    _done_bytes: int = 0
    _looked: float | None = None

    @classmethod
    def of(
        cls,
        urls: Sequence[str],
        weights: Mapping[str, float],
        history: Mapping[str, Sequence[MirrorUse]],
        now: float,
        *,
        aside: Collection[str] = (),
        on_trial: Collection[str] = (),
    ) -> MirrorChoice:
        """Rank the mirrors.

        Args:
            weights: By URL; 1 where it is absent.
            history: By `mirror_key`.
            now: Unix seconds.
            aside: URLs of those that were put aside.
            on_trial: URLs of those that are to show whether they are better again.
        """
        mirrors = [
            _Mirror(
                url,
                weights.get(url, 1.0),
                score_of(history.get(mirror_key(url), ()), now),
                is_aside=url in aside,
                is_on_trial=url in on_trial,
            )
            for url in dict.fromkeys(urls)
        ]
        # Known good ones, then unknown ones, then those that never delivered, then weight 0, then
        # those that were put aside.
        mirrors.sort(key=_rank)
        return cls(mirrors)

    @property
    def urls(self) -> list[str]:
        """All mirrors, the most promising first."""
        return [mirror.url for mirror in self._mirrors]

    def first(self, now: float) -> list[str]:
        """Return the mirrors to begin with."""
        self._changed = self._arrived = now
        usable = [mirror for mirror in self._mirrors if mirror.is_usable]
        if not usable and any(mirror.is_aside for mirror in self._mirrors):
            # The next best of those that were put aside.
            usable = [mirror for mirror in self._mirrors if not mirror.is_aside]
        known = [mirror for mirror in usable if mirror.worth][:FIRST_KNOWN]
        unknown = [mirror for mirror in usable if mirror.worth is None]
        chosen = known + unknown[: max(1, FIRST_KNOWN - len(known))]
        if not chosen:
            chosen = usable[:FIRST_KNOWN]  # each has failed before, maybe not today
        chosen += [one for one in usable if one.is_on_trial and one not in chosen]
        return [self._start(mirror, now) for mirror in chosen]

    @property
    def has_reserve(self) -> bool:
        """Whether any mirror has not been started."""
        return not all(mirror.is_started for mirror in self._mirrors)

    def more(
        self, rate_bytes_per_s: float, done_bytes: int, *, waits: bool, now: float
    ) -> list[str]:
        """Return the mirrors that are to join now; called every half second or so.

        Args:
            rate_bytes_per_s: What arrives from all sources of the `get`, peers included.
            done_bytes: What has arrived so far.
            waits: Whether the `get` waits for bytes at all (not while it reads its own disk).
        """
        if done_bytes != self._done_bytes or not waits:
            self._done_bytes, self._arrived = done_bytes, now
        started = [mirror for mirror in self._mirrors if mirror.is_started]
        reserve = [mirror for mirror in self._mirrors if not mirror.is_started]
        joining = []
        working = sum(not mirror.has_failed for mirror in started)
        usable = [mirror for mirror in reserve if mirror.is_usable]
        while usable and working < min(FIRST_KNOWN, len(started)):
            joining.append(self._start(usable.pop(0), now))
            working += 1
        settled = now - self._changed >= SETTLE_S or now - self._arrived >= SILENT_S
        if usable and settled and waits and rate_bytes_per_s < _hope(usable[0]):
            joining.append(self._start(usable.pop(0), now))
        last_resort = [mirror for mirror in reserve if not mirror.is_usable]
        if not usable and not joining and last_resort and now - self._arrived >= IDLE_S:
            self._arrived = now
            joining.append(self._start(last_resort[0], now))
        return joining

    def looked_at(self, url: str, source_id: str) -> None:
        """Note under which name a mirror's source works."""
        self._of(url).source_id = source_id

    def failed(self, url: str) -> None:
        """Note that a mirror cannot be used."""
        self._of(url).has_failed = True

    def take(self, states: Sequence[SourceState], now: float) -> None:
        """Take over how the sources of the transfer are doing."""
        passed = 0.0 if self._looked is None else max(0.0, now - self._looked)
        self._looked = now
        by_id = {state.source_id: state for state in states}
        for mirror in self._mirrors:
            state = by_id.get(mirror.source_id)
            if state is None or not mirror.source_id:
                continue
            if state.state == "active" or state.received_bytes > mirror.received_bytes:
                mirror.busy_s += passed
            mirror.busy_s = max(mirror.busy_s, state.busy_s)
            mirror.received_bytes = max(mirror.received_bytes, state.received_bytes)
            mirror.failures = state.failures
            mirror.has_failed = state.state in ("failed", "banned")
            mirror.sent_wrong = state.state == "banned" and state.reason == WRONG_BYTES

    def uses(self, elapsed_s: float, at: float) -> list[MirrorUse]:
        """Return what is to be remembered of this `get`.

        A mirror that was never asked, or that simply lacked the file, is not judged; one that was
        at work for a while and brought nothing is.

        Args:
            elapsed_s: How long the `get` took; counts for those too short to be timed.
            at: Unix seconds.
        """
        return [
            MirrorUse(
                mirror_key(mirror.url),
                at,
                mirror.received_bytes,
                mirror.busy_s or elapsed_s,
                None,
                mirror.outcome,
            )
            for mirror in self._mirrors
            if mirror.is_started
            and (mirror.received_bytes or mirror.outcome != "ok" or mirror.busy_s >= IN_VAIN_S)
        ]

    def _start(self, mirror: _Mirror, now: float) -> str:
        mirror.is_started = True
        self._changed = now
        return mirror.url

    def _of(self, url: str) -> _Mirror:
        return next(mirror for mirror in self._mirrors if mirror.url == url)


def _rank(mirror: _Mirror) -> tuple[int, float]:
    worth = mirror.worth
    if mirror.is_aside:
        return 4, -mirror.weight
    if mirror.weight == 0:
        return 3, 0.0
    if worth is None:
        return 1, -mirror.weight
    return (0, -worth) if worth > 0 else (2, -mirror.weight)


def _hope(mirror: _Mirror) -> float:
    """Return the rate below which this mirror should join."""
    rate = mirror.score.rate_bytes_per_s
    if rate is None:
        return POOR_BYTES_PER_S
    return POOR_SHARE * rate * (mirror.score.success or 0.0)
