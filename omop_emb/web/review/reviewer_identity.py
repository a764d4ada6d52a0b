"""Reviewer identity: whose name a decision bears."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal
from urllib.parse import unquote

from fastapi import Depends, HTTPException, Request

from omop_emb.errors import InputError
from omop_emb.service.review.decision_records import reviewer_name
from omop_emb.web.review.sign_in import SignIn

REVIEWER_HEADER = "X-Reviewer"
REVIEWER_COOKIE = "omop_emb_reviewer"
UNNAMED = "reviewer"
"""Who decides where nobody has to sign in, and has typed no name."""
SIGNED_OUT = "sign in as a reviewer: open the link that you were given"


@dataclass(frozen=True, kw_only=True)
class ReviewerIdentity:
    """Who asks.

    Attributes:
        name: "" for nobody that is known.
        source: "declared" for a name that was typed, "token" or "proxy" for one that was checked.
    """

    name: str
    source: Literal["declared", "token", "proxy"]

    @property
    def can_be_changed(self) -> bool:
        """Whether the person may type another name."""
        return self.source == "declared"

    @property
    def can_sign_out(self) -> bool:
        """Whether this server can forget who it is; a proxy would say it again."""
        return bool(self.name) and self.source != "proxy"


def reviewer_identity(request: Request) -> ReviewerIdentity:
    """Who asks: as ReviewerCheck found, or what the browser's user typed where nothing is checked."""
    server = request.app.state.server
    sign_in: SignIn = server.settings.sign_in
    checked = request.scope.get("state", {}).get("reviewer", "")
    if sign_in.is_on:
        return ReviewerIdentity(name=checked, source="proxy" if sign_in.tokens is None else "token")
    given = request.headers.get(REVIEWER_HEADER) or request.cookies.get(REVIEWER_COOKIE) or ""
    return ReviewerIdentity(name=reviewer_name(unquote(given)) if given else "", source="declared")


def shown_identity(request: Request) -> ReviewerIdentity:
    """reviewer_identity() for a page, where a name that cannot be used is none."""
    try:
        return reviewer_identity(request)
    except InputError:
        return ReviewerIdentity(name="", source="declared")


def current_reviewer(request: Request) -> str:
    """The name of who asks; UNNAMED for nobody where nothing is checked, else the request is refused.

    A page says by whom it was opened. If somebody else has signed in since, its requests are refused.
    """
    identity = reviewer_identity(request)
    if not identity.name and not identity.can_be_changed:
        raise HTTPException(401, SIGNED_OUT)
    stated = request.headers.get(REVIEWER_HEADER)
    if stated and not identity.can_be_changed and reviewer_name(unquote(stated)) != identity.name:
        raise HTTPException(
            401, "the person who is signed in is not the one that X-Reviewer names: sign in again"
        )
    return identity.name or UNNAMED


Reviewer = Annotated[str, Depends(current_reviewer)]
"""Parameter of a route: the name of who asks."""
