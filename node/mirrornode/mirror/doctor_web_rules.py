"""What `doctor` thinks of the way to the web: proxies, certificates, origins, HF_ENDPOINT. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from mirrornode.mirror.doctor import OK, PROBLEM, WARNING, Finding

CLOCK_BAD_S = 300.0  # signed URLs and logins are refused
CLOCK_OFF_S = 30.0
SLOW_S = 2.0
LOOPBACK = ("127.0.0.1", "localhost", "::1")
CA_STEP = "ask for your company's CA file and set SSL_CERT_FILE and REQUESTS_CA_BUNDLE to it"

# Names in the certificates of programs that open TLS on its way, as their makers write them.
INTERCEPTORS = (
    *("zscaler", "netskope", "fortinet", "fortigate", "palo alto", "blue coat", "bluecoat"),
    *("umbrella", "sophos", "mcafee", "skyhigh", "forcepoint", "websense", "check point"),
    *("kaspersky", "avast", "bitdefender", "eset", "mitmproxy", "charles proxy", "portswigger"),
    *("squid", "cloudflare for teams", "gateway ca", "barracuda", "watchguard", "sonicwall"),
)


@dataclass(frozen=True, slots=True)
class ProxySeen:
    """The proxy variables.

    Attributes:
        variables: By name, as set; never shown, they may hold a password.
        failure: Why the proxy does not take connections, "" when it does.
        bypasses_loopback: Whether programs go to 127.0.0.1 directly.
        hf_endpoint: `HF_ENDPOINT`, or "".
    """

    variables: Mapping[str, str]
    failure: str = ""
    bypasses_loopback: bool = True
    hf_endpoint: str = ""


def judge_proxy(seen: ProxySeen) -> list[Finding]:
    """Judge the proxy variables."""
    urls = {
        name: value
        for name, value in seen.variables.items()
        if value and name.lower() in ("http_proxy", "https_proxy", "all_proxy")
    }
    if not urls:
        return [Finding("proxy", OK, "none is set: servers are reached directly")]
    found = []
    for name, value in sorted(urls.items()):
        if "//" in value and not value.startswith("http://"):
            kind = value.partition(":")[0]
            text = f"{name} names a proxy of the kind {kind}, which this program cannot use"
            found.append(Finding("proxy", PROBLEM, text, "set it to http://HOST:PORT"))
    by_name: dict[str, set[str]] = {}
    for name, value in urls.items():
        by_name.setdefault(name.lower(), set()).add(value)
    for name in sorted(name for name, values in by_name.items() if len(values) > 1):
        text = f"{name} and {name.upper()} differ: programs do not agree on which counts"
        found.append(Finding("proxy", WARNING, text, "set both to the same"))
    if seen.failure:
        text = f"the proxy does not work: {seen.failure}"
        step = "correct https_proxy, or unset it if this machine needs none"
        found.append(Finding("proxy", PROBLEM, text, step))
    if not seen.bypasses_loopback:
        level = PROBLEM if _is_loopback(seen.hf_endpoint) else WARNING
        text = (
            "no_proxy leaves out this machine: tools send to the proxy what is meant for the node"
        )
        step = "export NO_PROXY=localhost,127.0.0.1,::1 no_proxy=localhost,127.0.0.1,::1"
        found.append(Finding("proxy", level, text, step))
    return found or [Finding("proxy", OK, f"{', '.join(sorted(urls))} set; this machine left out")]


@dataclass(frozen=True, slots=True)
class CaSeen:
    """The CA variables; `failure` says what is wrong with the file that one of them names."""

    variables: Mapping[str, str]
    failure: str = ""


def judge_ca(seen: CaSeen) -> list[Finding]:
    """Judge whose certificates are believed."""
    if seen.failure:
        step = "correct or unset that variable"
        return [Finding("ca", PROBLEM, f"certificates cannot be checked: {seen.failure}", step)]
    named = ", ".join(f"{name}={value}" for name, value in sorted(seen.variables.items()) if value)
    return [Finding("ca", OK, named or "the system's authorities are believed")]


@dataclass(frozen=True, slots=True)
class ServerSeen:
    """What became of one request to a server.

    Attributes:
        kind: "origin", "mirror" or "router".
        url: Without login and query.
        seconds: From connecting to the head of the answer; None when there was none.
        failure: Why there was none, in words; "" when there was.
        is_tls_failure: It was its certificate that was refused.
        issuer: Who signed its certificate, "" when that is not known.
        skew_s: How far this machine's clock is ahead of its own; None when it did not tell.
    """

    kind: str
    url: str
    seconds: float | None = None
    failure: str = ""
    is_tls_failure: bool = False
    issuer: str = ""
    skew_s: float | None = None


def judge_servers(seen: Sequence[ServerSeen]) -> list[Finding]:
    """Judge origins, mirrors and routers, and what they say about this machine's clock."""
    found = []
    origins = [server for server in seen if server.kind == "origin"]
    all_away = bool(origins) and all(server.failure for server in origins)
    if not origins:
        found.append(Finding("origin", OK, "none is configured: only what peers have can be had"))
    for server in seen:
        if server.failure:
            is_needed = server.kind == "origin" and all_away
            level = PROBLEM if is_needed else WARNING
            text, step = f"{server.url} {server.failure}", _step_for(server)
            found.append(Finding(server.kind, level, text, step))
        elif server.seconds is not None:
            level = WARNING if server.seconds > SLOW_S else OK
            text = f"{server.url} answered after {1000 * server.seconds:.0f} ms"
            found.append(Finding(server.kind, level, text))
        if not server.failure and is_interceptor(server.issuer):
            text = (
                f"TLS to {server.url} is opened on its way: its certificate is signed by "
                f"{server.issuer}"
            )
            step = f"it works here; for other tools {CA_STEP}"
            found.append(Finding("tls", WARNING, text, step))
    return [*found, *_judge_clock([server.skew_s for server in seen if server.skew_s is not None])]


def is_interceptor(issuer: str) -> bool:
    """Tell whether a certificate's issuer is known to open TLS on its way."""
    return any(name in issuer.lower() for name in INTERCEPTORS)


def _step_for(server: ServerSeen) -> str:
    if server.is_tls_failure and server.issuer:
        return f"its certificate is signed by {server.issuer!r}; if that is your company, {CA_STEP}"
    if server.is_tls_failure:
        return CA_STEP
    if server.kind == "origin":
        return "look at this machine's network and proxy; what peers have can be had without it"
    return "look whether it still exists, or take it out of config.toml"


def _judge_clock(skews: Sequence[float]) -> list[Finding]:
    if not skews:
        return []
    # A single server may be wrong; the smallest difference to any is the likeliest.
    skew = min(skews, key=abs)
    words = f"{abs(skew):.0f} s {'ahead' if skew > 0 else 'behind'}"
    step = "switch time synchronisation on: `sudo timedatectl set-ntp true`"
    if abs(skew) >= CLOCK_BAD_S:
        text = f"this machine's clock is {words}: certificates and signed links are refused"
        return [Finding("clock", PROBLEM, text, step)]
    if abs(skew) >= CLOCK_OFF_S:
        return [Finding("clock", WARNING, f"this machine's clock is {words}", step)]
    return [Finding("clock", OK, "agrees with the servers' clocks")]


@dataclass(frozen=True, slots=True)
class EndpointSeen:
    """How the Hub's clients on this machine are set up.

    Attributes:
        hf_endpoint: `HF_ENDPOINT`, or "".
        ours: The running node's endpoint; "" when none runs.
        expected: Where it would be by the settings.
        origins: URLs of the configured origins.
        cache: The clients' cache when it exists, else "".
        shares_cache: It is among what `serve` shares.
    """

    hf_endpoint: str
    ours: str
    expected: str
    origins: Sequence[str] = ()
    cache: str = ""
    shares_cache: bool = False


def judge_endpoint(seen: EndpointSeen) -> list[Finding]:
    """Judge whether the Hub's clients use the node, and it theirs."""
    found = [_judge_hf_endpoint(seen)]
    if any(_same_place(url, seen.ours or seen.expected) for url in seen.origins):
        text = "an origin in config.toml is this node itself: it would ask itself for ever"
        step = "set [[origin]] url to the Hub, or a mirror of it"
        found.append(Finding("origin", PROBLEM, text, step))
    if seen.cache and not seen.shares_cache:
        text = f"{seen.cache} is not shared: others fetch from the Hub what is there"
        step = 'add share = ["hf-cache"] to config.toml, or run `mirrornode add --hf-cache`'
        found.append(Finding("hf cache", OK, text, step))
    elif seen.cache:
        found.append(Finding("hf cache", OK, f"{seen.cache} is shared"))
    return found


def _judge_hf_endpoint(seen: EndpointSeen) -> Finding:
    check, named = "HF_ENDPOINT", seen.hf_endpoint
    place = seen.ours or seen.expected
    use = f"export HF_ENDPOINT={place}"
    if not named:
        return Finding(check, OK, "is not set here: tools download without the node", use)
    if not _same_place(named, place):
        if _is_loopback(named):
            text = f"is {_shown(named)}, but the node's endpoint is {place}"
            return Finding(check, PROBLEM, text, use)
        return Finding(check, OK, f"is {_shown(named)}: tools use that, not this node", use)
    if not seen.ours:
        text = "is this node, which does not run: tools can download nothing"
        step = "start it with `mirrornode serve`, or `unset HF_ENDPOINT`"
        return Finding(check, PROBLEM, text, step)
    return Finding(check, OK, "is this node: tools download through it")


def _same_place(one: str, other: str) -> bool:
    return bool(one) and _place(one) == _place(other)


def _place(url: str) -> tuple[str, int | None, str]:
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        return "127.0.0.1" if host in LOOPBACK else host, parts.port, parts.path.rstrip("/")
    except ValueError:
        return url, None, ""


def _is_loopback(url: str) -> bool:
    return _place(url)[0] == "127.0.0.1"


def _shown(url: str) -> str:
    """Return a URL without a login in it."""
    scheme, separator, rest = url.partition("://")
    place, slash, path = rest.partition("/")
    return f"{scheme}{separator}{place.rpartition('@')[2]}{slash}{path.partition('?')[0]}"
