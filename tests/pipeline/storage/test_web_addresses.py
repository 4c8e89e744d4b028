"""Addresses that are not to be asked, or not to be shown: however they are written."""

from __future__ import annotations

import json
from collections.abc import Iterator
from urllib.parse import quote

import pytest

from pipeline import storage
from pipeline.storage.credentials import names_user
from pipeline.storage.web_addresses import PrivateAddressError, allow_private, check_address

PRIVATE = [
    "127.0.0.1",
    "127.8.9.10",
    "0.0.0.0",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "100.64.0.1",
    "169.254.169.254",
    "168.63.129.16",
    "::ffff:168.63.129.16",
    "192.0.0.1",
    "198.18.0.1",
    "203.0.113.9",
    "224.0.1.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::808:808",
    "2002:7f00:1::",
    "2001:db8::1",
    "2001::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
    "ff0e::1",
]
PUBLIC = ["8.8.8.8", "93.184.216.34", "2606:4700::1111", "64:ff9b::808:808", "::ffff:8.8.8.8"]
# Ways of writing 127.0.0.1 that the system takes too.
DISGUISED = ["2130706433", "127.1", "0x7f000001", "0177.0.0.1", "localhost"]


@pytest.fixture(autouse=True)
def _not_allowed() -> Iterator[None]:
    allow_private(False)
    yield
    allow_private(False)


@pytest.mark.parametrize("address", [*PRIVATE, *DISGUISED])
def test_what_only_this_machine_reaches_is_refused(address: str) -> None:
    with pytest.raises(PrivateAddressError):
        check_address(address)
    allow_private(True)
    check_address(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_what_everybody_reaches_is_not(address: str) -> None:
    check_address(address)


@pytest.mark.parametrize(
    "password",
    ["SECRET", "my SECRET", 'a"SECRET', "a\\SECRET", *(f"a{one}SECRET" for one in "#/?@")],
)
def test_a_url_with_a_password_of_any_characters_is_refused_and_hidden(password: str) -> None:
    url = f"https://user:{password}@shop.example/a.jpg"
    with pytest.raises(
        storage.NoFilesystem, match=r"https://\*\*\*@shop\.example/a\.jpg has a user"
    ):
        storage.read_bytes(url)
    cell = json.dumps([{"uri": url}, "b.jpg"])
    row = {"content": url, "style": cell, "note": "größe", "error": "no, ask me@shop.example"}
    for ascii_only in (True, False):
        shown = storage.without_credentials(json.dumps(row, ensure_ascii=ascii_only))
        assert "SECRET" not in shown
        safe = "https://***@shop.example/a.jpg"
        assert json.loads(shown) == {
            **row,
            "content": safe,
            "style": json.dumps([{"uri": safe}, "b.jpg"]),
        }


@pytest.mark.parametrize("value", ["SECRET", "a,SECRET", "a SECRET", 'a"SECRET', "a;'SECRET"])
def test_a_key_of_any_characters_is_hidden_up_to_the_next_parameter(value: str) -> None:
    url, safe = f"https://h/a.jpg?token={value}&w=3", "https://h/a.jpg?token=***&w=3"
    assert storage.without_credentials(url) == safe
    row = {"content": url, "error": f"{safe} does not exist, me@shop.example: correct the URL."}
    assert json.loads(storage.without_credentials(json.dumps(row))) == {**row, "content": safe}


@pytest.mark.parametrize(
    "name",
    [
        *("x-oss-signature", "X-Cos-Security-Token", "X-Amz-Credential", "x-goog-signature"),
        *("q-signature", "subscription-key", "client_secret", "rlkey", "x-api-key", "sig"),
    ],
)
def test_the_keys_of_every_large_provider_are_hidden(name: str) -> None:
    url = f"https://h/a.jpg?w=3&{name}=SECRET&x-date-format=1"
    assert storage.without_credentials(url) == url.replace("SECRET", "***")
    assert "SECRET" not in storage.without_credentials(f"{url} does not exist.")


@pytest.mark.parametrize("escaped", [1, 2])
def test_a_key_in_an_address_that_is_another_s_parameter_is_hidden(escaped: int) -> None:
    def within(key: str) -> str:
        inner = f"https://h/a.jpg?X-Amz-Date=1&X-Amz-Signature={key}&v=2#top"
        for _ in range(escaped):
            inner = quote(inner, safe="*")
        return f"https://img.example/resize?url={inner}&w=3"

    assert storage.without_credentials(within("SECRET%2B")) == within("***")
    row = {"content": within("SECRET"), "error": f"{within('SECRET')} does not exist."}
    assert "SECRET" not in storage.without_credentials(json.dumps(row))
    with pytest.raises(storage.NoFilesystem, match="the manifest that has it"):
        storage.read_bytes(within("***"))


def test_a_key_behind_an_escaped_ampersand_is_hidden() -> None:
    hidden = storage.without_credentials("https://h/a.jpg?w=3&amp;sig=SECRET&amp;v=2")
    assert hidden == "https://h/a.jpg?w=3&amp;sig=***&amp;v=2"


@pytest.mark.parametrize(
    "text",
    [
        "https://h.example/@user/a@2x.jpg",
        "https://h.example:8080/@user:x/a@2x.jpg?by=me@h",
        "https://[2001:db8::1]/a@2x.jpg",
        "see https://h.example/a b, or ask me@h.example",
        '{"content": "https://h.example/a.jpg", "note": "c/o: me@h.example"}',
        "gs://bucket/user:me@h/a.jpg",
        "https://h.example/resize?url=https%3A%2F%2Fh%2Fa.jpg%3Fw%3D3%26mytoken%3D4",
        '[job] https://h.example/a.jpg "\\x, me@h',
    ],
)
def test_what_is_no_credential_stays(text: str) -> None:
    assert storage.without_credentials(text) == text
    assert not names_user(text)


def test_texts_of_a_million_characters_are_soon_looked_through() -> None:
    for part in (":", '\\"', "https://", "?token=", '["', "%3Ftoken%3D", "%2525"):
        text = 1_000_000 // len(part) * part
        for whole in (f"https://{text}", f'["https://{text}', f"https://{text}@", f'["{text}@://'):
            assert storage.without_credentials(whole)
