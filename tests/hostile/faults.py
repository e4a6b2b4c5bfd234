"""Faults that any file, name or value can have, to be combined with every kind of
input."""

from __future__ import annotations

import os
import shutil
import socket
import zlib
from collections.abc import Callable
from contextlib import chdir
from pathlib import Path
from typing import Any

import numpy as np

Bytes = Callable[[bytes, np.random.Generator], bytes]


def _flipped(count: int) -> Bytes:
    def flip(data: bytes, rng: np.random.Generator) -> bytes:
        out = bytearray(data)
        for place in rng.integers(0, len(out), min(count, len(out))):
            out[place] ^= int(rng.integers(1, 256))
        return bytes(out)

    return flip


def _filled(value: int, start: float, stop: float) -> Bytes:
    def fill(data: bytes, rng: np.random.Generator) -> bytes:
        first = int(len(data) * start)
        last = int(len(data) * stop)
        return data[:first] + bytes([value]) * (last - first) + data[last:]

    return fill


_LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n"
CONTENT: dict[str, Bytes] = {
    "empty": lambda data, rng: b"",
    "one byte": lambda data, rng: data[:1],
    "cut at 16 bytes": lambda data, rng: data[:16],
    "cut at a tenth": lambda data, rng: data[: len(data) // 10],
    "cut at half": lambda data, rng: data[: len(data) // 2],
    "cut near the end": lambda data, rng: data[: len(data) * 95 // 100],
    "last byte lost": lambda data, rng: data[:-1],
    "one byte flipped": _flipped(1),
    "16 bytes flipped": _flipped(16),
    "500 bytes flipped": _flipped(500),
    "head zeroed": _filled(0, 0, 0.05),
    "middle zeroed": _filled(0, 0.4, 0.6),
    "tail of ones": _filled(255, 0.8, 1),
    "all zero": _filled(0, 0, 1),
    "noise": lambda data, rng: rng.integers(
        0, 256, max(len(data), 64), np.uint8
    ).tobytes(),
    "junk before": lambda data, rng: (
        rng.integers(0, 256, 100, np.uint8).tobytes() + data
    ),
    "twice": lambda data, rng: data * 2,
    "a web page": lambda data, rng: (
        b"<!doctype html><html><body>Not found</body></html>"
    ),
    "a pickle": lambda data, rng: (
        b"\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00\x8c\x07builtin\x94."
    ),
    "a zip file": lambda data, rng: b"PK\x05\x06" + bytes(18),
    "a pointer of Git LFS": lambda data, rng: _LFS,
}


def damage(data: bytes, fault: str, key: str = "") -> bytes:
    """Data with one of `CONTENT`; random numbers follow from the key, by default the
    fault's name."""
    return CONTENT[fault](
        data, np.random.default_rng(zlib.crc32((key or fault).encode()))
    )


def _socket(path: Path) -> None:
    with chdir(path.parent), socket.socket(socket.AF_UNIX) as end:
        end.bind(path.name)  # short enough


def _link(target: str) -> Callable[[Path], None]:
    return lambda path: path.symlink_to(target)


SPECIAL: dict[str, Callable[[Path], None]] = {
    "a pipe": os.mkfifo,
    "a folder": Path.mkdir,
    "a socket": _socket,
    "missing": lambda path: None,
    "a link to nothing": _link("nowhere"),
    "a link to itself": lambda path: path.symlink_to(path.name),
    "a link to endless zeros": _link("/dev/zero"),
    "a link to nothing at all": _link("/dev/null"),
    "a link to a full device": _link("/dev/full"),
    "a link to a terminal": _link("/dev/tty"),
    "a link to a process's memory": _link("/proc/self/mem"),
}


def put(path: Path, kind: str) -> None:
    """Put one of `SPECIAL` in the place of what is there."""
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    SPECIAL[kind](path)


def damage_file(path: Path, fault: str, key: str = "") -> None:
    """Damage a file in its place."""
    replace_file(path, damage(path.read_bytes(), fault, key))


def replace_file(path: Path, data: bytes) -> None:
    """Write a file anew, not through a link, and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.write_bytes(data)


TEXT = {
    "empty": "",
    "blank": "  \t ",
    "control characters": "a\x1b[31mred\x07\x00\x08",
    "new lines": "a\nerror: b: c.\nd",
    "zero width": "\u200b\u200d\ufeff",
    "right to left": "\u202eabc\u202c",
    "lone surrogate": "a\ud800b",
    "900,000 characters": "x" * 900_000,
    "100,000 spaces": " " * 100_000 + "x",
    "100,000 digits": "1" * 100_000,
    "100,000 brackets": "[" * 100_000,
    "a path upwards": "../../etc/passwd",
    "an absolute path": "/etc/passwd",
    "percent": "%s%n%d{0}{x}",
    "a URL": "http://169.254.169.254/latest",
    "emoji": "\U0001f9d1\u200d\U0001f680" * 40,
    "a template": "${alert(1)}{{7*7}}<img src=x onerror=alert(1)>",
    "combining marks": "e" + "\u0301" * 5000,
    "a null": "a\0b",
}

# Values as JSON has them, by what is odd about them.
VALUES: dict[str, Any] = {
    "null": None,
    "true": True,
    "false": False,
    "zero": 0,
    "minus one": -1,
    "one and a half": 1.5,
    "a whole float": 1.0,
    "10**30": 10**30,
    "1e308": 1e308,
    "-1e308": -1e308,
    "tiny": 5e-324,
    "a list": [],
    "a list of lists": [[[[]]]],
    "10,000 entries": [0] * 10_000,
    "10**400": 10**400,
    "an object": {},
    "an odd object": {"": {"": None}, "a\x1b": 1},
    "an object of 1000": {str(i): i for i in range(1000)},
    "mixed": [1, "a", None, {"b": [True]}],
}
VALUES |= {f"text: {name}": text for name, text in TEXT.items()}

NAMES = {
    "control characters": "a\x1b[31m\x07b",
    "a new line": "a\nb",
    "not UTF-8": "a\udcff\udcfeb",
    "255 bytes": "n" * 240,
    "a leading dash": "-n",
    "spaces": "  a  b  ",
    "right to left": "\u202eabc",
    "emoji": "\U0001f600\U0001f600",
    "odd digits": "²³½٣",
    "percent": "%05d%s",
    "glob": "[a-z]*?",
    "quotes": "'\"`$(x)",
    "a colon": "file:a",
    "looks like a pattern": "a%03d",
}
