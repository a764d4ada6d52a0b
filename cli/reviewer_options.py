"""Reviewer options: how the people who review are known, for the commands that serve reviews."""

from __future__ import annotations

from pathlib import Path

import click

from omop_emb.web import SignInOptions

from .options import option_group


def _sign_in(
    reviewers_file: Path | None, reviewer_header: str | None, proxies: tuple[str, ...]
) -> SignInOptions:
    return SignInOptions(reviewers_file=reviewers_file, header=reviewer_header, proxies=proxies)


sign_in_options = option_group(
    "sign_in",
    _sign_in,
    click.option(
        "--reviewers",
        "reviewers_file",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Only people with a token in this file may review; each line has a name and a token.  "
        "[default: OMOP_EMB_REVIEWERS_FILE]",
    ),
    click.option(
        "--reviewer-header",
        metavar="NAME",
        help="Header in which a proxy names the reviewer, such as X-Remote-User; needs --trusted-proxy.",
    ),
    click.option(
        "--trusted-proxy",
        "proxies",
        multiple=True,
        metavar="ADDRESS",
        help="Address or network of that proxy; repeatable.",
    ),
)
"""Adds --reviewers, --reviewer-header and --trusted-proxy; the command gets `sign_in: SignInOptions`."""
