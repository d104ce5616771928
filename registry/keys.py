"""The keys that a gateway trusts: ed25519, one PEM file each, whose name is the signer's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from registry.errors import SignatureInvalidError, SignatureMissingError

if TYPE_CHECKING:
    from pathlib import Path

SUFFIX = ".pub"


class TrustedKeys:
    """The public keys in a folder, read each time one is needed: a key that is put in or taken out counts at once.

    Parameters
    ----------
    folder
        Holds ``NAME.pub``; None: nobody is trusted.
    required
        Whether a version without a signature is refused.
    """

    __slots__ = ("_folder", "required")

    def __init__(self, folder: Path | None = None, *, required: bool = False) -> None:
        self._folder = folder
        self.required = required

    @property
    def known(self) -> bool:
        """Whether anybody may be trusted at all."""
        return self._folder is not None

    def signer_of(self, manifest: bytes, signature: bytes) -> str:
        """Return the name of the key that signed the manifest, empty for no signature where none is demanded.

        Raises
        ------
        SignatureMissingError
            There is no signature, and there must be one.
        SignatureInvalidError
            No trusted key made it, or it is of another manifest.
        """
        if not signature:
            if self.required:
                raise SignatureMissingError("it is not signed, and this gateway serves signed versions only")
            return ""
        if self._folder is None:
            raise SignatureInvalidError(
                "this gateway trusts no keys: start it with --trusted-keys, or publish unsigned"
            )
        # Loaded only where something is signed.
        from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm  # noqa: PLC0415
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # noqa: PLC0415
        from cryptography.hazmat.primitives.serialization import load_pem_public_key  # noqa: PLC0415

        for path in sorted(self._folder.glob(f"*{SUFFIX}")):
            try:
                key = load_pem_public_key(path.read_bytes())
            except (ValueError, UnsupportedAlgorithm, OSError):  # no key: it trusts nobody
                continue
            if isinstance(key, Ed25519PublicKey):
                try:
                    key.verify(signature, manifest)
                except InvalidSignature:
                    continue
                return path.name.removesuffix(SUFFIX)
        raise SignatureInvalidError("no key that this gateway trusts made the signature of this manifest")
