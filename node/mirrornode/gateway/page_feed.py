"""The live feed of the web page: looks at the node once for all tabs, and tells what changed.

While no tab is open nothing is looked at. A snapshot is taken once a second at most; what needs
the catalog or the disk is looked at less often, so rarely that it takes no more than a hundredth
of the time. Only the list of running downloads is renewed at once when one begins or ends. A tab
that reads slowly misses what was in between, never what holds now.

Server-sent events: WHATWG HTML, "Server-sent events".
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Protocol

from mirrornode.errors import MirrorError
from mirrornode.gateway.page_view import (
    Glance,
    Survey,
    glance_sections,
    survey_sections,
    transfer_section,
)

if TYPE_CHECKING:
    from mirrornode.gateway.page_view import Record, Sections

log = logging.getLogger(__name__)

SNAPSHOT_S: Final = 1.0
START_GAP_S: Final = 0.2  # between two looks at the running downloads, when they begin and end
SURVEY_S: Final = 5.0
SURVEY_SHARE: Final = 0.01  # of the time, that surveys may take
MAX_TABS: Final = 32
AFTER_CRASH_S: Final = 10.0

Texts = dict[str, bytes]  # sections as JSON


class Look(Protocol):
    """What the feed sees of a node."""

    def transfers(self) -> Sequence[Record]:
        """Return the running downloads, out of memory."""

    async def glance(self, elapsed_s: float) -> Glance:
        """Return what is in memory.

        Args:
            elapsed_s: Since the last glance, for rates.
        """

    async def survey(self) -> Survey:
        """Return what takes a while.

        Raises:
            MirrorError: The catalog fails.
        """


class TooManyTabs(Exception):
    """No more tabs are served."""


class Tab:
    """One open page: what it was not told yet, by section."""

    def __init__(self, *, is_owner: bool) -> None:
        self.is_owner = is_owner
        self._waiting: Texts = {}
        self._come = asyncio.Event()
        self._is_ended = False

    def end(self) -> None:
        """Tell no more: the node ends."""
        self._is_ended = True
        self._come.set()

    def put(self, sections: Mapping[str, bytes]) -> None:
        """Have these sections told, in place of what they were."""
        if sections:
            self._waiting.update(sections)
            self._come.set()

    async def next(self) -> bytes:
        """Wait for a change and return it as one event; b"" when there will be no more."""
        await self._come.wait()
        if self._is_ended:
            return b""
        self._come.clear()
        sections, self._waiting = self._waiting, {}
        parts = b",".join(b'"%s":%s' % (name.encode(), text) for name, text in sections.items())
        return b"event: change\ndata: {%s}\n\n" % parts


class PageFeed:
    """One feed for all tabs; belongs to one event loop. Driven by: `run`, for as long as it is."""

    def __init__(self, look: Look, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Prepare."""
        self._look = look
        self._clock = clock
        self._tabs: dict[Tab, None] = {}
        self._told: dict[bool, Texts] = {True: {}, False: {}}  # by `is_owner`
        self._own: Sections = {}  # what owners see besides
        self._survey: Survey | None = None
        self._survey_texts: dict[bool, Texts] = {}
        self._is_stale = True  # more than the clock says that the survey is old
        self._survey_from = 0.0  # not before
        self._survey_at = 0.0  # at the latest
        self._glanced_at = clock()
        self._stirred = asyncio.Event()

    @contextmanager
    def tab(self, *, is_owner: bool) -> Iterator[Tab]:
        """Open a tab for the length of the block; it is told everything first.

        Raises:
            TooManyTabs: `MAX_TABS` are open.
        """
        if len(self._tabs) >= MAX_TABS:
            raise TooManyTabs
        tab = Tab(is_owner=is_owner)
        tab.put(self._told[is_owner])
        self._tabs[tab] = None
        self._stirred.set()
        try:
            yield tab
        finally:
            del self._tabs[tab]

    @property
    def tabs(self) -> int:
        """How many are open."""
        return len(self._tabs)

    def stir(self, *, is_survey_old: bool = False) -> None:
        """Look at the running downloads now, and at the rest soon if that has changed, too."""
        self._is_stale = self._is_stale or is_survey_old
        self._stirred.set()

    def show_owners(self, name: str, value: Any) -> None:
        """Set a section that only owners see."""
        self._own[name] = value

    async def run(self) -> None:
        """Take snapshots while tabs are open, until cancelled; a bug here is logged, no more.

        Cancelling ends all tabs.
        """
        try:
            while True:
                try:
                    await self._run()
                except Exception:
                    # A task boundary: the node does not end because its page cannot be made.
                    log.exception("page crashed")
                    await asyncio.sleep(AFTER_CRASH_S)
        finally:
            for tab in self._tabs:
                tab.end()

    async def _run(self) -> None:
        survey: asyncio.Task[None] | None = None
        next_at = 0.0
        try:
            while True:
                self._stirred.clear()
                if not self._tabs:
                    await self._stirred.wait()
                    continue
                now = self._clock()
                if survey is not None and survey.done():
                    survey.result()
                    survey = None
                if survey is None and self._is_survey_due(now):
                    survey = asyncio.create_task(self._look_around())
                if now >= next_at:
                    next_at = now + SNAPSHOT_S
                    self._tell(await self._snapshot(now))
                else:
                    self._tell(self._running())
                await asyncio.sleep(START_GAP_S)
                try:
                    async with asyncio.timeout(max(0.0, next_at - self._clock())):
                        await self._stirred.wait()
                except TimeoutError:
                    next_at = 0.0  # a timer may be early by a little: it is time all the same
        finally:
            if survey is not None:
                survey.cancel()
                await asyncio.gather(survey, return_exceptions=True)

    def _is_survey_due(self, now: float) -> bool:
        return now >= (self._survey_from if self._is_stale else self._survey_at)

    async def _look_around(self) -> None:
        """Renew the survey; a catalog that fails leaves the old one."""
        began = self._clock()
        self._is_stale = False  # what happens from now on may be missed
        try:
            self._survey = await self._look.survey()
            self._survey_texts = {}
        except MirrorError as exc:
            log.warning("page not renewed reason=%s", exc)
        now = self._clock()
        rest_s = (now - began) / SURVEY_SHARE
        self._survey_from = now + max(SNAPSHOT_S, rest_s)
        self._survey_at = now + max(SURVEY_S, rest_s)

    def _open_repos(self) -> frozenset[str]:
        return self._survey.open_repos if self._survey is not None else frozenset()

    def _kinds(self) -> set[bool]:
        return {tab.is_owner for tab in self._tabs}

    async def _snapshot(self, now: float) -> dict[bool, Texts]:
        """Return all sections for the kinds of tabs that are open."""
        glance = await self._look.glance(now - self._glanced_at)
        self._glanced_at = now
        open_repos = self._open_repos()
        found: dict[bool, Texts] = {}
        for is_owner in self._kinds():
            if self._survey is not None and is_owner not in self._survey_texts:
                sections = survey_sections(self._survey, is_owner=is_owner)
                self._survey_texts[is_owner] = _texts(sections)
            found[is_owner] = {
                **self._survey_texts.get(is_owner, {}),
                **_texts(glance_sections(glance, open_repos, is_owner=is_owner)),
                **(_texts(self._own) if is_owner else {}),
            }
        return found

    def _running(self) -> dict[bool, Texts]:
        """Return the section of the running downloads alone."""
        transfers, open_repos = self._look.transfers(), self._open_repos()
        return {
            is_owner: _texts(
                {"transfers": transfer_section(transfers, open_repos, is_owner=is_owner)}
            )
            for is_owner in self._kinds()
        }

    def _tell(self, found: Mapping[bool, Texts]) -> None:
        """Give each tab what is not as it was told before."""
        changed: dict[bool, Texts] = {}
        for is_owner, sections in found.items():
            told = self._told[is_owner]
            changed[is_owner] = {
                name: text for name, text in sections.items() if told.get(name) != text
            }
            told.update(sections)
        for tab in self._tabs:
            tab.put(changed[tab.is_owner])


def _texts(sections: Mapping[str, Any]) -> Texts:
    return {
        name: json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
        for name, value in sections.items()
    }
