"""Who may ask: host names, origins, tokens, cookies, and requests from this machine."""

from __future__ import annotations

from typing import Any

import pytest

from omop_emb.errors import ConfigurationError
from omop_emb.web.security import check_token, is_loopback, parse_origin
from tests.unit.web.conftest import TOKEN, NewClient

BEARER = {"Authorization": f"Bearer {TOKEN}"}
PAGE = {"Accept": "text/html,application/xhtml+xml"}


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8077", 200),
        ("127.0.0.1", 200),
        ("localhost:8077", 200),
        ("LOCALHOST", 200),
        ("localhost.", 200),
        ("[::1]:8077", 200),
        ("omop.example.org", 200),
        ("OMOP.example.org:443", 200),
        ("evil.example", 421),
        ("127.0.0.1.evil.example", 421),
        ("localhost.evil.example:8077", 421),
        ("evil.example#localhost", 421),
        ("localhost@evil.example", 421),
        ("evil.example/localhost", 421),
        ("127.0.0.1:8077:1", 421),
        ("127.0.0.2", 421),
        ("0.0.0.0", 421),  # noqa: S104 - a name, nothing is bound
        ("2130706433", 421),
        ("[::1", 421),
        ("localhost evil", 421),
        ("", 421),
    ],
)
def test_only_names_of_this_machine_and_allowed_hosts_are_answered(
    new_client: NewClient, host: str, status: int
) -> None:
    with new_client(allowed_hosts=("omop.example.org",)) as client:
        answer = client.get("/health", headers={"Host": host})
    assert answer.status_code == status
    if status != 200:
        assert answer.json()["type"] == "/problems/unknown-host"


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        (None, 200),
        ("http://127.0.0.1:8077", 200),
        ("https://127.0.0.1:8077", 200),
        ("http://127.0.0.1:3333", 200),
        ("http://127.0.0.1:3334", 403),
        ("http://127.0.0.1", 403),
        ("http://localhost:8077", 403),
        ("http://evil.example", 403),
        ("http://127.0.0.1:8077.evil.example", 403),
        ("http://evil.example/http://127.0.0.1:8077", 403),
        ("file://", 403),
        ("null", 403),
        ("", 403),
        ("ftp://127.0.0.1:8077", 403),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS", "HEAD"])
def test_pages_of_other_origins_may_not_ask(
    new_client: NewClient, origin: str | None, status: int, method: str
) -> None:
    with new_client(allowed_origins=("http://127.0.0.1:3333",)) as client:
        answer = client.request(method, "/health", headers={} if origin is None else {"Origin": origin})
    assert (answer.status_code == 403) == (status == 403)


def test_cors_headers_are_sent_to_allowed_origins_alone(new_client: NewClient) -> None:
    origin = {"Origin": "http://127.0.0.1:3333"}
    preflight = {**origin, "Access-Control-Request-Method": "POST", "Authorization": ""}
    with new_client(allowed_origins=("http://127.0.0.1:3333",)) as client:
        answer = client.get("/health", headers=origin)
        assert answer.headers["access-control-allow-origin"] == origin["Origin"]
        assert "access-control-allow-credentials" not in answer.headers
        assert client.options("/health", headers=preflight).status_code == 200
        assert "access-control-allow-origin" not in client.get("/health").headers
        assert "http://127.0.0.1:3333" in answer.headers["content-security-policy"]
    with new_client() as client:
        own = client.get("/health", headers={"Origin": "http://127.0.0.1:8077"})
        assert "access-control-allow-origin" not in own.headers
        assert "frame-ancestors 'none'" in own.headers["content-security-policy"]


@pytest.mark.parametrize(
    ("headers", "path", "status"),
    [
        (BEARER, "/api/openapi.json", 200),
        ({"Authorization": f"bearer  {TOKEN}"}, "/api/openapi.json", 200),
        ({}, f"/api/openapi.json?token={TOKEN}", 200),
        ({}, "/api/openapi.json", 401),
        ({"Authorization": "Bearer "}, "/api/openapi.json", 401),
        ({"Authorization": f"Bearer {TOKEN}x"}, "/api/openapi.json", 401),
        ({"Authorization": f"Bearer {TOKEN[:-1]}"}, "/api/openapi.json", 401),
        ({"Authorization": f"Basic {TOKEN}"}, "/api/openapi.json", 401),
        ({"Authorization": TOKEN}, "/api/openapi.json", 401),
        ({"Authorization": "Bearer caf\u00e9"}, "/api/openapi.json", 401),
        ({"Authorization": "Bearer wrong"}, f"/api/openapi.json?token={TOKEN}", 401),
        ({}, "/api/openapi.json?token=", 401),
        ({}, "/api/openapi.json?token=%ff%00", 401),
        ({}, f"/api/openapi.json?token={TOKEN}&token={TOKEN}", 401),
        ({"Cookie": f"omop_emb_8077={TOKEN}"}, "/api/openapi.json", 401),
        ({"Cookie": "omop_emb_8077="}, "/api/openapi.json", 401),
        ({"X-Forwarded-For": "127.0.0.1"}, "/metrics", 401),
        ({"Forwarded": "for=127.0.0.1"}, "/health", 401),
        ({"Host": "omop.example.org"}, "/metrics", 401),
        ({}, "/metrics", 200),
        ({}, "/health", 200),
        ({}, "/ready", 503),
        ({}, "http://127.0.0.1:8077//metrics", 401),
        ({}, "/metrics/", 401),
        ({}, "/nothing/here", 401),
    ],
)
def test_a_request_needs_the_token_unless_a_monitor_on_this_machine_asks(
    new_client: NewClient, headers: dict[str, str], path: str, status: int
) -> None:
    with new_client(headers={}, allowed_hosts=("omop.example.org",)) as client:
        encoded = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
        answer = client.get(path, headers=encoded)
    assert answer.status_code == status
    if status == 401:
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert TOKEN not in answer.text


@pytest.mark.parametrize("path", ["/health", "/ready", "/metrics"])
def test_a_monitor_on_another_machine_needs_the_token(new_client: NewClient, path: str) -> None:
    with new_client(headers={}, client=("10.0.0.7", 40000), allowed_hosts=("omop",)) as client:
        assert client.get(path).status_code == 401
        assert client.get(path, headers=BEARER).status_code in (200, 503)


def test_the_link_sets_a_cookie_and_leads_to_the_page_without_the_token(new_client: NewClient) -> None:
    with new_client(headers={}) as client:
        answer = client.get(f"/search?q=a%26b&token={TOKEN}", headers=PAGE, follow_redirects=False)
        assert (answer.status_code, answer.headers["location"]) == (303, "/search?q=a%26b")
        cookie = answer.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=strict" in cookie
        assert "Secure" not in cookie
        assert TOKEN not in cookie
        assert client.get("/api/openapi.json").status_code == 200  # by the cookie alone
        evil = client.get(
            f"http://127.0.0.1:8077//evil.example/?token={TOKEN}", headers=PAGE, follow_redirects=False
        )
        assert evil.headers["location"] == "/evil.example/"
        behind = client.get(
            f"/?token={TOKEN}", headers={**PAGE, "X-Forwarded-Proto": "https"}, follow_redirects=False
        )
        assert "Secure" in behind.headers["set-cookie"]
    with new_client(headers={}) as client:
        wrong = client.get("/?token=wrong", headers=PAGE)
        assert wrong.status_code == 401
        assert "Open the link" in wrong.text


@pytest.mark.parametrize(
    ("method", "headers", "is_refused"),
    [
        ("GET", {}, False),
        ("GET", {"Sec-Fetch-Site": "same-origin"}, False),
        ("GET", {"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate"}, False),
        ("GET", {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}, False),
        ("GET", {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}, True),
        ("GET", {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "cors"}, True),
        ("POST", {}, True),
        ("POST", {"Origin": "http://127.0.0.1:8077"}, False),
        ("POST", {"Sec-Fetch-Site": "same-origin", "Origin": "http://127.0.0.1:8077"}, False),
        ("POST", {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}, True),
        ("POST", {"Origin": "http://evil.example"}, True),
        ("DELETE", {}, True),
    ],
)
def test_a_cookie_is_not_enough_for_what_another_site_makes_a_browser_send(
    new_client: NewClient, method: str, headers: dict[str, str], is_refused: bool
) -> None:
    with new_client(headers={}) as client:
        client.get(f"/health?token={TOKEN}", headers=PAGE, follow_redirects=False)
        answer = client.request(method, "/api/openapi.json", headers=headers)
    assert (answer.status_code == 403) == is_refused


def test_without_a_token_pages_of_other_sites_are_still_refused(new_client: NewClient) -> None:
    with new_client(headers={}, token=None) as client:
        assert client.get("/api/openapi.json").status_code == 200
        cross = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors"}
        assert client.get("/api/openapi.json", headers=cross).status_code == 403
        assert client.get("/api/openapi.json", headers={"Origin": "http://evil.example"}).status_code == 403
        assert client.get("/api/openapi.json", headers={"Host": "evil.example"}).status_code == 421


@pytest.mark.parametrize(
    "token",
    ["", "short", "a" * 15, "a" * 201, "caf\u00e9" * 5, "with a blank in it", "line\nbreak" * 3, "a,b;c" * 5],
)
def test_a_token_that_could_be_guessed_or_broken_is_refused_and_not_shown(token: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        check_token(token)
    assert not token or token not in str(caught.value)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("127.0.0.1", True),
        ("127.8.9.1", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("0.0.0.0", False),  # noqa: S104 - a name, nothing is bound
        ("::", False),
        ("10.0.0.1", False),
        ("::ffff:10.0.0.1", False),
        ("fe80::1%eth0", False),
        ("testclient", False),
    ],
)
def test_loopback_addresses_are_told_from_others(address: str, expected: bool) -> None:
    assert is_loopback(address) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://127.0.0.1:3333", "http://127.0.0.1:3333"),
        ("https://Tools.Example.org/", "https://tools.example.org"),
        ("*", None),
        ("null", None),
        ("127.0.0.1:3333", None),
        ("http://host/path", None),
        ("http://user@host", None),
        ("http://host?x", None),
        ("ftp://host", None),
        ("http://", None),
        ("http://a b", None),
    ],
)
def test_an_origin_is_scheme_host_and_port(text: str, expected: Any) -> None:
    if expected is None:
        with pytest.raises(ConfigurationError, match="--allow-origin"):
            parse_origin(text)
    else:
        assert parse_origin(text) == expected
