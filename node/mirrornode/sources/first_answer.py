"""Asking several places in order, the next one as soon as those before are late."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import TypeVar

_T = TypeVar("_T")


def first_answer(asks: Sequence[Callable[[], _T | None]], late_s: float) -> _T | None:
    """Return the first answer that counts, None when there is none; blocking.

    Each call but a lone one runs in a thread of its own, and goes on there when another has
    answered meanwhile: its end is told nobody.

    Args:
        asks: In the order of preference; they return None when they have no answer. What they
            raise is an answer, too, but waits for those before, which are only late.
        late_s: When the next one is asked beside those that run.
    """
    if len(asks) == 1:
        return asks[0]()
    said: SimpleQueue[tuple[int, _T | None, BaseException | None]] = SimpleQueue()
    running: set[int] = set()
    refusals: dict[int, BaseException] = {}
    waiting = enumerate(asks)

    def begin_next() -> bool:
        for index, ask in waiting:
            running.add(index)
            threading.Thread(
                target=_ask, args=(index, ask, said), name="first-answer", daemon=True
            ).start()
            return True
        return False

    may_be_late = begin_next()
    while running:
        try:
            index, answer, refusal = said.get(timeout=late_s if may_be_late else None)
        except Empty:
            may_be_late = begin_next()
            continue
        running.discard(index)
        if answer is not None:
            return answer
        if refusal is not None:
            refusals[index] = refusal
        if refusals and min(refusals) < min(running, default=len(asks)):
            raise refusals[min(refusals)]
        may_be_late = begin_next()
    return None


def _ask(
    index: int,
    ask: Callable[[], _T | None],
    said: SimpleQueue[tuple[int, _T | None, BaseException | None]],
) -> None:
    try:
        said.put((index, ask(), None))
    except BaseException as exc:  # raised in the thread that waits, if it still does
        said.put((index, None, exc))
