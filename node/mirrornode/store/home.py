"""The home directory: made private, and owned by one process at a time.

The lock is an advisory `flock`, which the kernel drops when its holder dies, so a crash never
leaves a home locked. What lies inside the home is the business of the modules that write it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from mirrornode.errors import HomeLocked, PathRefused

LOCK_NAME = "lock"
MODELS_NAME = "models"  # files that this node keeps for the user: copies and downloads
HUB_NAME = "hub"  # files of the Hub that came, by their ETag
TRASH_NAME = "trash"  # files on their way out

_MAX_PID_BYTES = 32  # a pid and a newline; what else is in the file is not ours


def make_home(home: Path) -> None:
    """Make `home` and its parents where they are missing, `home` readable by its user only.

    Raises:
        PathRefused: It cannot be made, or something that is no folder has its name.
    """
    try:
        home.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            home.mkdir(mode=0o700)
        is_folder = home.is_dir()
    except OSError as error:
        raise PathRefused(home, "create", os.strerror(error.errno or 0)) from error
    if not is_folder:
        raise PathRefused(home, "use", "it is not a folder")


@contextlib.contextmanager
def lock_home(home: Path) -> Iterator[None]:
    """Own `home` for the length of the `with` block.

    Raises:
        HomeLocked: Another process owns it; its pid is named when it could be read.
        PathRefused: The home or its lock file cannot be made.
    """
    make_home(home)
    path = home / LOCK_NAME
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise PathRefused(path, "open", os.strerror(error.errno or 0)) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise HomeLocked(home, _owner(descriptor)) from error
        except OSError as error:
            raise PathRefused(path, "lock", os.strerror(error.errno or 0)) from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, b"%d\n" % os.getpid(), 0)
        yield
    finally:
        os.close(descriptor)


def is_home_locked(home: Path) -> bool:
    """Tell whether a process owns `home` now; makes nothing, and says no where it cannot look."""
    try:
        descriptor = os.open(home / LOCK_NAME, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        # Shared: two that only look do not see each other.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return False


def _owner(descriptor: int) -> int | None:
    text = os.pread(descriptor, _MAX_PID_BYTES, 0).strip()
    return int(text) if text.isdigit() else None
