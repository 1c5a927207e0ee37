"""What the progress of `get` and `add` looks like, at several widths."""

from __future__ import annotations

import pytest

from mirrornode.events import AddProgress, GetProgress, Note, SourceState
from mirrornode_cli.view import MAX_SOURCES_SHOWN, AddView, GetView, View


def _source(name: str, rate: float = 10e6, **fields: str) -> SourceState:
    return SourceState(
        source_id=name,
        state=fields.get("state", "active"),
        received_bytes=50_000_000,
        rate_bytes_per_s=rate,
        reason=fields.get("reason", ""),
    )


def _progress(
    done: int, *, resumed: int = 0, files: int = 1, sources: tuple[SourceState, ...] = ()
) -> GetProgress:
    return GetProgress(
        phase="transfer",
        done_bytes=done,
        total_bytes=1_000_000_000,
        resumed_bytes=resumed,
        rate_bytes_per_s=0.0,
        files_done=2,
        files_total=files,
        sources=sources,
    )


def _after(view: View, *events: GetProgress | AddProgress) -> View:
    for second, event in enumerate(events):
        view.take(event, float(second))
    return view


def test_get_lines_when_running_then_say_how_far_how_fast_and_from_whom() -> None:
    view = GetView("bafyTARGET")
    peers = (_source("peer:12D3KooWabcdefghijkl"), _source("http:http://m.example/x", 30e6))
    _after(view, _progress(0), _progress(100_000_000, files=20, sources=peers))
    text = "\n".join(view.lines(80, 1.0))
    assert "fetching and verifying: bafyTARGET" in text
    assert "10.0%  100 MB of 1.00 GB   100 MB/s  0:09 left" in text
    assert "2 of 20 files" in text
    assert text.index("http m.example") < text.index("peer …efghijkl")


def test_get_lines_when_resumed_then_rate_counts_only_new_bytes() -> None:
    view = GetView("x")
    view.take(_progress(500_000_000, resumed=500_000_000), 0.0)
    view.take(_progress(510_000_000, resumed=500_000_000), 1.0)
    text = "\n".join(view.lines(80, 1.0))
    assert "10.0 MB/s  0:49 left" in text
    assert "500 MB resumed" in text


def test_get_lines_when_rate_is_unknown_then_no_estimate() -> None:
    view = _after(GetView("x"), _progress(100))
    assert "-  - left" in "\n".join(view.lines(80, 0.0))


@pytest.mark.parametrize("width", [30, 40, 60, 80, 200])
def test_get_lines_when_terminal_is_narrow_then_no_line_is_wider(width: int) -> None:
    sources = tuple(
        _source(f"http:http://host-with-a-long-name-{n}.example", reason="r" * 90) for n in range(9)
    )
    view = _after(GetView("bafy" * 20), _progress(0), _progress(1000, files=9, sources=sources))
    lines = view.lines(width, 1.0)
    assert max(map(len, lines)) <= width
    assert sum("host-with" in line for line in lines) <= MAX_SOURCES_SHOWN


def test_get_lines_when_more_sources_than_fit_then_says_how_many() -> None:
    sources = tuple(_source(f"peer:{n}") for n in range(9))
    view = _after(GetView("x"), _progress(0, sources=sources))
    assert view.lines(80, 0.0)[-1] == "  and 3 more sources"


def test_get_lines_when_size_is_unknown_then_only_the_phase() -> None:
    view = GetView("x")
    assert view.lines(80, 0.0) == ["get x: starting"]
    view.take(GetProgress("finding", 0, 0, 0, 0.0), 0.0)
    assert view.lines(80, 0.0) == ["looking for sources: x"]
    assert view.plain(0.0) == "get x: looking for sources"


def test_get_lines_when_a_source_sends_control_characters_then_they_do_not_show() -> None:
    view = _after(GetView("a\x1b[2J"), _progress(0, sources=(_source("p", reason="\x1b[31m"),)))
    assert "\x1b" not in "\n".join(view.lines(80, 0.0))


def test_get_plain_when_running_then_one_line_with_working_sources() -> None:
    sources = (_source("peer:a"), _source("peer:b", state="banned"))
    view = _after(GetView("x"), _progress(0), _progress(100_000_000, sources=sources))
    assert view.plain(1.0) == "get x: 10.0% of 1.00 GB, 100 MB/s, 0:09 left, from 1 source"


def test_get_plain_when_nothing_is_left_then_no_word_of_sources() -> None:
    view = _after(GetView("x"), _progress(0), _progress(1_000_000_000))
    assert view.plain(1.0) == "get x: 100% of 1.00 GB, 1.00 GB/s, 0:00 left"


def test_add_lines_when_running_then_path_and_bar() -> None:
    view = _after(
        AddView("add"),
        AddProgress(0, 2_000_000),
        AddProgress(1_000_000, 2_000_000, "/m/" + "x" * 90),
    )
    lines = view.lines(80, 1.0)
    assert lines[0].startswith("…")
    assert "━" in lines[1]
    assert "50.0%  1.00 MB of 2.00 MB  1.00 MB/s  0:01 left" in lines[1]
    assert view.plain(1.0) == "add: 50.0% of 2.00 MB, 1.00 MB/s, 0:01 left"


def test_add_lines_when_nothing_is_known_then_says_so() -> None:
    view = AddView("verify")
    view.take(Note("x"), 0.0)
    assert view.lines(80, 0.0) == ["verify: looking at the files"]
    assert view.plain(0.0) == "verify: looking at the files"
