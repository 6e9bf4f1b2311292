"""Values of YAML 1.1, as PyYAML, and so W&B, reads them."""

import re

_NULL = re.compile(r"null|Null|NULL|~|")
_TRUE = re.compile(r"true|yes|on|True|Yes|On|TRUE|YES|ON")
_FALSE = re.compile(r"false|no|off|False|No|Off|FALSE|NO|OFF")
_BASES = {  # a colon separates digits of base 60
    re.compile(r"0b[01_]{1,10000}"): 2,
    re.compile(r"0x[0-9a-fA-F_]{1,3000}"): 16,
    re.compile(r"0[0-7_]{1,4000}"): 8,
    re.compile(r"0|[1-9][0-9_]{0,4000}"): 10,
    re.compile(r"[1-9][0-9_]{0,2000}(:[0-5]?[0-9]){1,1000}"): 60,
}
_FLOAT = re.compile(r"([-+]?[0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*)([eE][-+][0-9]+)?")
_SEXAGESIMAL = re.compile(r"[0-9][0-9_]{0,200}(:[0-5]?[0-9]){1,50}\.[0-9_]*")
_INFINITE = re.compile(r"([-+]?)\.(inf|Inf|INF)")
_NOT_A_NUMBER = re.compile(r"\.(nan|NaN|NAN)")


def resolve_1_1(text: str) -> str | int | float | bool | None:
    """The value of a plain scalar by YAML 1.1, as PyYAML reads it: `no` is false, 1e-3 text, 010 eight."""
    if _NULL.fullmatch(text):
        return None
    if _TRUE.fullmatch(text):
        return True
    if _FALSE.fullmatch(text):
        return False
    if infinite := _INFINITE.fullmatch(text):
        return float(infinite[1] + "inf")
    if _NOT_A_NUMBER.fullmatch(text):
        return float("nan")
    sign, digits = (-1 if text[0] == "-" else 1), text[1:] if text[0] in "+-" else text
    base = next((base for pattern, base in _BASES.items() if pattern.fullmatch(digits)), None)
    plain = digits.replace("_", "")
    if base == 60 or _SEXAGESIMAL.fullmatch(digits):
        number: float = 0
        for part in plain.split(":"):
            number = number * 60 + (float(part) if "." in part else int(part))
        return sign * number
    if base is not None and plain not in ("0b", "0x"):
        return sign * int(plain, base)
    return float(text.replace("_", "")) if _FLOAT.fullmatch(text) else text
