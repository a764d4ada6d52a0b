"""Sign-in: where the names of reviewers come from, and that they cannot be another's where it matters.

By default a person types a name. With a file of reviewers each has a token; behind a proxy that has signed
people in, a header of its requests names them. In both cases names that browsers send count for nothing.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from pathlib import Path

from starlette.datastructures import Headers
from starlette.types import Scope

from omop_emb import config
from omop_emb.errors import ConfigurationError, InputError
from omop_emb.service.review.decision_records import reviewer_name
from omop_emb.web.review.reviewer_tokens import ReviewerTokens, read_reviewers
from omop_emb.web.review.sign_in_options import SignInOptions

REVIEWERS_VARIABLE = "OMOP_EMB_REVIEWERS_FILE"
_HEADER = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,63}")
# Headers that clients and HTTP itself use, of which none names a person.
_NO_NAME = frozenset(
    {"authorization", "cookie", "host", "origin", "content-type", "content-length", "x-reviewer"}
)
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, kw_only=True)
class SignIn:
    """How reviewers are known: by `tokens`, by a `header` of a proxy, or, with neither, by what they type."""

    tokens: ReviewerTokens | None = field(default=None, repr=False)
    header: str | None = None
    proxies: tuple[Network, ...] = ()

    @property
    def is_on(self) -> bool:
        """Whether names are checked."""
        return self.tokens is not None or self.header is not None

    def proxied_name(self, scope: Scope) -> str | None:
        """The name in the proxy's header; None from any other peer, or if there is not exactly one name."""
        client = scope.get("client")
        if self.header is None or client is None or not self._is_proxy(str(client[0])):
            return None
        found = Headers(scope=scope).getlist(self.header)
        if len(found) != 1:
            return None
        sent = found[0].encode("latin-1")  # as ASGI decodes headers
        try:
            return reviewer_name(sent.decode("utf-8", "strict"))
        except UnicodeDecodeError:
            pass
        except InputError:
            return None
        try:
            return reviewer_name(found[0])
        except InputError:
            return None

    def _is_proxy(self, address: str) -> bool:
        try:
            peer = ipaddress.ip_address(address.partition("%")[0])
        except ValueError:
            return False
        peer = getattr(peer, "ipv4_mapped", None) or peer
        return any(peer in network for network in self.proxies)


def sign_in_of(options: SignInOptions) -> SignIn:
    """The sign-in that a caller has chosen.

    Raises:
        ConfigurationError: the options do not fit together, or one cannot be used.
    """
    variable = config.variable(REVIEWERS_VARIABLE)
    path = options.reviewers_file or (Path(variable) if variable else None)
    if path is not None and (options.header or options.proxies):
        raise ConfigurationError(
            f"--reviewers (or {REVIEWERS_VARIABLE}) and --reviewer-header are two ways of signing in: use one"
        )
    if path is not None:
        return SignIn(tokens=read_reviewers(path))
    if options.header is None and not options.proxies:
        return SignIn()
    if options.header is None or not options.proxies:
        raise ConfigurationError(
            "--reviewer-header NAME and --trusted-proxy ADDRESS go together: the header only counts in "
            "requests from that address"
        )
    if _HEADER.fullmatch(options.header) is None or options.header.lower() in _NO_NAME:
        raise ConfigurationError(
            f"--reviewer-header takes a header's name such as X-Remote-User; found {options.header[:60]!r}"
        )
    return SignIn(header=options.header, proxies=tuple(map(_network, options.proxies)))


def _network(text: str) -> Network:
    try:
        network = ipaddress.ip_network(text.strip())
    except ValueError as error:
        raise ConfigurationError(
            f"--trusted-proxy takes an address such as 127.0.0.1 or a network such as 10.1.0.0/24; "
            f"found {text[:60]!r}"
        ) from error
    if network.prefixlen == 0:
        raise ConfigurationError(
            f"--trusted-proxy {text} would trust everybody: name the proxy's own address"
        )
    return network
