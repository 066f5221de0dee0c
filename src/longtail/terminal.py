r"""Text that is safe to print: in any encoding, and without control characters from data.

Names of features, rows and files, and the README of a model, come from other people. A terminal
obeys the control characters in them; here they are shown as escapes, such as ``\x1b``. Files and
JSON keep the true names.
"""

from __future__ import annotations

import codecs
import io
import json
import os
import re
import sys
from typing import Any

from rich.console import Console
from rich.text import Text

__all__ = ["console", "json_line", "prepare_streams", "printable"]

# C0 but tab and newline, DEL, C1, lone surrogates, and what overrides the direction of text.
_UNSAFE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_READABLE = "longtail.readable"
# Signs of this library's own messages, for encodings that lack them.
_ASCII = {
    "ψ": "psi", "θ": "theta", "σ": "sigma", "μ": "mu", "α": "alpha", "β": "beta", "ε": "epsilon",
    "λ": "lambda", "Σ": "Sigma", "∂": "d", "−": "-", "–": "-", "→": "->", "←": "<-", "×": "x",
    "·": "*", "…": "...", "±": "+/-", "≤": "<=", "≥": ">=", "≈": "~", "²": "^2", "½": "1/2",
    "“": '"', "”": '"', "’": "'", "∞": "inf", "√": "sqrt", "ᵀ": "^T",
}  # fmt: skip


def printable(text: str) -> str:
    """Text with control characters as visible escapes; tabs and ends of lines stay."""
    return _UNSAFE.sub(lambda match: _escape(match[0]), text)


def console(*, stderr: bool = False) -> Console:
    """Give a console that prints names as they are: no markup, no emoji, no control characters."""
    return _Console(stderr=stderr, markup=False, emoji=False, highlight=False)


class _Console(Console):
    def render_str(self, text: str, **options: Any) -> Text:
        """Render text, made safe first."""
        return super().render_str(printable(text), **options)


def json_line(value: Any, encoding: str) -> str:
    """Encode a value as one line of JSON: ASCII unless the encoding is a Unicode one."""
    unicode = encoding.lower().startswith(("utf", "cp65001"))
    text = json.dumps(value, ensure_ascii=not unicode, allow_nan=False)
    return _UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def prepare_streams() -> None:
    """Let standard output and error show signs that their encoding lacks, instead of failing."""
    codecs.register_error(_READABLE, _in_ascii)
    if sys.stdout is None or sys.stderr is None:  # closed by the shell: `>&-`
        nowhere = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
        sys.stdout, sys.stderr = sys.stdout or nowhere, sys.stderr or nowhere
    for stream in (sys.stdout, sys.stderr):
        # Others were chosen by the user, with PYTHONIOENCODING.
        defaults = ("strict", "surrogateescape", "backslashreplace")
        if isinstance(stream, io.TextIOWrapper) and stream.errors in defaults:
            stream.reconfigure(errors=_READABLE)


def _in_ascii(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lost = error.object[error.start : error.end]
    return "".join(_ASCII.get(sign) or _escape(sign) for sign in lost), error.end


def _escape(sign: str) -> str:
    code = ord(sign)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
