"""omop-emb serve: search and mapping over HTTP."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from omop_emb import config
from omop_emb.errors import MissingExtraError

from .options import site_option
from .render import echo
from .reviewer_options import sign_in_options

if TYPE_CHECKING:
    from omop_emb.web import SignInOptions


@click.command("serve")
@click.option(
    "--host", default="127.0.0.1", help="Address to listen on; one that others can reach needs --allow-host."
)
@click.option("--port", default=8077, type=click.IntRange(0, 65535), help="Port; 0 takes a free one.")
@click.option(
    "--allow-host",
    "hosts",
    multiple=True,
    metavar="NAME",
    help="Host name that clients use for the server, such as omop.example.org; repeatable.",
)
@click.option(
    "--allow-origin",
    "origins",
    multiple=True,
    metavar="ORIGIN",
    help="Allow web pages from this origin, such as http://127.0.0.1:3333; repeatable.",
)
@click.option(
    "--no-token", is_flag=True, help="Require no token; only if other machines cannot reach the server."
)
@sign_in_options
@site_option
@click.option(
    "--accept-precision",
    type=click.FloatRange(0.5, 1, max_open=True),
    help="Matches for OpenRefine: at this precision, with 95 % confidence.  [default: nothing]",
)
@click.option(
    "--no-live-memory",
    is_flag=True,
    help="During reviews, do not remember approvals and do not rank open terms again.",
)
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    help="Threads that search and map.  [default: one per CPU, at least 2]",
)
@click.option("--queue", default=64, type=click.IntRange(min=0), help="Requests that may wait for a thread.")
@click.option(
    "--timeout", default=60.0, type=click.FloatRange(min=1), metavar="SECONDS", help="Longest time to answer."
)
def command(
    host: str,
    port: int,
    hosts: tuple[str, ...],
    origins: tuple[str, ...],
    no_token: bool,
    sign_in: SignInOptions,
    site: str,
    accept_precision: float | None,
    no_live_memory: bool,
    workers: int | None,
    queue: int,
    timeout: float,
) -> None:
    """Answer searches and map terms over HTTP, until Ctrl-C.

    Only this machine can reach the server unless you set --host. The printed link contains a new token; set
    OMOP_EMB_SERVE_TOKEN to keep the same one. Log lines contain no terms.

    \b
    omop-emb serve
    omop-emb serve --port 0
    omop-emb serve --allow-host omop.example.org
    """
    config.one_blas_thread()
    try:
        from omop_emb.web import Limits, ServeOptions, default_workers, run_server
    except ImportError as error:
        raise MissingExtraError("omop-emb serve", "web") from error
    limits = Limits(workers=workers or default_workers(), queue=queue, request_seconds=timeout)
    options = ServeOptions(
        host=host,
        port=port,
        allowed_hosts=hosts,
        allowed_origins=origins,
        asks_token=not no_token,
        site=site,
        sign_in=sign_in,
        accept_precision=accept_precision,
        live_memory=not no_live_memory,
        limits=limits,
    )
    if not run_server(options, on_link=click.echo, on_message=echo):
        # Python would wait for a thread that cannot be cancelled.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)
