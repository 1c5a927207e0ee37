"""How many lanes a source deserves: more while another one raises its rate, fewer when not. Pure.

Driven by: `transfer.plan`, which counts what arrives and asks now and then.

A trial doubles the lanes and compares the source's rate before and after. A gain that is less than
`WORTH` of what as many equal lanes would add is none: then the lanes go, and the next trial waits.
A gain all the same makes a trial with half as many more.
A far source gets many lanes without a trial: one at a time they would take seconds each to show
their worth, on a line where packets are lost, and there every lane is worth as much as the first.
Growing needs twice the gain that keeping does, so that noise does not make the number swing.
"""

from __future__ import annotations

import math

FIRST_LANES = 2  # measured on a LAN: one does not fill the line, more than two gain nothing
WINDOW_S = 0.8  # of one measurement, after all lanes have brought something
LEAVES_PER_LANE = 2  # in one measurement at least, and
MIN_LEAVES = 8  # altogether: a leaf more or less must not decide
WORTH = 0.3  # of a proportional gain: what lanes must bring to be kept after a trial
WORTH_KEEPING = 0.15  # what lanes must bring to survive a trial without them
HALVING_S = 1.0  # between two halvings, after refusals
HOLD_S = 10.0  # until the next trial after one that gained nothing; doubles each time
MAX_HOLD_S = 160.0
REVIEW_S = 30.0  # between trials with fewer lanes than have been granted


class LaneTrials:
    """The lane count of one source, by trial."""

    def __init__(self, most: int, first: int = FIRST_LANES, *, near: int | None = None) -> None:
        """Begin with `first` lanes, or `most` if that is less; never have more than `most`.

        Args:
            near: Nor more than this, as long as the source is not known to be far.
        """
        self._most_far = max(1, most)
        self.most = self._most_far if near is None else max(1, min(near, most))
        self.wanted = min(first, self.most)
        self._least = self.wanted
        self._may_widen = True  # without a trial, once
        self._next_halving_at = -math.inf
        self._arrived_bytes = 0
        self._arrived_leaves = 0
        self._window: tuple[float, int, int] | None = None  # began at, with so many bytes, leaves
        self._before: tuple[int, float] | None = None  # lanes and rate before the trial
        self._hold_s = HOLD_S
        self._grow_at = 0.0
        self._review_at = REVIEW_S

    def arrived(self, size_bytes: int) -> None:
        """Note a leaf; called often, so it only counts."""
        self._arrived_bytes += size_bytes
        self._arrived_leaves += 1

    def starved(self) -> None:
        """Note that a lane found nothing to do: what is measured now tells nothing."""
        self._window = None

    def refused(self, now: float, working: int = 0) -> None:
        """Note that the server has too much to do: half the lanes, and no trial soon.

        Args:
            working: So many lanes are being served, and stay.
        """
        if now < self._next_halving_at:
            return  # many lanes are refused together: that is one refusal
        self._next_halving_at = now + HALVING_S
        self.wanted = self._least = max(1, self.wanted // 2, min(working, self.wanted))
        self._may_widen = False
        self._end_trial()
        self._hold(now)

    def note_far(self, room: int) -> None:
        """Note that the source is far away: up to `room` more lanes at once, trials go on there."""
        self.most = self._most_far
        if self._may_widen:
            self._may_widen = False
            self.wanted = min(self.most, self.wanted + max(0, room))
            self._end_trial()

    def look(self, now: float, busy_lanes: int, room: int) -> int:
        """Return the number of lanes wanted now.

        Args:
            busy_lanes: Lanes that have brought something already.
            room: How many lanes may be added, by the budget of the whole transfer.
        """
        if busy_lanes != self.wanted:
            self._window = None  # some still connect, or still leave
            return self.wanted
        if self._window is None:
            self._window = (now, self._arrived_bytes, self._arrived_leaves)
            return self.wanted
        began, size_bytes, leaves = self._window
        enough = max(MIN_LEAVES, LEAVES_PER_LANE * self.wanted)
        if now - began >= WINDOW_S and self._arrived_leaves - leaves >= enough:
            self._judge((self._arrived_bytes - size_bytes) / (now - began), now, room)
            self._window = None
        return self.wanted

    def _judge(self, rate: float, now: float, room: int) -> None:
        lanes = self.wanted
        if self._before is not None:
            others, other_rate = self._before
            self._end_trial()
            if lanes > others:
                if rate < other_rate * (1 + WORTH * (lanes / others - 1)):
                    fewer = others + (lanes - others) // 2
                    if fewer > others and rate > other_rate * (1 + WORTH_KEEPING):
                        self._try(fewer, others, other_rate)
                    else:
                        self.wanted = others
                        self._hold(now)
                    return
                self._hold_s = HOLD_S
            elif other_rate > rate * (1 + WORTH_KEEPING * (others / lanes - 1)):
                self.wanted = others
                return
        if lanes < self.most and room > 0 and now >= self._grow_at:
            self._try(lanes + min(lanes, room, self.most - lanes), lanes, rate)
            self._review_at = now + REVIEW_S
        elif lanes > self._least and now >= self._review_at:
            self._try(lanes - max(1, lanes // 4), lanes, rate)
            self._review_at = now + REVIEW_S
            self._grow_at = max(self._grow_at, now + HOLD_S)

    def _try(self, lanes: int, before: int, rate: float) -> None:
        self.wanted, self._before = lanes, (before, rate)

    def _end_trial(self) -> None:
        self._before = self._window = None

    def _hold(self, now: float) -> None:
        self._grow_at = now + self._hold_s
        self._hold_s = min(MAX_HOLD_S, 2 * self._hold_s)
