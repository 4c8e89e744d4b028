"""YAML of settings: nothing in it costs more than it has characters, and every refusal is short."""

from __future__ import annotations

import pytest

from nst_core.config import StyleConfig, unknown_setting
from nst_core.errors import SENTENCE_LIMIT, ConfigError, JobError, PairError, shortened, shown
from nst_core.setting_text import parse_setting, parse_settings, parse_value
from nst_core.yaml_values import TEXT_LIMIT

BOMB = ", ".join(["&a0 [x, x]", *(f"&a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9))])


def refusal(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse_value(text)
    sentence = str(caught.value)
    assert sentence.endswith(".")
    assert "\n" not in sentence
    assert len(sentence) < 1000
    return sentence


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (f"[{BOMB}]", 'has "&a0", and anchors and aliases are not read'),
        ("&a 1", '"&a"'),
        ("*a", '"*a"'),
        ("{<<: *a}", '"*a"'),
        ("[" * 33 + "]" * 33, "nested more than 32 levels"),
        ("[" * TEXT_LIMIT, "nested more than 32 levels"),
        ("- " * 40 + "x", "nested more than 32 levels"),
        ("x" * (TEXT_LIMIT + 1), f"has {TEXT_LIMIT + 1} characters, over the limit"),
        ("{a: 1, b: 2, a: 3}", 'the key "a" twice'),
        ("1" * 1001, "a number of 1001 digits"),
        ("0x" + "f" * 60_000, "a number of 60002 digits"),
        ("1" + ":1" * 30_000, "a number of 60001 digits"),
        ("1" + ":11" * 300 + ":1.0", "to the base of 60"),
        ("40:26", '"40:26", in YAML a number to the base of 60'),
        ("1:30.5", '"1:30.5", in YAML a number to the base of 60'),
        ("0100", '"0100", in YAML a number to the base of 8; leave out the 0'),
        ("[1, -012]", '"-012", in YAML'),
        ("!" + "tag" * 10_000 + " x", "not YAML"),
        ("2020-13-45", "not YAML"),
    ],
)
def test_yaml_that_is_not_read_is_refused_in_a_short_sentence(text: str, reason: str) -> None:
    assert reason in refusal(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0),
        ("00", 0),
        ("007", 7),
        ("0.5", 0.5),
        ("0x1F", 31),
        ("1_000", 1000),
        ("'0100'", "0100"),
    ],
)
def test_zeros_in_front_that_change_nothing_are_read(text: str, value: object) -> None:
    assert parse_value(text) == value


@pytest.mark.parametrize("text", ["#N/A", " #DIV/0!", "#REF! # x"])
def test_an_error_of_a_spreadsheet_is_no_value(text: str) -> None:
    assert "is a comment in YAML and no value" in refusal(text)
    with pytest.raises(ConfigError, match="no value"):
        parse_setting("image_height", text)
    assert parse_value("64 # px") == 64


def test_values_within_the_bounds_are_read() -> None:
    deep = parse_value("[" * 32 + "x" + "]" * 32)
    for _ in range(32):
        (deep,) = deep
    assert deep == "x"
    assert parse_value("1" * 1000) == int("1" * 1000)
    assert parse_value("[a, a]") == ["a", "a"]
    assert parse_value("'&a'") == "&a"


def test_a_file_of_settings_has_the_same_bounds() -> None:
    for text in (f"steps: [{BOMB}]", "steps: 1\nseed: 2\nsteps: 3\n", "a: " + "[" * 100):
        with pytest.raises(ConfigError, match=r"^mine\.yaml .*\.$"):
            parse_settings(text, "mine.yaml")


def test_a_path_may_look_like_an_alias() -> None:
    assert parse_setting("init", "*a.png") == "*a.png"
    assert parse_setting("init", "&a b.png") == "&a b.png"


def test_a_sentence_about_a_setting_is_short_whatever_its_value() -> None:
    for key, value in (
        ("steps", ["x"] * 100_000),
        ("optimizer", "x" * 1_000_000),
        ("seed", 10**5000),
        ("style_layers", {"x" * 1_000_000: 1}),
    ):
        with pytest.raises(ConfigError, match=f"^{key} is ") as caught:
            StyleConfig().updated({key: value})
        assert len(str(caught.value)) < 500
    assert len(unknown_setting("x" * 1_000_000)) < SENTENCE_LIMIT


def test_every_error_keeps_its_start_and_its_advice_of_an_endless_sentence() -> None:
    for kind in (ConfigError, JobError, PairError):
        sentence = str(kind(f"The file {'x' * 100_000} does not exist; correct the name."))
        assert len(sentence) == SENTENCE_LIMIT
        assert sentence.startswith("The file xxx")
        assert sentence.endswith("; correct the name.")
        assert str(kind("Short.")) == "Short."


def test_a_value_is_shown_as_it_is_on_one_line() -> None:
    assert shown("a\nb") == '"a\\nb"'
    assert shown("写真 é") == '"写真 é"'
    # What turns the direction of writing, prints nothing or looks like a space.
    assert shown("a\u202eb\u200bc\u00a0d\ud800") == '"a\\u202eb\\u200bc\\u00a0d\\ud800"'
    assert shown({"a": [1, None]}) == '{"a": [1, null]}'
    assert shown("x" * 500) == '"' + "x" * 199 + "…"
    assert shortened("abcdefgh", 5) == "ab…gh"


def test_no_terminal_obeys_a_name_in_an_error_s_sentence() -> None:
    name = "a\x1b[2J\x9b31m\r\nb\u202egpj\u2028 é 写真"
    for kind in (ConfigError, JobError, PairError):
        assert str(kind(f"{name} does not exist.")) == (
            r"a\u001b[2J\u009b31m\u000d\u000ab\u202egpj\u2028 é 写真 does not exist."
        )
