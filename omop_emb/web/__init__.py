"""Web: the HTTP services of `omop-emb serve` over the use cases of the service package.

`create_app()` makes the application of a `ServerState`, `run_server()` runs one until it is stopped, and
`run_mcp()` answers an assistant on stdin and stdout.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from omop_emb.lazy import lazy_names

if TYPE_CHECKING:
    from omop_emb.web.app import create_app as create_app
    from omop_emb.web.assistant.mcp_stdio import run_mcp as run_mcp
    from omop_emb.web.review.sign_in_options import SignInOptions as SignInOptions
    from omop_emb.web.server_settings import (
        Limits as Limits,
        ServerSettings as ServerSettings,
        default_workers as default_workers,
    )
    from omop_emb.web.startup import ServeOptions as ServeOptions, run_server as run_server
    from omop_emb.web.state import ServerState as ServerState, server_state as server_state

__getattr__, __dir__ = lazy_names(__name__)
