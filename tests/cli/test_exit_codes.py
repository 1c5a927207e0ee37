"""The table from errors to exit codes is complete and says what the contract says."""

from __future__ import annotations

from pathlib import Path

import pytest

from mirrornode import errors
from mirrornode_cli.exit_codes import EXIT_CODES, exit_code_of


def _tree(cls: type[errors.MirrorError]) -> set[type[errors.MirrorError]]:
    found = {cls}
    for sub in cls.__subclasses__():
        if sub.__module__ == errors.__name__:
            found |= _tree(sub)
    return found


def test_exit_codes_when_an_error_class_is_added_then_the_table_must_name_it() -> None:
    assert set(EXIT_CODES) == _tree(errors.MirrorError)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.TargetError("x"), 2),
        (errors.ConfigError("x"), 2),
        (errors.Incomplete("x", ("a",)), 3),
        (errors.NoProviders("x"), 10),
        (errors.BlockNotFound("x"), 10),
        (errors.SourceRefused("x"), 10),
        (errors.CidMismatch("x"), 12),
        (errors.MalformedNode("x"), 12),
        (errors.AccessRefused("x"), 13),
        (errors.DaemonGone("x"), 1),
    ],
)
def test_exit_code_of_when_asked_then_follows_the_contract(
    error: errors.MirrorError, code: int
) -> None:
    assert exit_code_of(error) == code


def test_exit_code_of_when_class_is_unknown_then_its_nearest_base_decides() -> None:
    class Stranger(errors.HomeLocked):
        pass

    assert exit_code_of(Stranger(Path("/x"))) == 11
