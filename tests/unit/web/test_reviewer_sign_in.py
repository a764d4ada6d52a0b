"""Whose name a decision bears: typed, by a token of one's own, or from a proxy that is trusted."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from fastapi import APIRouter, FastAPI

from omop_emb.errors import ConfigurationError
from omop_emb.web.review.reviewer_identity import Reviewer
from omop_emb.web.review.reviewer_tokens import SESSION_SECONDS, ReviewerTokens, read_reviewers
from omop_emb.web.review.sign_in import SignIn, sign_in_of
from omop_emb.web.review.sign_in_options import SignInOptions
from tests.unit.web.conftest import TOKEN, NewClient

ADA, BOB = "token-of-ada-lovelace-0123456789", "token-of-bob-0123456789abcdefgh"
OWN = "http://127.0.0.1:8077"
PAGE = {"Accept": "text/html"}
FORGED = {"X-Reviewer": "Bob", "Cookie": "omop_emb_reviewer=Bob"}
DECISIONS = "/api/v1/reviews/1/decisions-of-this-test"


def add_routes(app: FastAPI) -> None:
    """Routes of a review that say who asks."""
    router = APIRouter(include_in_schema=False)

    @router.post(DECISIONS)
    @router.get("/review/0/who")
    async def who(reviewer: Reviewer) -> dict[str, str]:
        return {"reviewer": reviewer}

    app.include_router(router)


def by_tokens() -> dict[str, Any]:
    return {"sign_in": SignIn(tokens=ReviewerTokens({"Ada": ADA, "Bob": BOB})), "add": add_routes}


def by_header(**changed: Any) -> dict[str, Any]:
    options = SignInOptions(header="X-Remote-User", proxies=("10.0.0.7", "192.168.3.0/24"))
    return {"sign_in": sign_in_of(options), "add": add_routes, **changed}


def test_without_sign_in_a_decision_bears_the_name_that_was_typed(new_client: NewClient) -> None:
    with new_client(add=add_routes) as client:
        assert client.post(DECISIONS).json() == {"reviewer": "reviewer"}
        assert client.get("/api/v1/reviewer").json()["name"] == ""
        typed = client.post(
            "/review/name",
            data={"name": " Zoë; path=/ ", "next": "/review/3"},
            headers={"Origin": OWN},
            follow_redirects=False,
        )
        assert (typed.status_code, typed.headers["location"]) == (303, "/review/3")
        assert "SameSite=strict" in typed.headers["set-cookie"]
        assert client.post(DECISIONS).json() == {"reviewer": "Zoë; path=/"}
        assert client.get("/api/v1/reviewer").json() == {
            "name": "Zoë; path=/", "source": "declared", "can_be_changed": True, "can_sign_out": True,
        }  # fmt: skip
        header = {"X-Reviewer": quote("Grace Hopper")}
        assert client.post(DECISIONS, headers=header).json() == {"reviewer": "Grace Hopper"}
        client.post("/review/sign-out", headers={"Origin": OWN}, follow_redirects=False)
        assert client.get("/api/v1/reviewer").json()["name"] == ""


@pytest.mark.parametrize("name", ["", "  ", "a" * 201, "line\nbreak", "\x00"])
def test_a_name_that_cannot_be_shown_is_refused(new_client: NewClient, name: str) -> None:
    with new_client(add=add_routes) as client:
        answer = client.post("/review/name", data={"name": name}, follow_redirects=False)
        assert answer.status_code in (400, 422)
        assert "set-cookie" not in answer.headers


@pytest.mark.parametrize(
    "page",
    ["https://evil.example/", "//evil.example/review", "/review//evil", "/\\evil", "/review\r\nX: y", ""],
)
def test_the_form_for_a_name_leads_nowhere_else(new_client: NewClient, page: str) -> None:
    with new_client() as client:
        answer = client.post(
            "/review/name",
            data={"name": "Ada", "next": page},
            follow_redirects=False,
            headers={"Origin": OWN},
        )
        assert answer.headers["location"] == "/review"


def test_each_persons_link_signs_in_and_no_other_name_can_be_given(new_client: NewClient) -> None:
    with new_client(headers={}, **by_tokens()) as client:
        answer = client.get(f"/review/0/who?token={ADA}", headers=PAGE, follow_redirects=False)
        assert (answer.status_code, answer.headers["location"]) == (303, "/review/0/who")
        cookie = answer.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=strict" in cookie
        assert ADA not in cookie
        asked = {"Origin": OWN}
        assert client.post(DECISIONS, headers=asked).json() == {"reviewer": "Ada"}
        # Names that a browser sends count for nothing, and a page that another opened is refused.
        assert client.post(DECISIONS, headers={**asked, "X-Reviewer": "Ada"}).json() == {"reviewer": "Ada"}
        assert client.post(DECISIONS, headers={**asked, "X-Reviewer": "Bob"}).status_code == 401
        client.cookies.set("omop_emb_reviewer", "Bob")
        assert client.post(DECISIONS, headers=asked).json() == {"reviewer": "Ada"}
        typed = client.post("/review/name", data={"name": "Bob"}, headers=asked, follow_redirects=False)
        assert typed.status_code == 400
        assert client.get("/api/v1/reviewer").json() == {
            "name": "Ada", "source": "token", "can_be_changed": False, "can_sign_out": True,
        }  # fmt: skip
        assert client.get("/api/openapi.json").status_code == 200  # the rest of the server, too


def test_a_reviewers_token_is_a_bearer_token_of_programs(new_client: NewClient) -> None:
    with new_client(headers={"Authorization": f"Bearer {BOB}"}, **by_tokens()) as client:
        assert client.post(DECISIONS).json() == {"reviewer": "Bob"}
        assert client.post(DECISIONS, headers={"X-Reviewer": "Ada"}).status_code == 401
    with new_client(headers={}, token=None, **by_tokens()) as client:
        assert client.post(f"{DECISIONS}?token={BOB}").json() == {"reviewer": "Bob"}


@pytest.mark.parametrize(
    ("headers", "path"),
    [
        ({"Authorization": f"Bearer {TOKEN}"}, DECISIONS),
        ({"Authorization": f"Bearer {TOKEN}", **FORGED}, DECISIONS),
        ({"Authorization": f"Bearer {ADA}x"}, DECISIONS),
        ({"Authorization": f"Bearer {ADA[:-1]}"}, DECISIONS),
        ({"Authorization": "Bearer Ada"}, DECISIONS),
        ({"Authorization": "Bearer "}, DECISIONS),
        ({"Cookie": "omop_emb_reviewer_8077=Ada"}, DECISIONS),
        ({"Cookie": f"omop_emb_reviewer_8077={ADA}"}, DECISIONS),
        ({"Cookie": f"omop_emb_reviewer_8077=9999999999.{'0' * 32}.{'0' * 64}"}, DECISIONS),
        ({"X-Remote-User": "Ada", **FORGED}, DECISIONS),
        ({}, f"{DECISIONS}?token={TOKEN}"),
        ({}, f"{DECISIONS}?token={ADA}&token={ADA}"),
        ({}, f"{DECISIONS}?reviewer=Ada"),
        ({}, f"/token/{TOKEN}{DECISIONS}"),
        ({}, f"/token/{ADA}{DECISIONS}"),
    ],
)
@pytest.mark.parametrize("token", [TOKEN, None])
def test_nobody_decides_without_a_reviewers_own_token(
    new_client: NewClient, headers: dict[str, str], path: str, token: str | None
) -> None:
    with new_client(headers={}, token=token, **by_tokens()) as client:
        answer = client.post(path, headers={"Origin": OWN, **headers})
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert ADA not in answer.text
        page = client.get("/review", headers={**headers, **PAGE})
        assert page.status_code == 401
        assert page.headers["content-type"].startswith("text/html")


def test_signing_out_ends_the_cookie_wherever_it_was_copied_to(new_client: NewClient) -> None:
    with new_client(headers={}, **by_tokens()) as client:
        client.get(f"/review?token={ADA}", headers=PAGE, follow_redirects=False)
        copied = client.cookies["omop_emb_reviewer_8077"]
        out = client.post("/review/sign-out", headers={"Origin": OWN}, follow_redirects=False)
        assert out.status_code == 303
        assert "omop_emb_reviewer_8077" not in client.cookies
        client.cookies.set("omop_emb_reviewer_8077", copied)
        assert client.post(DECISIONS, headers={"Origin": OWN}).status_code == 401


def test_a_cookie_expires_and_cannot_be_prolonged(monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = ReviewerTokens({"Ada": ADA, "Bob": BOB})
    cookie = tokens.new_cookie("Ada")
    assert tokens.cookie_owner(cookie) == "Ada"
    until, nonce, mac = cookie.split(".")
    assert tokens.cookie_owner(f"{int(until) + 1}.{nonce}.{mac}") is None
    assert tokens.cookie_owner(cookie.upper()) is None
    # Another token for the same person, and the same token on a server that has other people.
    assert ReviewerTokens({"Ada": BOB}).cookie_owner(cookie) is None
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + SESSION_SECONDS + 1)
    assert tokens.cookie_owner(cookie) is None


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": OWN, "Sec-Fetch-Site": "cross-site"}, 403),
        ({"Origin": OWN, "Sec-Fetch-Site": "same-origin"}, 200),
    ],
)
@pytest.mark.parametrize("token", [TOKEN, None])
def test_a_reviewers_cookie_does_not_vouch_for_pages_of_other_sites(
    new_client: NewClient, headers: dict[str, str], status: int, token: str | None
) -> None:
    with new_client(headers={}, token=token, **by_tokens()) as client:
        client.get(f"/review?token={ADA}", headers=PAGE, follow_redirects=False)
        assert client.post(DECISIONS, headers=headers).status_code == status


@pytest.mark.parametrize("peer", ["10.0.0.7", "192.168.3.200", "::ffff:10.0.0.7"])
def test_a_trusted_proxy_says_who_asks(new_client: NewClient, peer: str) -> None:
    with new_client(client=(peer, 40000), **by_header()) as client:
        for sent, name in (("ada", "ada"), (" ada ", "ada"), ("Zo\u00eb", "Zoë"), ("Zo\u00c3\u00ab", "Zoë")):
            named = [(b"x-remote-user", sent.encode("latin-1"))]
            assert client.post(DECISIONS, headers=named).json() == {"reviewer": name}
            assert client.post(DECISIONS, headers=[*named, (b"x-reviewer", b"Bob")]).status_code == 401
        client.cookies.set("omop_emb_reviewer", "Bob")
        assert client.post(DECISIONS, headers={"X-Remote-User": "ada"}).json() == {"reviewer": "ada"}
        crossed = {"X-Remote-User": "ada", "Sec-Fetch-Site": "cross-site"}
        assert client.post(DECISIONS, headers=crossed).status_code == 403


@pytest.mark.parametrize(
    ("peer", "headers"),
    [
        ("10.0.0.8", [("X-Remote-User", "ada")]),
        ("127.0.0.1", [("X-Remote-User", "ada")]),
        ("10.0.0.8", [("X-Remote-User", "ada"), ("X-Forwarded-For", "10.0.0.7"), ("X-Real-IP", "10.0.0.7")]),
        ("testclient", [("X-Remote-User", "ada")]),
        ("10.0.0.7", []),
        ("10.0.0.7", [("X-Remote-User", "")]),
        ("10.0.0.7", [("X-Remote-User", "ada"), ("X-Remote-User", "bob")]),
        ("10.0.0.7", [("X_Remote_User", "ada")]),
        ("10.0.0.7", [("X-Reviewer", "ada"), ("Cookie", "omop_emb_reviewer=ada")]),
        ("10.0.0.7", [("X-Remote-User", "a" * 201)]),
    ],
)
def test_a_name_from_anybody_else_is_refused(
    new_client: NewClient, peer: str, headers: list[tuple[str, str]]
) -> None:
    with new_client(client=(peer, 40000), **by_header()) as client:
        assert client.post(DECISIONS, headers=headers).status_code == 401
        assert client.get("/api/openapi.json").status_code == 200


def test_no_token_or_name_is_logged(new_client: NewClient, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG), new_client(headers={}, **by_tokens()) as client:
        client.get(f"/review/0/who?token={ADA}", headers=PAGE)
        client.get(f"/review/0/who?token={ADA}x", headers=PAGE)
        client.post(DECISIONS, headers={"Authorization": f"Bearer {BOB}"})
        cookie = client.cookies["omop_emb_reviewer_8077"]
    ours = "\n".join(record.getMessage() for record in caplog.records if record.name.startswith("omop_emb"))
    assert "/review/0/who" in ours
    for secret in (ADA, BOB, cookie, "Ada"):
        assert secret not in ours


def write(path: Path, content: bytes, mode: int = 0o600) -> Path:
    path.write_bytes(content)
    path.chmod(mode)
    return path


def test_a_file_names_reviewers_and_their_tokens(tmp_path: Path) -> None:
    content = f"\ufeff# laboratory\nAda Lovelace\t{ADA}\r\n\n  Bob   {BOB}  \n".encode()
    tokens = read_reviewers(write(tmp_path / "reviewers", content))
    assert [tokens.owner_of(one) for one in (ADA, BOB, "", None, TOKEN)] == [
        "Ada Lovelace", "Bob", None, None, None,
    ]  # fmt: skip
    assert ADA not in repr(tokens)
    assert ADA not in repr(SignIn(tokens=tokens))


@pytest.mark.parametrize(
    ("content", "mode", "message"),
    [
        (f"Ada {ADA}", 0o640, "chmod 600"),
        (f"Ada {ADA}", 0o604, "chmod 600"),
        ("", 0o600, "names no reviewer"),
        ("# nobody", 0o600, "names no reviewer"),
        ("Ada", 0o600, "line 1 of .* must have a name, a blank and a token"),
        ("Ada short", 0o600, "line 1 of .* must have 16 to 200"),
        ("Ada token,with,commas,in,it", 0o600, "line 1 of .* must have 16 to 200"),
        (f"Ada {ADA}\nAda {BOB}", 0o600, "line 2 of .* repeats"),
        (f"Ada {ADA}\nBob {ADA}", 0o600, "line 2 of .* repeats"),
        (f"Ad\x07a {ADA}", 0o600, "line 1 of .* printable"),
    ],
)
def test_a_file_that_is_not_safe_is_refused_without_showing_a_token(
    tmp_path: Path, content: str, mode: int, message: str
) -> None:
    path = write(tmp_path / "reviewers", content.encode(), mode)
    with pytest.raises(ConfigurationError, match=message) as caught:
        read_reviewers(path)
    said = str(caught.value)
    assert "\n" not in said
    assert all(secret not in said for secret in (ADA, BOB, "short", "token,with"))


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing"):
        with pytest.raises(ConfigurationError, match="the reviewers' file"):
            read_reviewers(path)
    with pytest.raises(ConfigurationError, match="not UTF-8"):
        read_reviewers(write(tmp_path / "latin", "Zoë".encode("latin-1")))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"header": "X-Remote-User"}, "go together"),
        ({"proxies": ("127.0.0.1",)}, "go together"),
        ({"header": "X Remote", "proxies": ("127.0.0.1",)}, "a header's name"),
        ({"header": "Cookie", "proxies": ("127.0.0.1",)}, "a header's name"),
        ({"header": "X-Remote-User", "proxies": ("proxy.example",)}, "takes an address"),
        ({"header": "X-Remote-User", "proxies": ("10.0.0.7/8",)}, "takes an address"),
        ({"header": "X-Remote-User", "proxies": ("0.0.0.0/0",)}, "trust everybody"),
        ({"header": "X-Remote-User", "reviewers_file": Path("x")}, "use one"),
    ],
)
def test_options_that_do_not_fit_together_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        sign_in_of(SignInOptions(**options))


def test_the_variable_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "reviewers", f"Ada {ADA}\n".encode())
    monkeypatch.setenv("OMOP_EMB_REVIEWERS_FILE", str(path))
    assert sign_in_of(SignInOptions()).is_on
    with pytest.raises(ConfigurationError, match="OMOP_EMB_REVIEWERS_FILE"):
        sign_in_of(SignInOptions(header="X-Remote-User", proxies=("127.0.0.1",)))


def test_the_page_of_all_reviews_asks_for_a_name_only_where_one_can_be_typed(new_client: NewClient) -> None:
    # There is no database: the page says so, and still knows who asks.
    with new_client() as client:
        client.cookies.set("omop_emb_reviewer", quote('Zoë "<b>"'))
        page = client.get("/review", headers=PAGE).text
        assert "<strong>Zoë &#34;&lt;b&gt;&#34;</strong>" in page
        assert "Change</button>" in page
    with new_client(headers={"Authorization": f"Bearer {ADA}"}, **by_tokens()) as client:
        page = client.get("/review", headers=PAGE).text
        assert "<strong>Ada</strong>" in page
        assert 'name="name"' not in page
        assert "Sign out" in page


def test_a_browser_without_a_name_is_asked_for_one_before_it_decides(new_client: NewClient) -> None:
    with new_client() as client:
        for path in ("/review/7", "/review/7/bulk"):
            page = client.get(path, headers=PAGE)
            assert page.status_code == 200
            assert "Who reviews?" in page.text
            assert f'name="next" value="{path}"' in page.text
            assert page.headers["referrer-policy"] == "strict-origin"  # or its form would be refused
        for path in ("/review", "/review/7/statistics", "/review/7/export"):
            assert "Who reviews?" not in client.get(path, headers=PAGE).text
        assert client.get("/review/7").headers["content-type"] != "text/html"  # a program
        client.post("/review/name", data={"name": "Ada"}, headers={"Origin": OWN}, follow_redirects=False)
        assert "Who reviews?" not in client.get("/review/7", headers=PAGE).text
