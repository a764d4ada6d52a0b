"""Security: which host names and pages may ask, and the token that they present.

A page on the web can make a browser ask a server on this machine, by a name of its own that leads here (DNS
rebinding: the Host is wrong) or from its own address (the Origin is wrong). Both are refused before anything
else. The token comes as `Authorization: Bearer`, as `?token=` in the link that is printed at the start, as
the cookie that this link sets, or before a path: `/token/TOKEN/openrefine`.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import re
from typing import Literal, NamedTuple
from urllib.parse import parse_qsl, urlencode, urlsplit

from starlette.datastructures import Headers
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from omop_emb.errors import ConfigurationError
from omop_emb.web.problems import problem_response
from omop_emb.web.review.reviewer_tokens import SESSION_SECONDS
from omop_emb.web.server_settings import LOOPBACK_NAMES, ServerSettings

TOKEN_FORM = re.compile(r"[A-Za-z0-9._~+/-]{16,200}=*")
"""RFC 6750's characters for a bearer token, and enough of them."""
LOCAL_PATHS = frozenset({"/health", "/ready", "/metrics"})
"""Asked by monitors on this machine, which have no token."""
_FORWARDED = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via")
_TOKEN_PATH = re.compile(r"/token/([^/]+)/")
_HOST = re.compile(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(?::([0-9]{1,5}))?")
_COOKIE_SECONDS = 30 * 24 * 3600
_SIGN_IN = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>omop-emb</title>
<h1>omop-emb needs its token</h1>
<p>Open the link that <code>omop-emb serve</code> printed when it started.</p>
<p>If you have opened it before, <a href="">continue</a>.</p>
</html>
"""


def host_name(host: str) -> str | None:
    """The name in a Host header, in lower case and without port; None if it is malformed."""
    match = _HOST.fullmatch(host)
    return None if match is None else match[1].lower().strip("[]").rstrip(".")


def is_loopback(address: str) -> bool:
    """Whether an IP address is one of this machine alone."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(parsed, "ipv4_mapped", None)
    return bool((mapped or parsed).is_loopback)


def check_token(token: str) -> None:
    """Raise ConfigurationError if a token could be guessed, or cannot stand in a header; it is not shown."""
    if TOKEN_FORM.fullmatch(token) is None:
        raise ConfigurationError(
            "OMOP_EMB_SERVE_TOKEN must have 16 to 200 letters, digits or -._~+/: "
            "make one with python3 -c 'import secrets; print(secrets.token_urlsafe())'"
        )


class HostAndOrigin:
    """Refuses requests by another name than the server's, and from pages of other origins."""

    def __init__(self, app: ASGIApp, settings: ServerSettings) -> None:
        self._app = app
        self._names = LOOPBACK_NAMES | set(settings.allowed_hosts)
        self._origins = frozenset(settings.allowed_origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] == "http" and (refusal := self._refusal(scope)) is not None:
            await refusal(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _refusal(self, scope: Scope) -> Response | None:
        headers, request_id = Headers(scope=scope), scope["state"]["request_id"]
        hosts, origins = headers.getlist("host"), headers.getlist("origin")
        name = host_name(hosts[0]) if len(hosts) == 1 else None
        if name not in self._names:
            detail = "the Host header names another server: start omop-emb serve with --allow-host NAME"
            return problem_response("unknown-host", detail, request_id)
        if len(origins) > 1 or (origins and not self._may_ask(origins[0], hosts[0])):
            detail = (
                "the Origin header names another site: start omop-emb serve with --allow-origin ORIGIN "
                "if its pages may use the server"
            )
            return problem_response("forbidden-origin", detail, request_id)
        return None

    def _may_ask(self, origin: str, host: str) -> bool:
        scheme, _, rest = origin.partition("://")
        own = scheme in ("http", "https") and rest.lower() == host.lower()
        return own or origin in self._origins


def reviewer_cookie_name(port: int) -> str:
    """The name of the cookie of a reviewer who has signed in; cookies ignore ports."""
    return f"omop_emb_reviewer_{port}"


class TokenCheck:
    """Refuses requests without the token, or a reviewer's own; turns a link with one into a cookie."""

    def __init__(self, app: ASGIApp, settings: ServerSettings) -> None:
        self._app, self._token = app, settings.token
        self._cookie_name = f"omop_emb_{settings.port}"
        self._reviewers = settings.sign_in.tokens
        self._reviewer_cookie = reviewer_cookie_name(settings.port)
        # A browser need not hold the token itself.
        self._cookie = hmac.new((settings.token or "").encode(), b"cookie", hashlib.sha256).hexdigest()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or ask for the token."""
        if scope["type"] == "http" and (response := self._check(scope)) is not None:
            await response(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _check(self, scope: Scope) -> Response | None:
        """None for a request that may pass."""
        headers = Headers(scope=scope)
        link_token, path_token = _take_link_token(scope), _take_path_token(scope)
        if path_token is not None and self._token is not None:
            return None if _equal(path_token, self._token) else self._refuse(scope, headers)
        reviewer = self._find_reviewer(headers, link_token)
        if reviewer is not None:
            scope["state"]["reviewer"] = reviewer.name
            if reviewer.by == "link" and _is_page(scope, headers):
                return self._sign_in(scope, headers, reviewer.name)
            return self._check_page(scope, headers, by_cookie=True) if reviewer.by == "cookie" else None
        if self._token is None:
            return self._check_page(scope, headers)
        authorization = headers.get("authorization")
        if authorization is not None:
            is_right = _equal(_bearer(headers), self._token)
            return None if is_right else self._refuse(scope, headers)
        if link_token is not None:
            if not _equal(link_token, self._token):
                return self._refuse(scope, headers)
            if not _is_page(scope, headers):
                return None
            return _with_cookie(scope, headers, self._cookie_name, self._cookie, _COOKIE_SECONDS)
        if _equal(read_cookie(headers, self._cookie_name), self._cookie):
            return self._check_page(scope, headers)
        if scope["path"] in LOCAL_PATHS and is_from_this_machine(scope, headers):
            return None
        return self._refuse(scope, headers)

    def _check_page(self, scope: Scope, headers: Headers, *, by_cookie: bool = False) -> Response | None:
        """A browser sends cookies by itself: what other sites make it send is refused."""
        site, mode = headers.get("sec-fetch-site"), headers.get("sec-fetch-mode")
        is_safe = scope["method"] in ("GET", "HEAD", "OPTIONS")
        if site in ("cross-site", "same-site") and not (is_safe and mode == "navigate"):
            detail = "the request comes from a page of another site"
            return problem_response("forbidden-origin", detail, scope["state"]["request_id"])
        by_cookie = by_cookie or self._token is not None
        if not is_safe and by_cookie and site is None and "origin" not in headers:
            detail = "a request that relies on a cookie must have an Origin header: use Authorization: Bearer"
            return problem_response("forbidden-origin", detail, scope["state"]["request_id"])
        return None

    def _refuse(self, scope: Scope, headers: Headers) -> Response:
        challenge = {"WWW-Authenticate": 'Bearer realm="omop-emb"'}
        if _is_page(scope, headers):
            return HTMLResponse(_SIGN_IN, 401, headers=challenge)
        detail = "send the header Authorization: Bearer TOKEN; omop-emb serve prints the token at its start"
        return problem_response("unauthorized", detail, scope["state"]["request_id"], headers=challenge)

    def _find_reviewer(self, headers: Headers, link_token: str | None) -> _Reviewer | None:
        """Whose own token, or cookie instead of it, a request has; None where nobody has one."""
        if self._reviewers is None:
            return None
        if (name := self._reviewers.owner_of(link_token)) is not None:
            return _Reviewer(name, "link")
        if "authorization" in headers:
            name = self._reviewers.owner_of(_bearer(headers))
            return None if name is None else _Reviewer(name, "bearer")
        name = self._reviewers.cookie_owner(read_cookie(headers, self._reviewer_cookie))
        return None if name is None else _Reviewer(name, "cookie")

    def _sign_in(self, scope: Scope, headers: Headers, name: str) -> Response:
        assert self._reviewers is not None  # noqa: S101 - it knew the token
        cookie = self._reviewers.new_cookie(name)
        return _with_cookie(scope, headers, self._reviewer_cookie, cookie, SESSION_SECONDS)


class _Reviewer(NamedTuple):
    name: str
    by: Literal["link", "bearer", "cookie"]


def _with_cookie(scope: Scope, headers: Headers, name: str, value: str, seconds: int) -> Response:
    """The same page without the token in its address, and a cookie instead."""
    query = scope["query_string"].decode("ascii")
    # One slash: //name would be another server.
    path = "/" + scope["path"].lstrip("/\\")
    response = RedirectResponse(f"{path}?{query}" if query else path, 303)
    response.set_cookie(
        name,
        value,
        max_age=seconds,
        httponly=True,
        samesite="strict",
        secure=scope["scheme"] == "https" or headers.get("x-forwarded-proto") == "https",
    )
    return response


def is_from_this_machine(scope: Scope, headers: Headers) -> bool:
    """Whether a request was made on this machine, to this machine, and came through no proxy."""
    client = scope.get("client")
    return (
        client is not None
        and is_loopback(client[0])
        and host_name(headers.get("host", "")) in LOOPBACK_NAMES
        and not any(name in headers for name in _FORWARDED)
    )


def parse_origin(text: str) -> str:
    """An origin as browsers write it, "scheme://host[:port]" in lower case.

    Raises:
        ConfigurationError: it is none, such as a URL with a path, or "*".
    """
    parts = urlsplit(text.strip().rstrip("/"))
    has_more = parts.path or parts.query or parts.fragment or parts.username is not None
    if parts.scheme not in ("http", "https") or has_more or host_name(parts.netloc) is None:
        raise ConfigurationError(
            f"--allow-origin takes an origin such as http://127.0.0.1:3333; found {text[:60]!r}"
        )
    return f"{parts.scheme}://{parts.netloc.lower()}"


def _equal(presented: str | None, expected: str) -> bool:
    return presented is not None and hmac.compare_digest(
        presented.encode("utf-8", "replace"), expected.encode()
    )


def _take_link_token(scope: Scope) -> str | None:
    """The token in the query, which is taken out, so that nothing further in sees or repeats it."""
    query = scope["query_string"].decode("latin-1")
    if "token=" not in query:
        return None
    pairs = parse_qsl(query, keep_blank_values=True, encoding="latin-1")
    tokens = [value for name, value in pairs if name == "token"]
    kept = [(name, value) for name, value in pairs if name != "token"]
    scope["query_string"] = urlencode(kept, encoding="latin-1").encode()
    return tokens[0] if len(tokens) == 1 else ""


def _take_path_token(scope: Scope) -> str | None:
    """The token of a path that begins with /token/TOKEN, which becomes a prefix of the application's paths.

    For programs that can be given an address and nothing else, such as OpenRefine.
    """
    match = _TOKEN_PATH.match(scope["path"])
    if match is None:
        return None
    scope["root_path"] = match[0].rstrip("/")
    return match[1]


def _is_page(scope: Scope, headers: Headers) -> bool:
    """Whether a browser asks for a page to show."""
    return scope["method"] == "GET" and "text/html" in headers.get("accept", "")


def _bearer(headers: Headers) -> str | None:
    """The bearer token of a request."""
    scheme, _, presented = headers.get("authorization", "").partition(" ")
    return presented.strip() if scheme.lower() == "bearer" else None


def read_cookie(headers: Headers, name: str) -> str | None:
    """The value of a cookie."""
    for header in headers.getlist("cookie"):
        for pair in header.split(";"):
            key, _, value = pair.strip().partition("=")
            if key == name:
                return value
    return None
