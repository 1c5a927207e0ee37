"""Tells webhooks of alerts: one queue each, retried with growing pauses, never waited for.

A webhook that is slow, gone or broken holds up nobody: its posts run in threads of their own, its
queue is bounded, and of what is too much the oldest goes. Undelivered notices end with the process.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mirrornode.errors import MirrorError, SourceGone
from mirrornode.mirror.alerts_message import label_of, message_for, shown, verdict_of
from mirrornode.sources.http_client import HttpConnection
from mirrornode.sources.web import WEB_HEADERS, split_url

if TYPE_CHECKING:
    from mirrornode.config_alerts import WebhookConfig
    from mirrornode.mirror.alerts_message import Sender
    from mirrornode.mirror.alerts_state import Notice

log = logging.getLogger(__name__)

MAX_WAITING: Final = 100  # notices for one webhook
MAX_TRIES: Final = 10  # with the pauses between them about 17 minutes
FIRST_PAUSE_S: Final = 2.0
LONGEST_PAUSE_S: Final = 600.0
ANSWER_S: Final = 10.0
MAX_ANSWER_BYTES: Final = 64 * 1024
MAX_THREADS: Final = 8


@dataclass(frozen=True, slots=True)
class Told:
    """What became of one post; `answer` is fit to be shown."""

    webhook: str
    kind: str
    is_taken: bool
    answer: str
    seconds: float


class Deliveries:
    """The webhooks of a node; used from its event loop."""

    def __init__(
        self,
        hooks: Sequence[WebhookConfig],
        sender: Sender,
        *,
        first_pause_s: float = FIRST_PAUSE_S,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._sender = sender
        self._first_pause_s = first_pause_s
        self._clock = clock
        self._hooks = tuple(hooks)
        self._queues: list[asyncio.Queue[Notice]] = [asyncio.Queue(MAX_WAITING) for _ in hooks]
        self._pool = ThreadPoolExecutor(max(1, min(len(self._hooks), MAX_THREADS)), "webhook")
        self._open: set[HttpConnection] = set()

    def put(self, notice: Notice) -> None:
        """Have all webhooks told of something, some time; returns at once."""
        for hook, queue in zip(self._hooks, self._queues, strict=True):
            if queue.full():
                queue.get_nowait()
                log.warning("notice dropped webhook=%s reason=too many wait", label_of(hook))
            queue.put_nowait(notice)

    async def run(self) -> None:
        """Deliver until cancelled."""
        async with asyncio.TaskGroup() as group:
            for hook, queue in zip(self._hooks, self._queues, strict=True):
                group.create_task(self._serve(hook, queue))

    async def tell_all(self, notice: Notice) -> list[Told]:
        """Tell all webhooks now, once, and return what each answered."""
        return list(await asyncio.gather(*(self._post(hook, notice) for hook in self._hooks)))

    def close(self) -> None:
        """Break off what is under way."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        for connection in list(self._open):
            connection.abort()

    async def _serve(self, hook: WebhookConfig, queue: asyncio.Queue[Notice]) -> None:
        while True:
            notice = await queue.get()
            for number in range(MAX_TRIES):
                if number:
                    pause_s = self._first_pause_s * 2 ** (number - 1)
                    await asyncio.sleep(min(pause_s, LONGEST_PAUSE_S))
                if (told := await self._post(hook, notice)).is_taken:
                    break
                log.warning("webhook failed webhook=%s reason=%s", told.webhook, told.answer)
            else:
                log.error("notice given up webhook=%s rule=%s", label_of(hook), notice.alert.rule)

    async def _post(self, hook: WebhookConfig, notice: Notice) -> Told:
        label, began = label_of(hook), time.monotonic()
        connection = HttpConnection(
            split_url(hook.url)[0],
            f"webhook:{label}",
            read_timeout_s=ANSWER_S,
            connect_timeout_s=ANSWER_S,
        )
        self._open.add(connection)
        try:
            loop = asyncio.get_running_loop()
            posting = loop.run_in_executor(self._pool, self._exchange, hook, connection, notice)
            is_taken, answer = await posting
        except MirrorError as exc:
            is_taken, answer = False, shown(hook, str(exc))
        except Exception as exc:
            # A task boundary: a strange answer of one webhook must not end the others. Its words
            # may hold the URL.
            log.error("webhook failed webhook=%s error=%s", label, type(exc).__name__)
            is_taken, answer = False, type(exc).__name__
        finally:
            self._open.discard(connection)
            connection.abort()
        return Told(label, hook.kind, is_taken, answer, round(time.monotonic() - began, 3))

    def _exchange(
        self, hook: WebhookConfig, connection: HttpConnection, notice: Notice
    ) -> tuple[bool, str]:
        if connection.aborts:
            raise SourceGone("was broken off")  # before it began
        message = message_for(hook, notice, self._sender, self._clock())
        _, target, login = split_url(hook.url)
        if message.query:
            target += ("&" if "?" in target else "?") + message.query
        headers = {**WEB_HEADERS, **login, "Content-Type": "application/json; charset=utf-8"}
        try:
            response = connection.request(target, headers, method="POST", body=message.body)
            return verdict_of(hook, response.status, connection.read_all(MAX_ANSWER_BYTES))
        finally:
            connection.abort()  # here, because only the thread that uses it can close it
