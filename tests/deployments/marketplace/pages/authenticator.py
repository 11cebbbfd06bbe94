"""An authenticator in a few lines, as WebAuthn describes one: it makes passkeys and uses them, honestly unless told otherwise."""

from __future__ import annotations

import hashlib
import json
import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode

import cbor2
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

PRESENT, VERIFIED, HAS_CREDENTIAL = 0x01, 0x04, 0x40


def text(data):
    """base64url, as browsers write it."""
    return urlsafe_b64encode(data).decode().rstrip("=")


def data(of):
    """The same, read."""
    return urlsafe_b64decode(of + "=" * (-len(of) % 4))


class Authenticator:
    """One passkey, in a browser that shows `origin`."""

    def __init__(self, origin, credential_id=b"credential-1" * 2, *, counts=True):
        self.origin, self.credential_id, self.counts = origin, credential_id, counts
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.count, self.handle, self.rp_id = 0, b"", ""

    def create(self, options, flags=PRESENT | VERIFIED, **client):
        """What `navigator.credentials.create` comes to, as our script sends it."""
        self.handle, self.rp_id = data(options["user"]["id"]), options["rp"]["id"]
        numbers = self.key.public_key().public_numbers()
        public = {1: 2, 3: -7, -1: 1, -2: numbers.x.to_bytes(32, "big"), -3: numbers.y.to_bytes(32, "big")}
        made = (
            bytes(16) + struct.pack(">H", len(self.credential_id)) + self.credential_id + cbor2.dumps(public)
        )
        told = self._data(flags | HAS_CREDENTIAL) + made
        attested = cbor2.dumps({"fmt": "none", "attStmt": {}, "authData": told})
        seen = self._client("webauthn.create", options, client)
        return self._json(clientDataJSON=seen, attestationObject=attested)

    def get(self, options, flags=PRESENT | VERIFIED, **client):
        """What `navigator.credentials.get` comes to."""
        self.count += self.counts
        told, seen = self._data(flags), self._client("webauthn.get", options, client)
        signature = self.key.sign(told + hashlib.sha256(seen).digest(), ec.ECDSA(hashes.SHA256()))
        return self._json(
            clientDataJSON=seen, authenticatorData=told, signature=signature, userHandle=self.handle
        )

    def _data(self, flags):
        return hashlib.sha256(self.rp_id.encode()).digest() + struct.pack(">BI", flags, self.count)

    def _client(self, kind, options, changes):
        told = {"type": kind, "challenge": options["challenge"], "origin": self.origin, "crossOrigin": False}
        return json.dumps(told | changes).encode()

    def _json(self, **parts):
        name = text(self.credential_id)
        response = {key: text(part) for key, part in parts.items()}
        return json.dumps({"id": name, "rawId": name, "type": "public-key", "response": response})
