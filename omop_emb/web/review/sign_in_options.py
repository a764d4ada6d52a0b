"""Sign-in options: what the caller of a server chooses about how reviewers are known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class SignInOptions:
    """What the caller chooses; see sign_in_of().

    Attributes:
        reviewers_file: names with their tokens; None for OMOP_EMB_REVIEWERS_FILE.
        header: in which a proxy names who asks.
        proxies: addresses of such proxies, or networks.
    """

    reviewers_file: Path | None = None
    header: str | None = None
    proxies: Sequence[str] = ()
