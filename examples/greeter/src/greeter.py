"""Greets whoever is named on its command line. Small, but built, tested and released for real."""

import sys

VERSION = "1.0.0"


def greeting(name: str) -> str:
    return f"Hello, {name.strip() or 'world'}!"


def main() -> None:
    name = " ".join(sys.argv[1:])
    sys.stdout.write(f"greeter {VERSION}: {greeting(name)}\n")
