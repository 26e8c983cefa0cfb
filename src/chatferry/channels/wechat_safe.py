"""WeChat's signatures, and the encryption of its safe and its compatible mode."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
from collections.abc import Callable

from chatferry.errors import Rejected

_BLOCK = 32
"""WeChat pads to twice the block of AES."""
_SALT = 16
_LENGTH = 4


def signature(*parts: str) -> str:
    """Of token, timestamp and nonce; `msg_signature` where the encrypted text is with them."""
    told = "".join(sorted(parts)).encode("utf-8", "surrogatepass")
    return hashlib.sha1(told).hexdigest()  # noqa: S324 - WeChat's choice


def same(given: str, right: str) -> bool:
    """Compared in constant time, whatever was given."""
    return hmac.compare_digest(given.encode("utf-8", "replace"), right.encode())


class Safe:
    """Encrypts for one account: AES-256-CBC over salt, length, message and app id."""

    def __init__(self, aes_key: str, app_id: str, random: Callable[[int], bytes] = os.urandom) -> None:
        """`aes_key`: the EncodingAESKey, 43 characters."""
        from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

        key = base64.b64decode(f"{aes_key}=")
        self._cipher = Cipher(algorithms.AES(key), modes.CBC(key[:16]))
        self._app_id = app_id.encode()
        self._random = random

    def open(self, encrypted: str) -> bytes:
        """The message. Raises Rejected(400) with one reason for all that may be wrong with it."""
        if (packed := self._unpadded(encrypted)) is not None:
            end = _SALT + _LENGTH + int.from_bytes(packed[_SALT : _SALT + _LENGTH], "big")
            if packed[end:] == self._app_id:
                return packed[_SALT + _LENGTH : end]
        raise Rejected(400, "cannot be decrypted: are aes_key and app_id those of this account?")

    def _unpadded(self, encrypted: str) -> bytes | None:
        try:
            data = base64.b64decode(encrypted, validate=True)
        except (binascii.Error, ValueError):  # ValueError: not even ASCII
            return None
        if not data or len(data) % _BLOCK:
            return None
        decryptor = self._cipher.decryptor()
        padded = decryptor.update(data) + decryptor.finalize()
        count = padded[-1]
        return padded[:-count] if 1 <= count <= _BLOCK and padded.endswith(bytes([count]) * count) else None

    def shut(self, message: bytes) -> str:
        """The message, encrypted."""
        packed = self._random(_SALT) + len(message).to_bytes(_LENGTH, "big") + message + self._app_id
        count = _BLOCK - len(packed) % _BLOCK
        encryptor = self._cipher.encryptor()
        return base64.b64encode(encryptor.update(packed + bytes([count]) * count) + encryptor.finalize()).decode()
