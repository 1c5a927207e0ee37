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
    begun = 0
    while begun < len(asks) or running:
        if begun < len(asks):
            running.add(begun)
            threading.Thread(
                target=_ask, args=(begun, asks[begun], said), name="first-answer", daemon=True
            ).start()
            begun += 1
        is_heard = False
        while running and not (is_heard and begun < len(asks)):
            try:
                index, answer, refusal = said.get(timeout=late_s if begun < len(asks) else None)
            except Empty:
                break
            is_heard = True
            running.discard(index)
            if answer is not None:
                return answer
            if refusal is not None:
                refusals[index] = refusal
            if refusals and min(refusals) < min(running, default=len(asks)):
                raise refusals[min(refusals)]
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
