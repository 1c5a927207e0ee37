"""When and where progress is shown."""

from __future__ import annotations

import io

from mirrornode.events import AddProgress, Note
from mirrornode_cli.progress import LINE_EVERY_S, line_progress, show_progress
from mirrornode_cli.view import AddView


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_show_progress_when_quiet_then_nothing_is_written() -> None:
    stream = io.StringIO()
    with show_progress(AddView("add"), quiet=True, stream=stream) as progress:
        progress(Note("hello"))
        progress(AddProgress(1, 2))
    assert stream.getvalue() == ""


def test_line_progress_when_events_are_frequent_then_a_line_now_and_then() -> None:
    stream = io.StringIO()
    times = iter([0.0, 1.0, LINE_EVERY_S, LINE_EVERY_S + 1, 2 * LINE_EVERY_S])
    progress = line_progress(AddView("add"), stream, clock=lambda: next(times))
    for done in (10, 50, 60, 100):
        progress(AddProgress(done, 1000))
    lines = stream.getvalue().splitlines()
    assert [line.split(",")[0] for line in lines] == [
        "add: 5.0% of 1.00 kB",
        "add: 10.0% of 1.00 kB",
    ]


def test_line_progress_when_a_note_comes_then_it_is_written_at_once() -> None:
    stream = io.StringIO()
    progress = line_progress(AddView("add"), stream, clock=lambda: 0.0)
    progress(Note("peer left", level="warning"))
    progress(Note("one\x1bline"))
    assert stream.getvalue() == "warning: peer left\none�line\n"


def test_show_progress_when_on_a_terminal_then_draws_and_keeps_notes() -> None:
    stream = _Terminal()
    with show_progress(AddView("add"), quiet=False, stream=stream) as progress:
        progress(Note("peer [bold]left[/bold]", level="warning"))
        progress(AddProgress(500, 1000, "/m/file"))
    text = stream.getvalue()
    assert "warning: peer [bold]left[/bold]" in text
    assert "50.0%" in text
