"""Reviewer tokens: the people who may review by tokens of their own, and cookies that stand for these."""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
import stat
import time
from collections.abc import Mapping
from pathlib import Path

from omop_emb.errors import ConfigurationError, InputError
from omop_emb.service.review.decision_records import reviewer_name

SESSION_SECONDS = 12 * 3600
"""A working day; then the link is opened again."""
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]{16,200}=*")
_COOKIE = re.compile(r"([0-9]{1,12})\.([0-9a-f]{32})\.([0-9a-f]{64})", re.ASCII)
_LARGEST = 1_000_000  # bytes of a file
_MAKE_ONE = "make one with python3 -c 'import secrets; print(secrets.token_urlsafe())'"


class ReviewerTokens:
    """Who a token or a cookie belongs to. Tokens themselves are not kept, only their hashes."""

    def __init__(self, tokens: Mapping[str, str]) -> None:
        """`tokens`: name -> token."""
        self._hashes = {name: _hash(token) for name, token in tokens.items()}
        self._keys = {
            name: hmac.new(token.encode(), b"omop-emb reviewer session", hashlib.sha256).digest()
            for name, token in tokens.items()
        }
        self._ended: dict[str, int] = {}  # cookies that were signed out -> when they would have ended

    def __repr__(self) -> str:
        return f"ReviewerTokens(of {len(self._hashes)} people)"

    def owner_of(self, token: str | None) -> str | None:
        """The name of whose token it is; takes as long for one token as for another."""
        presented, owner = _hash(token or ""), None
        for name, expected in self._hashes.items():
            if hmac.compare_digest(presented, expected):
                owner = name
        return owner

    def new_cookie(self, name: str) -> str:
        """A cookie that stands for a person's token until it expires; it does not tell the token."""
        stated = f"{int(time.time()) + SESSION_SECONDS}.{secrets.token_hex(16)}"
        return f"{stated}.{_sign(self._keys[name], stated)}"

    def cookie_owner(self, cookie: str | None) -> str | None:
        """The name of whom a cookie stands for; None once it has expired, or been signed out."""
        match = _COOKIE.fullmatch(cookie or "")
        if match is None or int(match[1]) < time.time() or cookie in self._ended:
            return None
        owner = None
        for name, key in self._keys.items():
            if hmac.compare_digest(_sign(key, f"{match[1]}.{match[2]}"), match[3]):
                owner = name
        return owner

    def sign_out(self, cookie: str | None) -> None:
        """Let a cookie stand for nobody any more."""
        if cookie is not None and self.cookie_owner(cookie) is not None:
            now = time.time()
            self._ended = {one: until for one, until in self._ended.items() if until >= now}
            self._ended[cookie] = int(cookie.partition(".")[0])


def read_reviewers(path: Path) -> ReviewerTokens:
    """The people in a file: a name and a token in each line; blank lines and those after # say nothing.

    Raises:
        ConfigurationError: others can read the file, or a line of it cannot be used. No token is shown.
    """
    tokens: dict[str, str] = {}
    for number, line in enumerate(_content(path).splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        where = f"line {number} of {path}"
        parts = line.rsplit(maxsplit=1)
        if len(parts) != 2:
            raise ConfigurationError(f"{where} must have a name, a blank and a token")
        try:
            name = reviewer_name(parts[0])
        except InputError as error:
            raise ConfigurationError(f"{where}: {error}") from error
        if _TOKEN.fullmatch(parts[1]) is None:
            raise ConfigurationError(
                f"the token in {where} must have 16 to 200 letters, digits or -._~+/: {_MAKE_ONE}"
            )
        if name in tokens or parts[1] in tokens.values():
            raise ConfigurationError(f"{where} repeats a name or a token: each person needs one of each")
        tokens[name] = parts[1]
    if not tokens:
        raise ConfigurationError(f"{path} names no reviewer: write a name, a blank and a token in each line")
    return ReviewerTokens(tokens)


def _content(path: Path) -> str:
    """The text of a file that only its owner can read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise ConfigurationError(f"the reviewers' file {path} cannot be read: {error.strerror}") from error
    try:
        state = os.fstat(descriptor)
        if not stat.S_ISREG(state.st_mode):
            raise ConfigurationError(f"the reviewers' file {path} is no file")
        if state.st_mode & 0o077:
            mode = f"{stat.S_IMODE(state.st_mode):04o}"
            raise ConfigurationError(
                f"others can read the tokens in {path}, of mode {mode}: chmod 600 {path}"
            )
        if state.st_uid not in (0, os.geteuid()):
            raise ConfigurationError(f"{path} belongs to another user, who could change the tokens in it")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            content = file.read(_LARGEST + 1)
    finally:
        os.close(descriptor)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"the reviewers' file {path} is not UTF-8") from error
    if len(content) > _LARGEST:
        raise ConfigurationError(f"the reviewers' file {path} is larger than {_LARGEST:,} bytes")
    return text


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()


def _sign(key: bytes, text: str) -> str:
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
