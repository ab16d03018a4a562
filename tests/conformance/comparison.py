"""Where two values differ, by path; as long texts are cut, a list of these can be read."""

from __future__ import annotations

import json


def differences(expected, found, path: str = "") -> list[str]:
    """One line for each place."""
    if isinstance(expected, dict) and isinstance(found, dict):
        lines = []
        for key in sorted(expected.keys() | found.keys()):
            inner = f"{path}.{key}" if path else key
            if key not in found:
                lines.append(f"{inner}: missing, expected {shown(expected[key])}")
            elif key not in expected:
                lines.append(f"{inner}: not expected, found {shown(found[key])}")
            else:
                lines += differences(expected[key], found[key], inner)
        return lines
    if isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        pairs = enumerate(zip(expected, found, strict=True))
        return [line for index, (one, other) in pairs for line in differences(one, other, f"{path}[{index}]")]
    return [] if expected == found else [f"{path}: expected {shown(expected)}, found {shown(found)}"]


def shown(value) -> str:
    text = json.dumps(value, sort_keys=True, ensure_ascii=False)
    return text if len(text) <= 160 else text[:157] + "…"
