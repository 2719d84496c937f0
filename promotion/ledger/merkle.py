"""The Merkle tree of RFC 6962, section 2.1: leaf prefix 0x00, node prefix 0x01, SHA-256.

Appending needs only the frontier: the roots of the perfect subtrees that a tree of n leaves
consists of, from left (largest) to right. Their sizes are the powers of two in n.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

EMPTY_ROOT = hashlib.sha256(b"").digest()


def leaf_hash(body: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + body).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


@dataclass(frozen=True, slots=True)
class Frontier:
    """A tree of `size` leaves, known by the roots of its perfect subtrees."""

    size: int = 0
    subtrees: tuple[bytes, ...] = ()

    def append(self, leaf: bytes) -> "Frontier":
        subtrees, node, size = list(self.subtrees), leaf, self.size
        # Each trailing one bit of the size is a perfect subtree that the new leaf completes.
        while size & 1:
            node = node_hash(subtrees.pop(), node)
            size >>= 1
        return Frontier(self.size + 1, (*subtrees, node))

    @property
    def root(self) -> bytes:
        if not self.subtrees:
            return EMPTY_ROOT
        *rest, root = self.subtrees
        for subtree in reversed(rest):
            root = node_hash(subtree, root)
        return root


def grow(leaves: Iterable[bytes], start: Frontier | None = None) -> Frontier:
    """The frontier after appending leaf hashes one by one."""
    frontier = start or Frontier()
    for leaf in leaves:
        frontier = frontier.append(leaf)
    return frontier
