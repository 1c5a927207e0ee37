"""Progress on stderr: live on a terminal, a line now and then in a log, nothing with `--json`.

What is shown comes from `view`; this module only decides when and where.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from mirrornode.events import Event, Note, Progress
from mirrornode_cli.units import printable
from mirrornode_cli.view import View

LINE_EVERY_S = 5.0
REFRESH_PER_S = 8.0


@contextmanager
def show_progress(view: View, *, quiet: bool, stream: TextIO | None = None) -> Iterator[Progress]:
    """Yield the callback that a verb hands to the client.

    Args:
        view: What to draw.
        quiet: True with `--json`: nothing is shown.
        stream: Where to; stderr when None.
    """
    stream = stream or sys.stderr
    if quiet:
        yield lambda event: None
    elif stream.isatty():
        with _live(view, stream) as progress:
            yield progress
    else:
        yield line_progress(view, stream, clock=time.monotonic)


def line_progress(view: View, stream: TextIO, *, clock: Callable[[], float]) -> Progress:
    """Return a callback that writes one line at most every `LINE_EVERY_S`, and notes at once."""
    last_s = clock()

    def progress(event: Event) -> None:
        nonlocal last_s
        now_s = clock()
        if isinstance(event, Note):
            stream.write(_note_text(event) + "\n")
            stream.flush()
            return
        view.take(event, now_s)
        if now_s - last_s >= LINE_EVERY_S:
            last_s = now_s
            stream.write(view.plain(now_s) + "\n")
            stream.flush()

    return progress


@contextmanager
def _live(view: View, stream: TextIO) -> Iterator[Progress]:
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    console = Console(file=stream, highlight=False)

    def picture() -> Text:
        lines = view.lines(console.width, time.monotonic())
        return Text("\n".join(lines), no_wrap=True, overflow="crop")

    def progress(event: Event) -> None:
        if isinstance(event, Note):
            console.print(Text(_note_text(event)))
        else:
            view.take(event, time.monotonic())

    with Live(
        console=console,
        get_renderable=picture,
        refresh_per_second=REFRESH_PER_S,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    ):
        yield progress


def _note_text(note: Note) -> str:
    text = printable(note.text)
    return f"warning: {text}" if note.level == "warning" else text
