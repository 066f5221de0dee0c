"""What is printed is safe for terminals, in any encoding; JSON keeps what is true."""

from __future__ import annotations

import io
import json
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longtail.terminal import console, json_line, prepare_streams, printable

TEXT = st.text(st.characters(), max_size=20)  # with surrogates and control characters
ESCAPES = "\x1b[2J\x9b31m\x07\x00\x7f\r\u202eabc\u2066\ud83d"


def stream(encoding, errors="strict"):
    return io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors=errors, newline="\n")


def written(to):
    to.flush()
    return to.buffer.getvalue().decode(to.encoding)


@given(TEXT)
def test_no_control_characters_are_printed(text):
    shown = printable(text)
    assert not [c for c in shown if unicodedata.category(c) in ("Cc", "Cs") and c not in "\t\n"]
    assert not set(shown) & set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
    assert printable(shown) == shown
    if text.isprintable():
        assert shown == text


def test_escapes_are_visible():
    assert printable(ESCAPES) == (r"\x1b[2J\x9b31m\x07\x00\x7f\x0d\u202eabc\u2066\ud83d")
    assert printable("one\ttwo\nعربي 日本") == "one\ttwo\nعربي 日本"


@pytest.mark.parametrize(
    "name", ["[bold]x[/bold]", "[/]", "[red]", ":heart:", "a:smile:b", "\\[x]", "{task}", "x" * 300]
)
@pytest.mark.parametrize("stderr", [False, True])
def test_names_are_no_markup(name, stderr, capsys):
    console(stderr=stderr).print(f"name {name}", soft_wrap=True)
    printed = capsys.readouterr()
    assert (printed.err if stderr else printed.out) == f"name {name}\n"


@given(TEXT)
@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8", "utf-16"])
def test_json_is_valid_in_any_encoding_and_true(encoding, text):
    line = json_line({"name": text}, encoding)
    assert json.loads(line.encode(encoding).decode(encoding)) == {"name": text}
    assert line == printable(line)


def test_json_is_readable_in_utf_8():
    assert json_line({"ψ": "café 日本"}, "utf-8") == '{"ψ": "café 日本"}'


@pytest.mark.parametrize(
    ("encoding", "expected"),
    [
        ("ascii", r"psi* -> -1 x 2 +/- ... \xe9 \u65e5 \U0001f600"),
        ("cp1252", r"psi* -> -1 × 2 ± … é \u65e5 \U0001f600"),
        ("utf-8", "ψ* → −1 × 2 ± … é 日 😀"),
    ],
)
@pytest.mark.parametrize("errors", ["strict", "surrogateescape", "backslashreplace"])
def test_signs_that_an_encoding_lacks(encoding, errors, expected, monkeypatch):
    monkeypatch.setattr(sys, "stdout", stream(encoding, errors))
    prepare_streams()
    print("ψ* → −1 × 2 ± … é 日 😀", end="")
    assert written(sys.stdout) == expected


def test_what_the_user_chose_stays(monkeypatch):
    monkeypatch.setattr(sys, "stderr", stream("ascii", "ignore"))
    prepare_streams()
    print("ψ*", end="", file=sys.stderr)
    assert written(sys.stderr) == "*"


@given(TEXT)
@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "cp437", "koi8-r", "utf-8"])
def test_any_text_in_any_encoding(encoding, text):
    prepare_streams()
    to = stream(encoding, "longtail.readable")
    to.write(printable(text))
    assert written(to).isascii() or encoding != "ascii"


def test_streams_that_are_closed(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    prepare_streams()
    print("to nowhere")
    sys.stdout.close()
