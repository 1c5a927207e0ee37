"""When the peers of a team bring enough for the origin to be left alone."""

from __future__ import annotations

from mirrornode.mirror.hub.peers_first import ENOUGH_BYTES_PER_S, LOOK_AT_RATE_S, TeamRate

SHARE = ENOUGH_BYTES_PER_S // 8


class Line:
    """A transfer that receives so much a second, in virtual time."""

    def __init__(self, team: TeamRate, rate: int) -> None:
        self._team, self._rate, self._now = team, rate, 0.0
        team.join(self, lambda: int(self._rate * self._now), 0.0)

    def suffices(self, now: float) -> bool:
        self._now = now
        return self._team.suffices(self, now)

    def advance(self, now: float) -> None:
        self._now = now


def test_team_when_files_share_the_line_then_they_are_counted_together() -> None:
    team = TeamRate()
    lines = [Line(team, SHARE) for _ in range(8)]
    for turn in (1, 2, 3):
        now = turn * LOOK_AT_RATE_S
        for line in lines:
            line.advance(now)
        # Whoever looks first, and whoever looks last.
        assert all(line.suffices(now) for line in lines)
    team.leave(lines[0])
    for line in lines:
        line.advance(now := 4 * LOOK_AT_RATE_S)
    assert not lines[1].suffices(now)


def test_team_when_one_gets_nothing_then_it_asks_the_origin() -> None:
    team = TeamRate()
    fast, starved = Line(team, 2 * ENOUGH_BYTES_PER_S), Line(team, 0)
    assert fast.suffices(LOOK_AT_RATE_S)
    assert not starved.suffices(LOOK_AT_RATE_S)
    assert not Line(TeamRate(), ENOUGH_BYTES_PER_S // 2).suffices(LOOK_AT_RATE_S)
