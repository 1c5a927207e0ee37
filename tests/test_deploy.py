"""docs/deploy: what the files for containers name must be there, in the command and in the node."""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer

from mirrornode.config import Config, load_config
from mirrornode.gateway.health import PATHS
from mirrornode_cli.main import build_app
from mirrornode_cli.systemd_unit import CLOSE_S

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "docs" / "deploy"
CONTAINERFILE = (DEPLOY / "Containerfile").read_text(encoding="utf-8")
GATEWAY_PORT = 8090


def documents(name: str) -> list[Any]:
    yaml = pytest.importorskip("yaml")
    return list(yaml.safe_load_all((DEPLOY / name).read_text(encoding="utf-8")))


def parsed(arguments: list[str]) -> dict[str, Any]:
    """Return the options of a command line as the command reads them; a wrong one raises."""
    group: Any = typer.main.get_command(build_app())
    verb = group.commands[arguments[0]]
    params: dict[str, Any] = verb.make_context(arguments[0], arguments[1:]).params
    return params


def instructions(word: str) -> list[str]:
    joined = CONTAINERFILE.replace("\\\n", " ")
    return re.findall(rf"^{word} +(.*)$", joined, re.MULTILINE)


def settings(text: str, folder: Path, environ: dict[str, str] | None = None) -> Config:
    folder.mkdir(exist_ok=True)
    (folder / "config.toml").write_text(text, encoding="utf-8")
    return load_config(folder, environ or {})


def test_containerfile_runs_a_command_that_there_is_as_a_user_with_a_home() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert json.loads(instructions("ENTRYPOINT")[0]) == ["mirrornode"]
    assert "mirrornode" in project["project"]["scripts"]
    [command] = instructions("CMD")[-1:]
    assert parsed(json.loads(command))["gateway"] == f"0.0.0.0:{GATEWAY_PORT}"
    assert instructions("USER") == ["mirrornode"]
    assert "MIRRORNODE_HOME=/data" in instructions("ENV")[0]
    assert instructions("VOLUME") == ["/data"]
    for line in instructions("COPY"):
        sources = shlex.split(line)[:-1]
        assert sources[0].startswith("--from=") or all((ROOT / each).exists() for each in sources)
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    copied = [shlex.split(line)[0] for line in instructions("COPY")]
    assert {package.split("/")[0] for package in packages} <= set(copied)


def test_containerfile_healthcheck_asks_a_path_that_is_answered() -> None:
    [check] = instructions("HEALTHCHECK")
    words = json.loads(check[check.index("[") :])
    assert words[:2] == ["python", "-c"]
    compile(words[2], "healthcheck", "exec")
    assert f"'127.0.0.1', {GATEWAY_PORT}" in words[2]
    assert any(f"'{path}'" in words[2] for path in PATHS)


def test_compose_names_only_what_there_is(tmp_path: Path) -> None:
    [compose] = documents("compose.yaml")
    services = compose["services"]
    assert set(services) == {"server", "mirror-one", "mirror-two"}
    assert compose["networks"]["inside"]["internal"] is True
    server = services["server"]
    build = server["build"]
    assert (DEPLOY / build["context"]).resolve() == ROOT
    assert (ROOT / build["dockerfile"]).is_file()
    for name, service in services.items():
        options = parsed(service["command"])
        assert options["gateway"] == f"0.0.0.0:{GATEWAY_PORT}"
        assert service["read_only"] is True
        mounts = dict(volume.rsplit(":/", 1) for volume in map(_without_mode, service["volumes"]))
        assert "data" in mounts.values()
        for source, target in mounts.items():
            if source.startswith("./"):
                assert (DEPLOY / source).is_file(), source
                assert target == "data/config.toml"
            else:
                assert source.startswith("${") or source in compose["volumes"]
        environ = {key: str(value) for key, value in service.get("environment", {}).items()}
        text = (DEPLOY / "server.toml").read_text(encoding="utf-8") if name == "server" else ""
        config = settings(text, tmp_path / name, environ)
        # A variable that nobody reads would change nothing.
        for variable in environ:
            without = {key: value for key, value in environ.items() if key != variable}
            assert settings(text, tmp_path / name, without) != config, variable
        assert int(service["stop_grace_period"].removesuffix("s")) >= (
            config.service.drain_s + CLOSE_S
        )
        if name != "server":
            place = server["networks"]["inside"]["ipv4_address"]
            assert [origin.url for origin in config.origin] == [f"http://{place}:{GATEWAY_PORT}"]
            assert service["networks"] == ["inside"]
        else:
            assert "/models" in config.share
            assert "models" in mounts.values()


def test_daemonset_names_only_what_there_is(tmp_path: Path) -> None:
    _, config_map, daemon_set = documents("daemonset.yaml")
    config = settings(config_map["data"]["config.toml"], tmp_path / "home")
    pod = daemon_set["spec"]["template"]["spec"]
    assert pod["hostNetwork"] is True
    assert pod["terminationGracePeriodSeconds"] >= config.service.drain_s + CLOSE_S
    [node] = pod["containers"]
    assert parsed(node["args"])["gateway"] == f"0.0.0.0:{GATEWAY_PORT}"
    probes = {name: node[name]["httpGet"] for name in node if name.endswith("Probe")}
    assert {probe["path"] for probe in probes.values()} <= set(PATHS)
    assert probes["readinessProbe"]["path"] == "/readyz"
    assert probes["livenessProbe"]["path"] == "/healthz"
    assert {probe["port"] for probe in probes.values()} == {GATEWAY_PORT}
    mounts = {mount["mountPath"]: mount["name"] for mount in node["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    assert set(mounts.values()) == set(volumes)
    assert "hostPath" in volumes[mounts["/data"]]
    assert (
        volumes[mounts["/data/config.toml"]]["configMap"]["name"]
        == (config_map["metadata"]["name"])
    )
    uid = pod["securityContext"]["runAsUser"]
    assert f"--uid {uid} " in CONTAINERFILE
    assert f"chown {uid}:{uid} /data" in pod["initContainers"][0]["command"][-1]
    labels = daemon_set["spec"]["selector"]["matchLabels"]
    assert labels == daemon_set["spec"]["template"]["metadata"]["labels"]


def test_readme_names_verbs_that_there_are() -> None:
    text = (DEPLOY / "README.md").read_text(encoding="utf-8")
    group: Any = typer.main.get_command(build_app())
    for line in re.findall(r"mirrornode (service \w+(?: --\w+)*|doctor|serve|get)", text):
        verb, *words = line.split()
        command = group.commands[verb]
        if words and verb == "service":
            command = command.commands[words.pop(0)]
        known = {option for param in command.params for option in param.opts + param.secondary_opts}
        assert {word for word in words if word.startswith("--")} <= known, line
    for path in PATHS:
        assert f"`{path}`" in text


def _without_mode(volume: str) -> str:
    return volume.removesuffix(":ro")
