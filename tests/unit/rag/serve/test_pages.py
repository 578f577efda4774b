"""The pages: nothing from elsewhere, a strict policy, and a description of every route."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape
from html.parser import HTMLParser
from importlib.resources import files

import pytest
from served import Serving, serving

from sextant.systems.rag.serve.reference import reference_page

PAGES = ("/", "/docs")


@pytest.fixture(scope="module")
def server() -> Iterator[Serving]:
    with serving() as found:
        yield found


class Links(HTMLParser):
    """What a page loads or leads to, and what a strict policy would not run."""

    def __init__(self) -> None:
        super().__init__()
        self.targets: list[str] = []
        self.inline: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("href", "src"):
                self.targets.append(value or "")
            if name == "style" or name.startswith("on"):
                self.inline.append(f"{tag} {name}")
        if tag == "style" or (tag == "script" and not dict(attrs).get("src")):
            self.inline.append(tag)


@pytest.mark.parametrize("path", PAGES)
def test_a_page_stands_alone_under_a_strict_policy(server: Serving, path: str) -> None:
    told = server.get(path)
    assert told.headers["content-type"] == "text/html; charset=utf-8"
    policy = dict(
        part.strip().split(" ", 1) for part in told.headers["content-security-policy"].split(";")
    )
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert "unsafe" not in told.headers["content-security-policy"]
    links = Links()
    links.feed(told.body.decode())
    assert links.inline == []
    assert links.targets
    for target in links.targets:
        assert target.startswith("/"), target
        assert server.get(target).status == 200


def test_every_file_of_the_page_is_served_and_names_no_other_host(server: Serving) -> None:
    folder = files("sextant.systems.rag.serve").joinpath("page")
    names = sorted(one.name for one in folder.iterdir())
    assert {"index.html", "page.css", "page.js"} <= set(names)
    for name in names:
        text = folder.joinpath(name).read_text(encoding="utf-8")
        hosts = set(re.findall(r"(?:https?:)?//[\w.-]+\.\w+", text))
        assert hosts <= {"http://www.w3.org"}, name  # the name of a vocabulary, not an address
        for danger in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
            assert danger not in text, name
        if name != "index.html":
            assert server.get(f"/static/{name}").body.decode() == text
    assert server.get("/favicon.ico").headers["content-type"] == "image/svg+xml"


def test_the_description_lists_every_route_and_field(server: Serving) -> None:
    schema = server.get("/openapi.json").json
    page = unescape(server.get("/docs").body.decode())
    assert set(schema["paths"]) >= {
        "/search", "/ask", "/health", "/ready", "/metrics", "/shards", "/drill/stop",
    }  # fmt: skip
    for path, methods in schema["paths"].items():
        for method, route in methods.items():
            assert f"<span class='method'>{method.upper()}</span> <code>{path}</code>" in page
            assert route["summary"] in page
            for status in route["responses"]:
                assert f"<th>{status}</th>" in page
    for field in schema["components"]["schemas"]["Ask"]["properties"]:
        assert f"<code>{field}</code>" in page


def test_a_description_is_escaped() -> None:
    evil = "<script>alert(1)</script>"
    schema = {
        "info": {"title": evil, "description": evil},
        "paths": {
            f"/{evil}": {"get": {"summary": evil, "responses": {"200": {"description": evil}}}}
        },
    }
    assert "<script>" not in reference_page(schema)


def test_every_answer_has_the_headers_that_browsers_heed(server: Serving) -> None:
    for told in (server.get("/health"), server.get("/nowhere"), server.post("/ask", b"{")):
        assert told.headers["x-content-type-options"] == "nosniff"
        assert told.headers["x-frame-options"] == "DENY"
        assert told.headers["cache-control"] == "no-store"
        assert "default-src 'none'" in told.headers["content-security-policy"]
        assert "server" not in told.headers
        assert re.fullmatch(r"[0-9a-f]{12}", told.headers["x-request-id"])
