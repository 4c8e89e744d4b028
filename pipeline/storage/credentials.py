"""What in a web address lets its holder in: kept out of records, logs and messages."""

from __future__ import annotations

import re

HIDDEN = "***"
# A user's name and password before the host.
_USER = re.compile(r"(?i)\b(https?://)([^/?#\"\\\s]*@)")
# What signed addresses and keys of interfaces are called: of S3, Cloud Storage, CloudFront, Azure.
_NAMES = (
    "x-amz-signature|x-amz-credential|x-amz-security-token|x-goog-signature|x-goog-credential"
    "|signature|sig|awsaccesskeyid|googleaccessid|key-pair-id|policy"
    "|token|access_token|auth_token|auth|hdnea|hdnts|api_key|apikey|password|secret|jwt"
)
_SIGNED = re.compile(rf"(?i)([?&](?:{_NAMES})=)([^&#\"'\\\s,;|<>]+)")


def without_credentials(text: str) -> str:
    """The text with `***` for user names, passwords and signatures of the web addresses in it."""
    if "://" not in text:  # As most are.
        return text
    return _SIGNED.sub(rf"\1{HIDDEN}", _USER.sub(rf"\1{HIDDEN}@", text))


def names_user(uri: str) -> bool:
    """Whether a web address has a user's name or password in it."""
    return _USER.match(uri) is not None


def has_hidden(uri: str) -> bool:
    """Whether something in a web address was hidden before: nobody can be asked for it any more."""
    return f"={HIDDEN}" in uri
