"""AWS signing: httpx requests signed with the AWS credentials of the user, as botocore finds them."""

from __future__ import annotations

import re
from collections.abc import Generator
from typing import Any

from omop_emb import config
from omop_emb.errors import ConfigurationError


def signing(source: str) -> Any:
    """An httpx.Auth that signs each request (Signature Version 4) for Bedrock.

    Raises:
        ConfigurationError: there are no credentials, or no region.
        ImportError: botocore is not installed.
    """
    import httpx
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.exceptions import BotoCoreError
    from botocore.session import Session

    try:
        credentials = Session().get_credentials()
    except BotoCoreError as error:
        raise ConfigurationError(_sign_in(source, type(error).__name__)) from None
    if credentials is None:
        raise ConfigurationError(_sign_in(source, "none were found"))
    region = config.variable("AWS_REGION") or config.variable("AWS_DEFAULT_REGION")
    if region is None or re.fullmatch(r"[a-z0-9-]+", region) is None:
        raise ConfigurationError(f"{source} needs AWS_REGION, such as us-east-1: export it")

    class Signing(httpx.Auth):
        requires_request_body = True

        def auth_flow(self, request: Any) -> Generator[Any, Any, None]:
            headers = {"Host": request.headers["host"], "Content-Type": request.headers["content-type"]}
            signed = AWSRequest("POST", str(request.url), data=request.content, headers=headers)
            # Frozen for each request: credentials of a role are renewed before they end.
            SigV4Auth(credentials.get_frozen_credentials(), "bedrock", region).add_auth(signed)
            for name in ("Authorization", "X-Amz-Date", "X-Amz-Security-Token"):
                if name in signed.headers:
                    request.headers[name] = signed.headers[name]
            yield request

    return Signing()


def _sign_in(source: str, problem: str) -> str:
    return (
        f"{source} needs AWS credentials ({problem}): set AWS_BEARER_TOKEN_BEDROCK to a key of Bedrock, or "
        "sign in with aws configure or aws sso login"
    )
