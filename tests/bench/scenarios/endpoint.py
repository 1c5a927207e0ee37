"""One file of a Hub repo that the team has already: through endpoints, and from a peer."""

from __future__ import annotations

from functools import cache

from bench.contenders import endpoints
from bench.contenders.endpoints import Endpoint
from bench.measure import MIB
from bench.nodes import Node
from bench.scene import Cast, Scenario, Scene


def cast(scene: Scene) -> Cast:
    """The same clients against a node, olah, and the stand-in for the Hub itself."""
    content = scene.file(scene.settings.size_bytes)

    @cache
    def hub() -> Endpoint:
        return endpoints.stand_in(scene, content)

    @cache
    def node() -> tuple[Node, Endpoint]:
        return endpoints.node(scene, content, hub())

    @cache
    def olah() -> Endpoint:
        return endpoints.olah(scene, content, hub())

    return Cast(
        f"Fetch one file of {content.size_bytes / MIB:,.0f} MiB of a Hub repo, in the team already",
        content,
        (
            endpoints.get_hf(scene, content, node, hub),
            endpoints.curl(scene, content, lambda: node()[1], name="curl, mirrornode serve"),
            endpoints.curl(scene, content, olah, name="curl, olah"),
            endpoints.curl(scene, content, hub, name="curl, stand-in Hub"),
            endpoints.hf_download(
                scene, content, lambda: node()[1], name="hf download, mirrornode serve"
            ),
            endpoints.hf_download(scene, content, olah, name="hf download, olah"),
            endpoints.hf_download(scene, content, hub, name="hf download, stand-in Hub"),
        ),
        remark="The stand-in sends files with sendfile; nobody's bytes cross a network.",
    )


SCENARIO = Scenario("endpoint", cast)
