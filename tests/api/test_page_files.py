"""How the page's files are served: types, caching and the headers that keep anything else out."""

import re

import pytest
from fastapi.testclient import TestClient
from prediction_api.web.files import FOLDER, site_links
from starlette.datastructures import URL

FILES = sorted(path.name for path in FOLDER.iterdir())
TYPES = {".html": "text/html", ".css": "text/css", ".js": "javascript", ".svg": "image/svg+xml"}


@pytest.mark.parametrize("path", ["/", "/predict-form", "/docs", *(f"/pages/{name}" for name in FILES)])
def test_every_file_comes_with_its_type_and_a_strict_policy(shared: TestClient, path: str) -> None:
    answer = shared.get(path)
    suffix = "." + path.rpartition(".")[2] if "." in path else ".html"
    assert answer.status_code == 200
    assert TYPES[suffix] in answer.headers["content-type"]
    [policy] = answer.headers.get_list("content-security-policy")
    wanted = {"default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'"}
    assert wanted <= set(policy.split("; "))
    assert not any(word in policy for word in ("unsafe", "http", "*"))
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-cache"


def test_answers_that_are_data_say_so_to_a_browser(shared: TestClient) -> None:
    for found in (shared.get("/livez"), shared.post("/predict", json={}), shared.get("/nowhere")):
        assert found.headers["x-content-type-options"] == "nosniff"
        assert found.headers["referrer-policy"] == "no-referrer"
        assert found.headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"


def test_an_unchanged_file_is_not_sent_again(shared: TestClient) -> None:
    first = shared.get("/pages/style.css")
    again = shared.get("/pages/style.css", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("path", ["/pages/", "/pages/nothing.js", "/pages/../main.py", "/pages/%2e%2e/main.py"])
def test_nothing_else_is_served(shared: TestClient, path: str) -> None:
    assert shared.get(path).status_code == 404


@pytest.mark.parametrize(
    ("url", "links"),
    [
        ("http://wine.local:8000/x?y", {"A": "./", "B": "http://wine.local:8001/b", "C": "/c/", "D": "https://d.org/"}),
        ("http://[::1]:8000/", {"A": "./", "B": "http://[::1]:8001/b", "C": "/c/", "D": "https://d.org/"}),
        ("https://wine.local/", {"A": "./", "B": "https://wine.local:8001/b", "C": "/c/", "D": "https://d.org/"}),
    ],
)
def test_links_lead_to_ports_paths_and_addresses(url: str, links: dict[str, str]) -> None:
    made = site_links("A=./ B=:8001/b C=/c/ D=https://d.org/", URL(url), "C")
    assert dict(re.findall(r'<a href="([^"]*)"[^>]*>(\w+)</a>', made)) == {place: name for name, place in links.items()}
    assert re.findall(r'aria-current="page">(\w+)', made) == ["C"]


def test_links_are_escaped_and_one_page_needs_none() -> None:
    assert "<b>" not in site_links('<b>=<b>"&x B=/', URL("http://a/"))
    assert (site_links("", URL("http://a/")), site_links("A=/", URL("http://a/"))) == ("", "")


def test_the_page_needs_nothing_inline_and_nothing_from_elsewhere() -> None:
    for page in FOLDER.glob("*.html"):
        assert re.findall(r"<style|<script(?![^>]* src=)|\son\w+=|\sstyle=", page.read_text()) == [], page
    for name in FILES:
        text = (FOLDER / name).read_text().replace('xmlns="http://www.w3.org/2000/svg"', "")
        assert re.findall(r"https?:|innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", text) == [], name
