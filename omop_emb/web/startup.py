"""Startup: checks how a server is to be reached, opens what it needs, and runs it."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from urllib.parse import quote

from sqlalchemy import Engine

from omop_emb import config
from omop_emb.database.engine import engine_scope, waiting_session
from omop_emb.errors import ConfigurationError, DatabaseError
from omop_emb.web.http_server import bound_address, listen, serve
from omop_emb.web.review.sign_in import sign_in_of
from omop_emb.web.review.sign_in_options import SignInOptions
from omop_emb.web.security import check_token, host_name, is_loopback, parse_origin
from omop_emb.web.server_settings import Limits, ServerSettings
from omop_emb.web.state import ServerState

TOKEN_VARIABLE = "OMOP_EMB_SERVE_TOKEN"  # noqa: S105 - the name of a variable


@dataclass(frozen=True, kw_only=True)
class ServeOptions:
    """What the caller chooses about a server.

    Attributes:
        host, port: where it listens; port 0 takes a free one.
        allowed_hosts: names by which clients reach it, beside those of this machine.
        allowed_origins: origins whose pages may ask.
        asks_token: False lets everybody on this machine ask.
        site: whose approvals and ranker are used.
        accept_precision: see ServerSettings.
        sign_in: how reviewers are known.
        live_memory: see ServerSettings.
        limits: what requests may take.
        page: which page the link opens, such as "review/3".
    """

    host: str = "127.0.0.1"
    port: int = 8077
    allowed_hosts: Sequence[str] = ()
    allowed_origins: Sequence[str] = ()
    asks_token: bool = True
    site: str = "default"
    accept_precision: float | None = None
    live_memory: bool = True
    sign_in: SignInOptions = field(default_factory=SignInOptions)
    limits: Limits = field(default_factory=Limits)
    page: str = ""


def run_server(
    options: ServeOptions, *, on_link: Callable[[str], None], on_message: Callable[[str], None]
) -> bool:
    """Serve until SIGTERM or Ctrl-C; whether all work has ended then, or some thread is still at it.

    Args:
        options: what the caller chooses.
        on_link: called once with the link to open, when the server listens. It holds the token, unless that
            comes from OMOP_EMB_SERVE_TOKEN.
        on_message: called with a line for the user.

    Raises:
        ConfigurationError: the options do not fit together, nothing can be accepted with the precision, or
            the port is in use.
        KeyboardInterrupt: it was stopped by Ctrl-C.
    """
    hosts = [_checked_host(name) for name in options.allowed_hosts]
    origins = tuple(parse_origin(origin) for origin in options.allowed_origins)
    token, is_given = _token(options)
    sign_in = sign_in_of(options.sign_in)
    if token is not None and sign_in.tokens is not None and sign_in.tokens.owner_of(token) is not None:
        raise ConfigurationError(f"a reviewer's token equals {TOKEN_VARIABLE}: each token must be different")
    with closing(listen(options.host, options.port)) as listener:
        address, port = bound_address(listener)
        if is_loopback(address):
            hosts.append(options.host.lower())
        else:
            _check_open(options, address)
            on_message(
                "warning: requests and answers are not encrypted: put a reverse proxy with TLS in front"
            )
        settings = ServerSettings(
            token=token,
            allowed_hosts=tuple(hosts),
            allowed_origins=origins,
            site=options.site,
            accept_precision=options.accept_precision,
            live_memory=options.live_memory,
            sign_in=sign_in,
            port=port,
            limits=options.limits,
        )
        name = options.host if is_loopback(address) else hosts[0]
        url = f"http://{f'[{name}]' if ':' in name else name}:{port}/{options.page}"
        link = url if token is None or is_given else f"{url}?token={quote(token, safe='')}"
        # Only now, as numpy and the model's libraries take a while: what is wrong is said at once.
        from omop_emb.service import ConceptFinder

        with engine_scope() as engine, closing(ConceptFinder(engine, site=options.site)) as finder:
            _check_acceptance(engine, options)
            state = ServerState(engine=engine, finder=finder, settings=settings)
            serve(state, listener, on_start=lambda: on_link(link))
            is_working = state.is_warming or state.importer.is_working or state.live_memory.is_working
            return state.pool.running == 0 and not is_working


def _checked_host(name: str) -> str:
    checked = host_name(name)
    has_port = checked is not None and checked != name.lower().strip("[]").rstrip(".")
    if checked is None or has_port:
        raise ConfigurationError(
            f"--allow-host takes a name such as omop.example.org, without a port; found {name[:60]!r}"
        )
    return checked


def _token(options: ServeOptions) -> tuple[str | None, bool]:
    """The token, and whether the user gave it."""
    given = config.variable(TOKEN_VARIABLE)
    if not options.asks_token:
        if given is not None:
            raise ConfigurationError(
                f"--no-token turns the token off, but {TOKEN_VARIABLE} sets one: unset it"
            )
        return None, False
    if given is None:
        return secrets.token_urlsafe(32), False
    check_token(given)
    return given, True


def _check_open(options: ServeOptions, address: str) -> None:
    """Raise ConfigurationError unless it is clear who may reach an address that others can see."""
    if not options.allowed_hosts:
        raise ConfigurationError(
            f"other machines can reach {address}: give the name that they use with --allow-host NAME, or "
            "leave --host out"
        )
    if not options.asks_token:
        raise ConfigurationError(f"other machines can reach {address}: --no-token is only for this machine")


def _check_acceptance(engine: Engine, options: ServeOptions) -> None:
    """Say at once that --accept-precision can accept nothing; without a database that is said when asked."""
    if options.accept_precision is None:
        return
    from omop_emb.mapping.ranking.policy import Policy
    from omop_emb.mapping.resources import check_acceptance

    policy = Policy(accept_precision=options.accept_precision)
    with suppress(DatabaseError), waiting_session(engine) as session:
        check_acceptance(session, policy, site=options.site, otherwise="leave out --accept-precision")
