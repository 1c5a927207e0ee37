"""`trio.fail_after` without its two generators: it is entered for every message of a peer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from types import TracebackType


class TimeLimit:
    """A block that may take so long; `trio.TooSlowError` when it did not end in time."""

    __slots__ = ("_scope", "_seconds")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def __enter__(self) -> None:
        self._scope = trio.CancelScope(deadline=trio.current_time() + self._seconds)
        self._scope.__enter__()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        is_handled = self._scope.__exit__(kind, exc, traceback)
        if self._scope.cancelled_caught:
            raise trio.TooSlowError
        return is_handled
