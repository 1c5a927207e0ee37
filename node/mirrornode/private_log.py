"""Takes out of the log what tells who asked this node for what: for `[log] requests = false`.

Every record of every logger passes here when it is made, whichever level, handler or library it is
of. Of our own events the words stay and every text in them goes; numbers stay. What a library says
is made of words and names that cannot be told apart, so only the place in its code stays. Of an
exception its type and the places in the code stay. Nothing is recognised by its looks: a name of a
model looks like any word.

That the words of our own events hold no values is proven by a test of the sources.
"""

from __future__ import annotations

import logging
import sys
import threading
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Final

from mirrornode.errors import ConfigError, MirrorError, StoreError

if TYPE_CHECKING:
    from types import TracebackType

WITHHELD: Final = "(not kept)"
OUR_PACKAGES: Final = frozenset({"mirrornode", "mirrornode_cli", "mirrornode_bootstrap"})
MAX_CAUSES: Final = 8  # of an exception that are told
MAX_FRAMES: Final = 60

log = logging.getLogger(__name__)

# What a record has of its own accord; whatever else a caller hangs on it goes.
_OWN_FIELDS: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}


class Withholding(logging.Filter):
    """Rewrites records so that they hold no value a client or peer could have given."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Rewrite a record in place; it is always kept."""
        record.msg = _message_of(record)
        record.args = None
        if record.exc_info:
            error = record.exc_info[1]
            record.exc_text = describe(error) if error is not None else None
        elif record.exc_text:
            record.exc_text = WITHHELD
        record.exc_info = None
        record.stack_info = None
        for name in vars(record).keys() - _OWN_FIELDS:
            setattr(record, name, WITHHELD)
        return True


@contextmanager
def withholding() -> Iterator[None]:
    """Have all log records of this process rewritten for the length of the block.

    So are exceptions that nobody caught, which Python prints without the log.

    Raises:
        MirrorError: In place of an exception that leaves the block and may say anything.
    """
    rewrite = Withholding().filter
    make = logging.getLogRecordFactory()
    on_error, on_thread_error = sys.excepthook, threading.excepthook
    on_unraisable = sys.unraisablehook

    def make_withheld(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = make(*args, **kwargs)
        rewrite(record)
        return record

    def tell(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        log.error("uncaught exception", exc_info=(kind, error, trace))

    def tell_of_thread(args: threading.ExceptHookArgs) -> None:
        if args.exc_value is not None and not isinstance(args.exc_value, SystemExit):
            tell(args.exc_type, args.exc_value, args.exc_traceback)

    def tell_of_unraisable(args: sys.UnraisableHookArgs) -> None:
        if args.exc_value is not None:
            tell(args.exc_type, args.exc_value, args.exc_traceback)

    logging.setLogRecordFactory(make_withheld)
    sys.excepthook = tell
    threading.excepthook = tell_of_thread
    sys.unraisablehook = tell_of_unraisable
    try:
        yield
    except (ConfigError, StoreError):
        raise  # of this machine: settings and files
    except Exception as error:
        # The boundary of the daemon: whoever started it prints what it is given.
        log.error("node failed", exc_info=error)
        failure = f"the node failed ({type(error).__name__}); its log says where"
        raise MirrorError(failure) from None
    finally:
        logging.setLogRecordFactory(make)
        sys.excepthook, threading.excepthook = on_error, on_thread_error
        sys.unraisablehook = on_unraisable


def describe(error: BaseException) -> str:
    """Return the types of an exception and its causes, and where each was raised."""
    lines = []
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and len(seen) < MAX_CAUSES and id(cause) not in seen:
        seen.add(id(cause))
        lines.append(f"{type(cause).__name__}: {WITHHELD}")
        frames = traceback.extract_tb(cause.__traceback__, limit=-MAX_FRAMES)
        lines += [
            f"  {PurePath(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames
        ]
        cause = cause.__cause__ or cause.__context__
    return "\n".join(lines)


def _message_of(record: logging.LogRecord) -> str:
    if record.name.partition(".")[0] not in OUR_PACKAGES or not isinstance(record.msg, str):
        return f"{WITHHELD} at {PurePath(record.pathname).name}:{record.lineno}"
    try:
        return record.msg % _withheld(record.args) if record.args else record.msg
    except (TypeError, ValueError, KeyError):
        return f"{WITHHELD} at {PurePath(record.pathname).name}:{record.lineno}"


def _withheld(args: object) -> Any:
    if isinstance(args, Mapping):
        return {name: _value(value) for name, value in args.items()}
    return tuple(_value(value) for value in args) if isinstance(args, tuple) else _value(args)


def _value(value: object) -> object:
    return value if type(value) in (int, float, bool) else WITHHELD
