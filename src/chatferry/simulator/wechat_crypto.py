"""How WeChat signs and encrypts what it sends to a bot, and checks what comes back."""

from __future__ import annotations

import base64
import binascii
import hashlib
import secrets

_BLOCK = 32
"""WeChat pads to 32 bytes, twice the block of AES."""
_SALT = 16


def signature(*parts: str) -> str:
    """Of token, timestamp and nonce; `msg_signature` if the encrypted text is with them."""
    return hashlib.sha1("".join(sorted(parts)).encode()).hexdigest()  # noqa: S324 - WeChat's choice


class Safe:
    """Encrypts for one account. What does not open raises ValueError."""

    def __init__(self, aes_key: str, app_id: str) -> None:
        """`aes_key` is the EncodingAESKey: 43 characters. Raises ImportError where what encrypts is not installed."""
        try:
            from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
        except ImportError:
            raise ImportError("to encrypt for WeChat, install 'chatferry[wechat]'") from None
        key = base64.b64decode(aes_key + "=")
        self._cipher = Cipher(algorithms.AES(key), modes.CBC(key[:16]))
        self._app_id = app_id.encode()

    def shut(self, message: bytes, salt: bytes = b"") -> str:
        """`salt` is 16 bytes at random, unless a test wants to know them."""
        packed = (salt or secrets.token_bytes(_SALT)) + len(message).to_bytes(4, "big") + message + self._app_id
        short = _BLOCK - len(packed) % _BLOCK
        encryptor = self._cipher.encryptor()
        return base64.b64encode(encryptor.update(packed + bytes([short]) * short) + encryptor.finalize()).decode()

    def open(self, encrypted: str) -> bytes:
        try:
            data = base64.b64decode(encrypted, validate=True)
        except binascii.Error:
            raise ValueError("not base64") from None
        if not data or len(data) % _BLOCK:
            raise ValueError("not whole blocks of 32 bytes")
        decryptor = self._cipher.decryptor()
        packed = decryptor.update(data) + decryptor.finalize()
        if not 1 <= packed[-1] <= _BLOCK or packed[-packed[-1] :] != packed[-1:] * packed[-1]:
            raise ValueError("wrong padding")
        packed = packed[_SALT : -packed[-1]]
        end = 4 + int.from_bytes(packed[:4], "big")
        if packed[end:] != self._app_id:
            raise ValueError("another app id")
        return packed[4:end]
