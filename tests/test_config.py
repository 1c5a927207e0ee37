"""Settings: what is read from where, and how a wrong one is refused."""

from __future__ import annotations

import dataclasses
import inspect
from pathlib import Path

import pytest

from mirrornode import config as config_module
from mirrornode.config import (
    Config,
    GatewayConfig,
    HistoryConfig,
    HubConfig,
    IpnsConfig,
    LimitsConfig,
    LogConfig,
    MirrorConfig,
    OriginConfig,
    PeerPlaneConfig,
    RoutingConfig,
    StorageConfig,
    SwarmConfig,
    SyncConfig,
    default_home,
    load_config,
)
from mirrornode.config_alerts import AlertsConfig, WebhookConfig
from mirrornode.errors import ConfigError


def write(home: Path, text: str) -> Path:
    home.mkdir(exist_ok=True)
    (home / "config.toml").write_text(text, encoding="utf-8")
    return home


def test_load_when_no_file_then_defaults(tmp_path: Path) -> None:
    assert load_config(tmp_path / "none", {}) == Config(home=tmp_path / "none")


def test_load_when_file_sets_all_then_all_is_there(tmp_path: Path) -> None:
    home = write(
        tmp_path,
        """
        share = ["/data/models"]
        [[mirror]]
        url = "https://mirror.example.com/"
        region = "cn-north"
        weight = 2
        [[mirror]]
        url = "http://nas/models/"
        weight = 0.5
        [[origin]]
        url = "https://hub.example.com/art/hub"
        send_token = false
        [[origin]]
        kind = "huggingface"
        url = "https://huggingface.co"
        [swarm]
        mode = "lan"
        listen = ["/ip4/127.0.0.1/tcp/0"]
        bootstrap = ["/ip4/10.0.0.1/tcp/4101/p2p/x"]
        mdns = false
        [peer_plane]
        address = "0.0.0.0:4102"
        plain = true
        [gateway]
        address = "127.0.0.1:8090"
        [limits]
        upload = "50MB"
        upload_per_peer = "6MiB/s"
        download = 0
        [ipns]
        allow_puts = true
        """,
    )
    assert load_config(home, {}) == Config(
        home=home,
        share=("/data/models",),
        mirror=(
            MirrorConfig("https://mirror.example.com/", "cn-north", 2.0),
            MirrorConfig("http://nas/models/", weight=0.5),
        ),
        origin=(
            OriginConfig("huggingface", "https://hub.example.com/art/hub", send_token=False),
            OriginConfig(),
        ),
        swarm=SwarmConfig(
            "lan", ("/ip4/127.0.0.1/tcp/0",), ("/ip4/10.0.0.1/tcp/4101/p2p/x",), mdns=False
        ),
        peer_plane=PeerPlaneConfig("0.0.0.0:4102", plain=True),
        gateway=GatewayConfig("127.0.0.1:8090"),
        limits=LimitsConfig(50_000_000, 6 * 2**20, 0),
        ipns=IpnsConfig(allow_puts=True),
    )


@pytest.mark.parametrize(
    ("text", "key", "said"),
    [
        ("shared = []", "shared", "did you mean share?"),
        ("[swarm]\nbootstraps = []", "swarm.bootstraps", "did you mean swarm.bootstrap?"),
        ("[gateway]\nadress = ''", "gateway.adress", "did you mean gateway.address?"),
        ("[[mirror]]\nurl = 'http://x'\nregoin = 'x'", "mirror.regoin", "mirror.region?"),
        ("[zzz]\n", "zzz", "known: share, mirror, origin, swarm"),
        ("home = '/elsewhere'", "home", "unknown setting home"),
        ("share = '/data'", "share", "must be a list of strings"),
        ("share = [1]", "share", "must be a list of strings"),
        ("swarm = 1", "swarm", "must be a table"),
        ("[swarm]\nmdns = 'yes'", "swarm.mdns", "must be a bool"),
        ("[swarm]\nmode = 'open'", "swarm.mode", '"lan" or "public"'),
        ("[gateway]\naddress = 8090", "gateway.address", "must be a str"),
        ("mirror = 'http://x'", "mirror", "[[mirror]]"),
        ("[[mirror]]\nurl = 'http://x'\nweight = -1", "mirror.weight", "a number from 0 on"),
        ("[[mirror]]\nurl = 'http://x'\nweight = true", "mirror.weight", "a number from 0 on"),
        ("[[mirror]]\nurl = 'http://x'\nweight = nan", "mirror.weight", "a number from 0 on"),
        ("[limits]\nupload = '50 Mbit'", "limits.upload", "write bytes as 800KB"),
        ("[limits]\nupload = '1KB'", "limits.upload", "would time out"),
        ("[limits]\ndownload = true", "limits.download", "write bytes as"),
        ("[limits]\ndownload = -1", "limits.download", "write bytes as"),
        ("[storage]\nquota = 'much'", "storage.quota", "write bytes as"),
        ("[storage]\nlow_water = 0", "storage.low_water", "0.1 to 1"),
        ("[storage]\nlow_water = 1.5", "storage.low_water", "0.1 to 1"),
        ("[storage]\naccept_pins = 1", "storage.accept_pins", "bool"),
        ("[alerts]\nfailed_share = 0", "alerts.failed_share", "1 means never"),
        ("[alerts]\ndisk_used = 90", "alerts.disk_used", "from above 0 to 1"),
        ("[alerts]\nslow_downloads = -1", "alerts.slow_downloads", "0 means never"),
        ("[alerts]\nslow_downloads = true", "alerts.slow_downloads", "0 means never"),
        ("[alerts]\nprove = 0", "alerts.prove", "from 1 to"),
        ("[alerts]\nslow_rate = 'fast'", "alerts.slow_rate", "write bytes as"),
        ("[alerts]\nswitch = 'no'", "alerts.switch", "must be a bool"),
        ("[[webhook]]\nkind = 'slack'", "webhook.url", "needs a url"),
        ("[[webhook]]\nurl = 'http://x/'\nkind = 'irc'", "webhook.kind", "one of json, slack"),
        ("[[webhook]]\nurl = 'http://x/'\nname = '" + "x" * 61 + "'", "webhook.name", "at most 60"),
        ("[limits]\nuploads = 1", "limits.uploads", "did you mean limits.upload?"),
        ("[[mirror]]\nregion = 'x'", "mirror.url", "needs a url"),
        ("[[mirror]]\nurl = 'mirror.example.com'", "mirror.url", "http:// or https://"),
        ("origin = 'http://x'", "origin", "[[origin]]"),
        ("[[origin]]\nsend_token = true", "origin.url", "needs a url"),
        ("[[origin]]\nurl = 'http://x'\nkind = 'modelscope'", "origin.kind", "only"),
        ("[[origin]]\nurl = 'huggingface.co'", "origin.url", "http:// or https://"),
        ("[[origin]]\nurl = 'http://x/?a=b'", "origin.url", "ends with its path"),
        ("[[origin]]\nurl = 'http://x'\nsend_token = 1", "origin.send_token", "must be a bool"),
        ("[gateway]\nhub_prefix = 'hub/'", "gateway.hub_prefix", "such as"),
        ("[hub]\nref_ttl_s = -1", "hub.ref_ttl_s", "between 0 and"),
        ("[hub]\nref_ttl_s = nan", "hub.ref_ttl_s", "between 0 and"),
        ("[hub]\nref_ttl_s = true", "hub.ref_ttl_s", "must be a number"),
        ("[hub]\ngrant_max_age_s = '7d'", "hub.grant_max_age_s", "must be a number"),
        ("[hub]\ntrusted_peers = ['/ip4/1.2.3.4/p2p/x']", "hub.trusted_peers", "no peer id"),
        (
            "[hub]\nlicence_allow = ['MIT']\nlicence_deny = ['mit']",
            "hub.licence_allow",
            "both name mit",
        ),
    ],
)
def test_load_when_file_is_wrong_then_key_is_named(
    tmp_path: Path, text: str, key: str, said: str
) -> None:
    home = write(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load_config(home, {})
    assert caught.value.key == key
    assert caught.value.origin == str(home / "config.toml")
    assert said in str(caught.value)
    assert key in str(caught.value) or f"[[{key.partition('.')[0]}]]" in str(caught.value)


@pytest.mark.parametrize("content", [b"share = [", b"\xff\xfe"])
def test_load_when_file_is_no_toml_then_path_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "config.toml").write_bytes(content)
    with pytest.raises(ConfigError, match=r"config\.toml"):
        load_config(tmp_path, {})


def test_load_when_file_is_a_folder_then_config_error(tmp_path: Path) -> None:
    (tmp_path / "config.toml").mkdir()
    with pytest.raises(ConfigError, match="cannot read"):
        load_config(tmp_path, {})


def test_environment_overrides_the_file(tmp_path: Path) -> None:
    home = write(tmp_path, "[gateway]\naddress = '127.0.0.1:1'\n[swarm]\nmdns = true")
    found = load_config(
        home,
        {
            "MIRRORNODE_GATEWAY_ADDRESS": "127.0.0.1:2",
            "MIRRORNODE_SWARM_MDNS": "0",
            "MIRRORNODE_SWARM_BOOTSTRAP": "/ip4/1.2.3.4/tcp/1/p2p/a, /ip4/1.2.3.4/tcp/1/p2p/b,",
            "MIRRORNODE_PEER_PLANE_PLAIN": "True",
        },
    )
    assert found.gateway.address == "127.0.0.1:2"
    assert found.swarm.mdns is False
    assert found.swarm.bootstrap == ("/ip4/1.2.3.4/tcp/1/p2p/a", "/ip4/1.2.3.4/tcp/1/p2p/b")
    assert found.peer_plane.plain is True


@pytest.mark.parametrize(
    ("variable", "value", "key"),
    [
        ("MIRRORNODE_SWARM_MDNS", "maybe", "swarm.mdns"),
        ("MIRRORNODE_SWARM_MODE", "open", "swarm.mode"),
        ("MIRRORNODE_LIMITS_UPLOAD", "fast", "limits.upload"),
        ("MIRRORNODE_ORIGIN", "https://huggingface.co, hub.example.com", "origin.url"),
    ],
)
def test_environment_when_value_is_wrong_then_variable_is_named(
    tmp_path: Path, variable: str, value: str, key: str
) -> None:
    with pytest.raises(ConfigError, match=variable) as caught:
        load_config(tmp_path, {variable: value})
    assert (caught.value.key, caught.value.origin) == (key, variable)


def test_origins_come_from_the_environment_but_not_from_hf_endpoint(tmp_path: Path) -> None:
    # Clients on this machine may be sent to this node by HF_ENDPOINT.
    node = {"HF_ENDPOINT": "http://127.0.0.1:8090"}
    assert load_config(tmp_path, node).origin == (OriginConfig(),)
    assert OriginConfig().url == "https://huggingface.co"
    found = load_config(tmp_path, {**node, "MIRRORNODE_ORIGIN": "http://a, https://b/c,"})
    assert [item.url for item in found.origin] == ["http://a", "https://b/c"]
    assert load_config(tmp_path, {"MIRRORNODE_ORIGIN": ""}).origin == ()
    assert load_config(write(tmp_path, "origin = []"), {}).origin == ()


def test_hub_settings_come_from_file_and_environment(tmp_path: Path) -> None:
    home = write(tmp_path, "[hub]\nref_ttl_s = 5\nlicence_deny = ['cc-by-nc*']")
    found = load_config(
        home, {"MIRRORNODE_HUB_GRANT_MAX_AGE_S": "0", "MIRRORNODE_HUB_TRUST_PEERS": "1"}
    )
    assert found.hub == HubConfig(
        ref_ttl_s=5.0, grant_max_age_s=0.0, trust_peers=True, licence_deny=("cc-by-nc*",)
    )
    with pytest.raises(ConfigError, match="MIRRORNODE_HUB_REF_TTL_S"):
        load_config(home, {"MIRRORNODE_HUB_REF_TTL_S": "soon"})


def test_routers_come_from_file_and_environment(tmp_path: Path) -> None:
    home = write(tmp_path, '[routing]\ndelegated = ["http://192.168.1.5:8090"]')
    assert load_config(home, {}).routing == RoutingConfig(("http://192.168.1.5:8090",))
    environment = {"MIRRORNODE_ROUTING_DELEGATED": "http://a:1, https://b/x"}
    assert load_config(home, environment).routing.delegated == ("http://a:1", "https://b/x")


@pytest.mark.parametrize("url", ["192.168.1.5:8090", "ftp://a/", "http://a/?x", "http://a/#x"])
def test_router_when_its_url_is_none_then_refused_by_its_key(tmp_path: Path, url: str) -> None:
    with pytest.raises(ConfigError, match="answers /routing/v1") as refused:
        load_config(tmp_path, {"MIRRORNODE_ROUTING_DELEGATED": url})
    assert refused.value.key == "routing.delegated"
    assert refused.value.origin == "MIRRORNODE_ROUTING_DELEGATED"


def test_home_comes_from_the_environment_or_is_the_users_own() -> None:
    assert default_home({"MIRRORNODE_HOME": "/somewhere"}) == Path("/somewhere")
    assert default_home({}).name == "mirrornode"


def test_home_when_it_names_an_unknown_user_then_config_error() -> None:
    with pytest.raises(ConfigError, match="MIRRORNODE_HOME"):
        default_home({"MIRRORNODE_HOME": "~no-such-user/x"})


@pytest.mark.parametrize(
    "section",
    [
        MirrorConfig,
        OriginConfig,
        SwarmConfig,
        PeerPlaneConfig,
        GatewayConfig,
        LimitsConfig,
        StorageConfig,
        HubConfig,
        RoutingConfig,
        HistoryConfig,
        LogConfig,
    ],
)
def test_every_setting_is_documented_where_it_is_defined(section: type) -> None:
    source = inspect.getsource(section)
    for item in dataclasses.fields(section):
        (line,) = [text for text in source.splitlines() if text.strip().startswith(item.name + ":")]
        assert "#" in line or item.name in (section.__doc__ or "") or item.name == "url", line
    assert config_module.__doc__


def test_history_and_log_come_from_file_and_environment(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("[history]\nkeep_days = 7\n[log]\nrequests = false\n")
    config = load_config(tmp_path, environ={})
    assert (config.history.keep_days, config.log.requests) == (7.0, False)
    environ = {"MIRRORNODE_HISTORY_KEEP_DAYS": "0", "MIRRORNODE_LOG_REQUESTS": "true"}
    config = load_config(tmp_path, environ=environ)
    assert (config.history.keep_days, config.log.requests) == (0.0, True)


@pytest.mark.parametrize("days", ["-1", "3651", "inf", "nan", "'7'", "true"])
def test_history_when_days_make_no_sense_then_refused(tmp_path: Path, days: str) -> None:
    (tmp_path / "config.toml").write_text(f"[history]\nkeep_days = {days}\n")
    with pytest.raises(ConfigError, match=r"history\.keep_days"):
        load_config(tmp_path, environ={})


def test_storage_when_set_then_sizes_and_parts(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(
        '[storage]\nquota = "500GB"\nkeep_free = "20GiB"\nlow_water = 0.7\naccept_pins = true\n'
    )
    found = load_config(tmp_path, {"MIRRORNODE_STORAGE_QUOTA": "1TB"}).storage
    assert found == StorageConfig(10**12, 0.7, 20 * 2**30, True, 86_400.0)


def test_sync_when_written_as_tables_then_each_is_a_target(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(
        '[[sync]]\ntarget = "hf:org/name@main"\nevery = "1h"\nwindow = "22:00-06:00"\n'
        'delete = true\nout = "/srv/out"\nfrom_node = "http://10.0.0.5:8090"\n'
        '[[sync]]\ntarget = "/srv/models"\n'
    )
    one, two = load_config(tmp_path, {}).sync
    assert one == SyncConfig(
        "hf:org/name@main", "1h", "22:00-06:00", True, "/srv/out", "http://10.0.0.5:8090"
    )
    assert two == SyncConfig("/srv/models")
    for text, key in (("every = '1h'", "sync.target"), ("target = 'a'\nevry = '1h'", "sync.evry")):
        (tmp_path / "config.toml").write_text(f"[[sync]]\n{text}\n")
        with pytest.raises(ConfigError) as caught:
            load_config(tmp_path, {})
        assert caught.value.key == key


@pytest.mark.parametrize(
    "url", ["hooks.example/verysecret", "ftp://x/verysecret", "http://[verysecret"]
)
def test_webhook_when_its_url_is_wrong_then_the_error_does_not_show_it(
    tmp_path: Path, url: str
) -> None:
    home = write(tmp_path, f"[[webhook]]\nurl = '{url}'")
    with pytest.raises(ConfigError, match=r"webhook\.url") as caught:
        load_config(home, {})
    assert "verysecret" not in str(caught.value)


def test_alerts_are_read_and_their_webhooks_not_shown(tmp_path: Path) -> None:
    home = write(
        tmp_path,
        """
        [alerts]
        slow_rate = "500KB"
        slow_downloads = 5
        [[webhook]]
        url = "https://hooks.example/verysecret"
        kind = "feishu"
        secret = "signing-key"
        """,
    )
    found = load_config(home, {"MIRRORNODE_ALERTS_PROVE": "4", "MIRRORNODE_ALERTS_SWITCH": "0"})
    assert found.alerts == AlertsConfig(slow_rate=500_000, slow_downloads=5, prove=4, switch=False)
    (hook,) = found.webhook
    assert hook == WebhookConfig("https://hooks.example/verysecret", "feishu", "signing-key")
    assert "verysecret" not in repr(found)
    assert "signing-key" not in repr(found)
