"""What CPython's hashes would be with a given seed."""

from __future__ import annotations

import sys

_MASK = 2**64 - 1
_ROUNDS = {"siphash13": (1, 3), "siphash24": (2, 4)}  # per block of 8 bytes, and at the end


def is_in_force(seed: int) -> bool | None:
    """Say whether this process' hashes of strings are those of ``PYTHONHASHSEED=seed``.

    The variable may have been set after the interpreter had started, which changes nothing but looks as if.

    Parameters
    ----------
    seed : int
        From 0 to 4294967295.

    Returns
    -------
    bool or None
        None where an interpreter is at work whose hashes are not known here.
    """
    rounds = _ROUNDS.get(sys.hash_info.algorithm)
    if rounds is None or sys.implementation.name != "cpython" or sys.hash_info.width != 64:
        return None
    data = b"capture"  # less than a block, so that the last block is the only one
    return hash(data) == _signed(_siphash(*_key(seed), data, *rounds))


def _key(seed: int) -> tuple[int, int]:
    """Return the two words that the hashes are keyed with: 0 for seed 0, else of a linear congruential generator."""
    state, key = seed, bytearray()
    for _ in range(16):
        state = (state * 214013 + 2531011) % 2**32
        key.append(state >> 16 & 0xFF if seed else 0)
    return int.from_bytes(key[:8], "little"), int.from_bytes(key[8:], "little")


def _siphash(k0: int, k1: int, data: bytes, block_rounds: int, last_rounds: int) -> int:
    """SipHash of up to 7 bytes; Aumasson & Bernstein (2012), Indocrypt."""
    block = len(data) << 56 | int.from_bytes(data, "little")
    state = (k0 ^ 0x736F6D6570736575, k1 ^ 0x646F72616E646F6D, k0 ^ 0x6C7967656E657261, k1 ^ 0x7465646279746573 ^ block)
    for _ in range(block_rounds):
        state = _round(*state)
    v0, v1, v2, v3 = state
    state = (v0 ^ block, v1, v2 ^ 0xFF, v3)
    for _ in range(last_rounds):
        state = _round(*state)
    return state[0] ^ state[1] ^ state[2] ^ state[3]


def _round(v0: int, v1: int, v2: int, v3: int) -> tuple[int, int, int, int]:
    v0 = (v0 + v1) & _MASK
    v1 = _rotated(v1, 13) ^ v0
    v0 = _rotated(v0, 32)
    v2 = (v2 + v3) & _MASK
    v3 = _rotated(v3, 16) ^ v2
    v0 = (v0 + v3) & _MASK
    v3 = _rotated(v3, 21) ^ v0
    v2 = (v2 + v1) & _MASK
    v1 = _rotated(v1, 17) ^ v2
    return v0, v1, _rotated(v2, 32), v3


def _rotated(word: int, bits: int) -> int:
    return (word << bits | word >> (64 - bits)) & _MASK


def _signed(word: int) -> int:
    number = word - 2**64 if word >= 2**63 else word
    return -2 if number == -1 else number  # -1 is an error in C
