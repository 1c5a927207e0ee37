from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from mirrornode.errors import HomeLocked, PathRefused
from mirrornode.store.home import lock_home, make_home


def test_lock_home_when_new_then_home_is_private(home: Path) -> None:
    with lock_home(home):
        assert stat.S_IMODE(home.stat().st_mode) == 0o700
        assert (home / "lock").read_text() == f"{os.getpid()}\n"


def test_lock_home_when_owned_then_owner_is_named(home: Path) -> None:
    with lock_home(home), pytest.raises(HomeLocked) as caught, lock_home(home):
        pass
    assert caught.value.owner_pid == os.getpid()
    assert str(os.getpid()) in str(caught.value)


def test_lock_home_when_released_then_it_can_be_owned_again(home: Path) -> None:
    with lock_home(home):
        pass
    with lock_home(home):
        pass


def test_lock_home_when_lock_holds_nonsense_then_owner_is_unknown(home: Path) -> None:
    with lock_home(home):
        (home / "lock").write_bytes(b"\xff not a pid")
        with pytest.raises(HomeLocked) as caught, lock_home(home):
            pass
    assert caught.value.owner_pid is None


def test_make_home_when_a_file_has_the_name_then_refused(home: Path) -> None:
    home.write_text("not a folder")
    with pytest.raises(PathRefused):
        make_home(home)


def test_make_home_when_parent_is_a_file_then_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PathRefused):
        make_home(tmp_path / "file" / "home")
