"""When the first questions of a search are answered: from then on waiting helps little."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence


class FirstLooks:
    """Counts the first questions to the DHT and to routers, and tells when the last is over."""

    def __init__(self, on_over: Callable[[], None]) -> None:
        """Prepare; `on_over` is called once, from the event loop."""
        self._on_over = on_over
        self._open: set[object] = set()

    def begin(self) -> FirstLook:
        """Note a question that is asked; all are begun before the first is over."""
        look = FirstLook(self)
        self._open.add(look)
        return look

    def end(self, look: FirstLook) -> None:
        """Note that a question is answered; again does nothing."""
        if look in self._open:
            self._open.remove(look)
            if not self._open:
                self._on_over()


class FirstLook:
    """One question."""

    def __init__(self, looks: FirstLooks) -> None:
        self._looks = looks

    def over(self) -> None:
        """Note that it is answered, or that nobody is there to ask."""
        self._looks.end(self)

    async def over_after(self, asking: Sequence[asyncio.Task[None]]) -> None:
        """Note it when those whom the answer named have been asked as well."""
        await asyncio.gather(*asking, return_exceptions=True)
        self.over()
