"""`mirrornode service`: the unit, what is kept of a shell, and systemctl's part in it."""

from __future__ import annotations

import os
import pwd
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from cli.conftest import Run
from mirrornode.errors import ConfigError, MirrorError
from mirrornode_cli.systemd import Systemd, find_systemctl, keep_environment, unit_folder
from mirrornode_cli.systemd_unit import (
    MARK,
    UnitPlan,
    environment_text,
    kept_environment,
    unit_text,
)

GOLDEN = Path(__file__).parent / "golden"
PYTHON, HOME = Path("/opt/mirrornode/bin/python"), Path("/home/ann/.local/share/mirrornode")


class FakeSystemctl:
    """Remembers what it was asked; `refuses` names a word it says no to."""

    def __init__(self, refuses: str = "") -> None:
        self.asked: list[str] = []
        self._refuses = refuses

    def __call__(self, arguments: Sequence[str]) -> tuple[int, str]:
        self.asked.append(" ".join(arguments))
        if arguments[0] == self._refuses:
            return 1, "Failed to connect to bus:\nNo medium found\n"
        return 0, "active\n"


@pytest.mark.parametrize(
    ("name", "plan"),
    [
        ("user.service", UnitPlan(PYTHON, HOME, 10.0)),
        ("system.service", UnitPlan(PYTHON, Path("/etc/mirror node"), 0.5, user="ann")),
    ],
)
def test_unit_text_is_what_was_agreed(name: str, plan: UnitPlan) -> None:
    assert unit_text(plan) == (GOLDEN / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["user.service", "system.service"])
def test_golden_units_are_valid(name: str, tmp_path: Path) -> None:
    if (analyze := shutil.which("systemd-analyze")) is None:
        pytest.skip("systemd-analyze is not installed")
    # It looks whether the program is there.
    text = (GOLDEN / name).read_text(encoding="utf-8").replace(str(PYTHON), sys.executable)
    text = "\n".join(line for line in text.splitlines() if not line.startswith("User="))
    path = tmp_path / "mirrornode.service"
    path.write_text(text, encoding="utf-8")
    done = subprocess.run(
        [analyze, "verify", "--man=no", path], capture_output=True, text=True, check=False
    )
    said = [line for line in done.stderr.splitlines() if path.name in line]
    assert (said, done.returncode) == ([], 0), done.stderr


@pytest.mark.parametrize("path", ["/a\nExecStartPre=/bin/evil", "/a\x00b"])
def test_unit_text_when_a_path_would_end_its_line_then_refused(path: str) -> None:
    with pytest.raises(ConfigError, match="no unit can name"):
        unit_text(UnitPlan(PYTHON, Path(path), 10.0))


def test_unit_text_escapes_what_systemd_would_read_otherwise() -> None:
    text = unit_text(UnitPlan(PYTHON, Path('/a "b" $HOME 100%'), 10.0))
    assert r'--home "/a \"b\" $$HOME 100%%"' in text
    assert 'EnvironmentFile=-/a "b" $HOME 100%%/service.env' in text


def test_kept_environment_keeps_what_a_node_reads_and_no_tokens() -> None:
    environ = {
        "HTTPS_PROXY": "http://u:p$w@proxy:3128",
        "no_proxy": "localhost",
        "SSL_CERT_FILE": "/etc/ca.pem",
        "MIRRORNODE_GATEWAY_ADDRESS": "0.0.0.0:8090",
        "MIRRORNODE_HOME": "/h",
        "HF_TOKEN": "hf_secret",
        "HF_HOME": "/models/hf",
        "PATH": "/bin",
        "http_proxy": "",
        "all_proxy": "a\nExecStart=/bin/evil",
    }
    kept = kept_environment(environ)
    assert set(kept) == {
        "HTTPS_PROXY", "no_proxy", "SSL_CERT_FILE", "MIRRORNODE_GATEWAY_ADDRESS", "HF_HOME",
    }  # fmt: skip
    lines = environment_text(kept).splitlines()[1:]
    assert 'HTTPS_PROXY="http://u:p\\$w@proxy:3128"' in lines
    # A shell reads the same quoting the same way.
    assert dict(shlex.split(line)[0].split("=", 1) for line in lines if "$" not in line) == {
        name: value for name, value in kept.items() if "$" not in value
    }


def test_keep_environment_is_private_and_leaves_what_a_user_wrote(tmp_path: Path) -> None:
    assert keep_environment(tmp_path, {}) == ""
    assert "kept no_proxy" in keep_environment(tmp_path, {"no_proxy": "x"})
    path = tmp_path / "service.env"
    assert path.stat().st_mode & 0o777 == 0o600
    path.write_text("mine")
    assert "left" in keep_environment(tmp_path, {"no_proxy": "y"})
    assert path.read_text() == "mine"


def test_install_twice_then_the_second_time_nothing_is_written(tmp_path: Path) -> None:
    text = unit_text(UnitPlan(PYTHON, HOME, 10.0))
    first = FakeSystemctl()
    Systemd(tmp_path / "units", first, is_user=True).install(text, starts=True)
    assert first.asked == [
        "daemon-reload", "enable mirrornode.service", "start mirrornode.service"
    ]  # fmt: skip
    second = FakeSystemctl()
    manager = Systemd(tmp_path / "units", second, is_user=True)
    manager.install(text, starts=True)
    assert second.asked == ["enable mirrornode.service", "start mirrornode.service"]
    assert "as it should be" in manager.done[0]
    assert manager.path.read_text() == text
    third = FakeSystemctl()
    Systemd(tmp_path / "units", third, is_user=True).install(text + "#\n", starts=True)
    assert third.asked[-1] == "restart mirrornode.service"
    assert [path.name for path in manager.folder.iterdir()] == ["mirrornode.service"]


def test_uninstall_removes_the_unit_and_again_is_no_error(tmp_path: Path) -> None:
    manager = Systemd(tmp_path, FakeSystemctl(), is_user=False)
    manager.install(f"{MARK}\n", starts=False)
    manager.uninstall()
    assert not manager.path.exists()
    again = FakeSystemctl()
    Systemd(tmp_path, again, is_user=False).uninstall()
    assert again.asked == []


@pytest.mark.parametrize("verb", ["install", "uninstall"])
def test_a_unit_of_somebody_else_is_never_touched(tmp_path: Path, verb: str) -> None:
    manager = Systemd(tmp_path, FakeSystemctl(), is_user=True)
    manager.path.write_text("[Service]\nExecStart=/bin/true\n")
    with pytest.raises(MirrorError, match="was not written by this command"):
        manager.install(f"{MARK}\n", starts=False) if verb == "install" else manager.uninstall()
    assert "/bin/true" in manager.path.read_text()


def test_install_when_systemctl_says_no_then_its_words(tmp_path: Path) -> None:
    manager = Systemd(tmp_path, FakeSystemctl(refuses="enable"), is_user=True)
    with pytest.raises(
        MirrorError, match=r"enable mirrornode.service` failed: .* No medium"
    ) as exc:
        manager.install(f"{MARK}\n", starts=True)
    assert "wrote" in str(exc.value)


def test_state_when_nothing_is_installed_then_says_so(tmp_path: Path) -> None:
    state = Systemd(tmp_path, lambda _: (4, "not-found\n"), is_user=True).state()
    assert (state["installed"], state["active"]) == ("no", "not-found")


def test_find_systemctl_runs_the_real_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "systemctl"
    program.write_text('#!/bin/sh\necho "$@"\nexit 3\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    run = find_systemctl(is_user=True, booted=tmp_path)
    assert run(["is-active", "x"]) == (3, "--user is-active x\n")


@pytest.mark.parametrize("verb", ["install", "uninstall", "status"])
def test_service_without_systemd_then_says_what_to_do_instead(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, verb: str
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    outcome = run("service", verb)
    assert outcome.code == 1
    assert "systemd does not run" in outcome.err
    assert "@reboot" in outcome.err
    assert "Containerfile" in outcome.err
    assert not (tmp_path / "home").exists()


def test_service_install_print_writes_the_unit_of_this_installation_and_nothing_else(
    run: Run, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "config.toml").write_text("[service]\ndrain_s = 100\n")
    outcome = run("service", "install", "--print")
    assert outcome.code == 0
    assert f"ExecStart={sys.executable} -m mirrornode_cli serve --home {home}\n" in outcome.out
    assert "TimeoutStopSec=120\n" in outcome.out
    assert [path.name for path in home.iterdir()] == ["config.toml"]


def test_service_install_system_never_means_root_unless_named(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SUDO_USER", raising=False)
    monkeypatch.setenv("LOGNAME", "root")
    outcome = run("service", "install", "--system", "--print")
    assert outcome.code == 2
    assert "--as USER" in outcome.err
    monkeypatch.setenv("SUDO_USER", "no-such-user-here")
    assert "no such user" in run("service", "install", "--system", "--print").err
    monkeypatch.delenv("MIRRORNODE_HOME")
    me = pwd.getpwuid(os.getuid())
    outcome = run("service", "install", "--system", "--as", me.pw_name, "--print")
    assert f"User={me.pw_name}\n" in outcome.out
    assert f"--home {me.pw_dir}/.local/share/mirrornode\n" in outcome.out


def test_service_install_when_as_comes_without_system_then_usage(run: Run) -> None:
    assert run("service", "install", "--as", "root", "--print").code == 2


def test_service_alone_then_help(run: Run) -> None:
    outcome = run("service")
    assert outcome.code == 2
    assert "uninstall" in outcome.err


def test_unit_folder_follows_the_users_settings() -> None:
    assert unit_folder(is_user=False) == Path("/etc/systemd/system")
    named = unit_folder(is_user=True, environ={"XDG_CONFIG_HOME": "/c"})
    assert named == Path("/c/systemd/user")
