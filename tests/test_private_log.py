"""What the log says when no requests are kept: by any logger, at any level, with any traceback."""

from __future__ import annotations

import ast
import io
import logging
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from mirrornode.errors import ConfigError, MirrorError
from mirrornode.private_log import WITHHELD, withholding

SECRET = "acme/orchid"
SOURCES = Path(__file__).parent.parent
METHODS = frozenset(
    {"debug", "info", "warning", "error", "critical", "exception", "log", "fatal", "warn"}
)


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    """Collect what is logged, all levels."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    root, level = logging.getLogger(), logging.getLogger().level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    with withholding():
        yield stream
    root.setLevel(level)
    root.removeHandler(handler)


def fail(text: str) -> None:
    raise ValueError(text)


def test_log_when_ours_then_words_and_numbers_stay_and_texts_go(written: io.StringIO) -> None:
    log = logging.getLogger("mirrornode.test")
    log.debug("file sent repo=%s bytes=%d ratio=%.1f whole=%s", SECRET, 5, 0.25, True)
    log.info("asked %(who)s %(count)d", {"who": SECRET, "count": 3})
    log.warning("nothing to fill in")
    log.error("wrong number of values %s %s", SECRET)
    log.info("not a number %d", SECRET)
    text = written.getvalue()
    assert SECRET not in text
    assert f"repo={WITHHELD} bytes=5 ratio=0.2 whole=True" in text
    assert f"asked {WITHHELD} 3" in text
    assert "nothing to fill in" in text
    assert text.count("at test_private_log.py:") == 2


def test_log_when_a_librarys_then_only_its_place_stays(written: io.StringIO) -> None:
    names = ("multiaddr.transforms", "aiohttp.server", "asyncio", "mirrornodes")
    for name in names:
        logging.getLogger(name).error(f"GET /{SECRET} from %s", SECRET, extra={"path": SECRET})
    assert SECRET not in written.getvalue()
    lines = written.getvalue().splitlines()
    assert {line.split()[1] for line in lines} == {f"{name}:" for name in names}
    assert all("test_private_log.py:" in line for line in lines)


def test_log_when_an_exception_then_types_and_places_stay(written: io.StringIO) -> None:
    log = logging.getLogger("mirrornode.test")
    try:
        try:
            fail(SECRET)
        except ValueError as exc:
            raise KeyError(SECRET) from exc
    except KeyError:
        log.exception("failed", stack_info=True, extra={"target": SECRET})
    text = written.getvalue()
    assert SECRET not in text
    assert "KeyError" in text
    assert "ValueError" in text
    assert " fail" in text


def test_log_when_a_handler_of_a_library_is_added_later_then_its_records_are_rewritten(
    written: io.StringIO,
) -> None:
    stream = io.StringIO()
    logger = logging.getLogger("some.library")
    logger.propagate = False
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(message)s %(args)s"))
    logger.addHandler(handler)
    logger.error("peer %s", SECRET)
    logger.removeHandler(handler)
    assert stream.getvalue()
    assert SECRET not in stream.getvalue()


def test_uncaught_when_in_a_thread_then_told_by_the_log_without_words(
    written: io.StringIO, capsys: pytest.CaptureFixture[str]
) -> None:
    thread = threading.Thread(target=fail, args=(SECRET,))
    thread.start()
    thread.join()
    sys.excepthook(ValueError, ValueError(SECRET), None)
    assert SECRET not in written.getvalue() + "".join(capsys.readouterr())
    assert written.getvalue().count("ValueError") == 2


def test_block_when_left_by_an_exception_then_its_words_go_unless_they_are_of_settings() -> None:
    before = logging.getLogRecordFactory(), sys.excepthook, threading.excepthook
    with pytest.raises(MirrorError, match="ValueError") as caught, withholding():
        fail(SECRET)
    assert SECRET not in str(caught.value)
    assert caught.value.__suppress_context__
    with pytest.raises(ConfigError, match=r"gateway\.allow"), withholding():
        raise ConfigError("gateway.allow is wrong", key="gateway.allow")
    assert (logging.getLogRecordFactory(), sys.excepthook, threading.excepthook) == before


def test_sources_when_they_log_then_the_words_of_an_event_hold_no_values() -> None:
    wrong, seen = [], 0
    for room in ("node", "cli", "bootstrap"):
        for path in (SOURCES / room).rglob("*.py"):
            for call in ast.walk(ast.parse(path.read_bytes())):
                if not (
                    isinstance(call, ast.Call)
                    and isinstance(call.func, ast.Attribute)
                    and call.func.attr in METHODS
                    and isinstance(call.func.value, ast.Name)
                    and call.func.value.id in ("log", "logger", "_log", "logging")
                ):
                    continue
                seen += 1
                words = call.args[1 if call.func.attr == "log" else 0]
                if not (isinstance(words, ast.Constant) and isinstance(words.value, str)):
                    wrong.append(f"{path.name}:{call.lineno}")
    assert wrong == []
    assert seen > 50
