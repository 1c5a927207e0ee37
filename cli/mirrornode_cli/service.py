"""Running a long-lived program from the command line: signals and the READY line.

asyncio is imported here only when a program runs.
"""

from __future__ import annotations

import gc
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

from mirrornode_cli.context import Interrupted, Ready
from mirrornode_cli.log import service_log
from mirrornode_cli.output import write_json, write_line

if TYPE_CHECKING:
    import asyncio


Program = Callable[["asyncio.Event", "asyncio.Event"], Awaitable[None]]
"""Takes what asks it to stop, and what asks it not to wait for anything then."""


def run_until_signal(program: Program, *, drains: bool = False) -> None:
    """Run a program until it ends by itself, or SIGTERM or Ctrl-C asks it to stop.

    A program that drains takes its time to finish what is under way; a second signal ends that.
    One signal more than a program listens to ends the process at once.

    Raises:
        Interrupted: It was Ctrl-C that ended it, and the program has shut down in order.
    """
    import asyncio
    import signal

    signals: list[int] = []

    async def run() -> None:
        loop = asyncio.get_running_loop()
        stop, at_once = asyncio.Event(), asyncio.Event()

        def on_signal(number: int) -> None:
            signals.append(number)
            (at_once if stop.is_set() else stop).set()
            if at_once.is_set() or not drains:
                for each in (signal.SIGTERM, signal.SIGINT):
                    loop.remove_signal_handler(each)

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, on_signal, number)
        try:
            await program(stop, at_once)
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)

    _calm_collector()
    with service_log():
        asyncio.run(run())
    if signal.SIGINT in signals:
        raise Interrupted("stopped; start it again with the same command")


def _calm_collector() -> None:
    """Let Python look for garbage cycles less often, and never among what was imported.

    A folder of ten thousand files makes hundreds of thousands of objects that stay: looking through
    them all again and again took a tenth of the processor time of such a `get`.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


def ready_writer(*, as_json: bool) -> Ready:
    """Return the callback that writes the READY line."""

    def ready(addresses: Mapping[str, Any]) -> None:
        if as_json:
            write_json(addresses)
        else:
            write_line(ready_text(addresses))

    return ready


def ready_text(addresses: Mapping[str, Any]) -> str:
    """Return the READY line for people."""
    listen = ", ".join(addresses.get("listen", ())) or "nothing"
    text = f"READY peer {addresses.get('peer_id', '?')} listening on {listen}"
    for name in ("gateway", "peer_plane"):
        if address := addresses.get(name):
            text += f" {name.replace('_', ' ')} {address}"
    return text
