"""What in a web address or an option lets its holder in: kept out of records, logs and messages."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

HIDDEN = "***"
# A user's name and password before the host.
_USER = re.compile(r"(?i)\b(https?://)([^/?#\"\\\s]*@)")
_WEB = re.compile(r"(?i)\s*https?:/{2,}")
# What signed addresses and keys of interfaces are called: of S3, Cloud Storage, CloudFront, Azure,
# Alibaba, Tencent, Dropbox.
_NAMES = (
    "x-[a-z]+-(?:signature|credential|security-token)|q-signature|x-api-key|subscription-key"
    "|client_secret|refresh_token|id_token|private_token|passwd|rlkey"
    "|signature|sig|awsaccesskeyid|googleaccessid|key-pair-id|policy"
    "|token|access_token|auth_token|auth|hdnea|hdnts|api_key|apikey|password|secret|jwt"
)
# As HTML has the sign between two parameters, too.
_SIGN = "[?&](?:amp;)?"
_SIGNED = re.compile(rf"(?i)({_SIGN}(?:{_NAMES})=)([^&#\"'\\\s,;|<>]+)")
# In an address that stands alone, whatever it has in it; what is hidden already ends where it does.
_SIGNED_ALONE = re.compile(rf"(?i)({_SIGN}(?:{_NAMES})=)(?!{re.escape(HIDDEN)})[^&#]+")
# In the address that is a parameter of another one, escaped once or more.
_SIGNED_INSIDE = re.compile(
    rf"(?i)(%(?:25)*(?:3F|26)(?:{_NAMES})%(?:25)*3D)((?:(?!%(?:25)*(?:26|23))[^&#\"'\\\s,;|<>])+)"
)
# Of Beam's filesystems: --s3_secret_access_key, --s3_session_token, --azure_connection_string.
_OPTION = re.compile(r"(?i)--[\w-]*(?:secret|token|password|access_key|connection_string)[\w-]*")
_JSON_STRING = re.compile(r'"(?:[^"\\]|\\.)*"?', re.DOTALL)


def without_credentials(text: str) -> str:
    """The text with `***` for user names, passwords and signatures of the web addresses in it.

    One that is the text, or a string in a text of JSON, may have any characters in these.
    """
    if "://" not in text:  # As most are.
        return text
    if text[0] in "{[":
        text = _JSON_STRING.sub(_string_without_credentials, text)
    elif web := _WEB.match(text):
        if host := _after_user(text):
            text = f"{web[0]}{HIDDEN}@{text[host:]}"
        text = _SIGNED_ALONE.sub(rf"\1{HIDDEN}", text)
    if "%" in text:
        text = _SIGNED_INSIDE.sub(rf"\1{HIDDEN}", text)
    return _SIGNED.sub(rf"\1{HIDDEN}", _USER.sub(rf"\1{HIDDEN}@", text))


def without_keys(words: Iterable[str]) -> list[str]:
    """The words of a command line with `***` for the values of options that are keys."""
    shown: list[str] = []
    is_value = False
    for word in words:
        name, equals, _ = word.partition("=")
        is_key = _OPTION.fullmatch(name) is not None
        if is_value and not is_key:
            shown.append(HIDDEN)
        else:
            shown.append(f"{name}={HIDDEN}" if is_key and equals else word)
        is_value = is_key and not equals
    return shown


def _string_without_credentials(found: re.Match[str]) -> str:
    if "://" not in found[0]:
        return found[0]
    try:
        value = json.loads(found[0], strict=False)
    except ValueError:
        return found[0]  # Of a text that is no JSON.
    shown = without_credentials(value)
    return found[0] if shown == value else json.dumps(shown, ensure_ascii=found[0].isascii())


def _after_user(uri: str) -> int:
    """Where the host begins that stands behind a user's name or password; 0 where there is none.

    What should be a port and is no number is the beginning of a password: it may have `/`, `?` and
    `#` in it, which end the host's part of an address.
    """
    web = _WEB.match(uri)
    if web is None:
        return 0
    part = re.split("[/?#]", uri[web.end() :], maxsplit=1)[0]
    name, colon, port = part.partition(":")
    if colon and not name.startswith("[") and "@" not in name and not port.isdecimal():
        return uri.rfind("@") + 1
    return web.end() + part.rfind("@") + 1 if "@" in part else 0


def names_user(uri: str) -> bool:
    """Whether a web address has a user's name or password in it, or what may be one."""
    return _after_user(uri) > 0


def has_hidden(uri: str) -> bool:
    """Whether something in a web address was hidden before: nobody can be asked for it any more."""
    return re.search(rf"(?i)(?:=|%(?:25)*3D){re.escape(HIDDEN)}", uri) is not None
