"""HQ's certificate authority: what sites know HQ's brokers by, and HQ's brokers know sites by.

Certificates here neither begin nor end within anybody's life. A box without a battery clock wakes up in 1970 and has to
connect all the same, and what ends a site's access is not a date but its absence from the broker's list of users
(sync.broker). So all are valid from 1970 to 9999, which RFC 5280 (4.1.2.5) has for "no well-defined end".
"""

import hashlib
import ipaddress
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from sync import keys
from sync.errors import LinkSettingsError
from sync.keys import key_id

_FROM = datetime(1970, 1, 1, tzinfo=UTC)
_UNTIL = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)


class Authority(msgspec.Struct, frozen=True):
    """HQ's own authority: it signs brokers and sites, and nothing else trusts it."""

    key: Ed25519PrivateKey
    certificate: x509.Certificate

    @property
    def pem(self) -> bytes:
        """The certificate as sites keep it."""
        return self.certificate.public_bytes(Encoding.PEM)

    def certify_site(self, key: Ed25519PublicKey) -> bytes:
        """A TLS client certificate (PEM) for the owner of `key`: its common name is the key's id."""
        return _signed(self, key_id(key), key, [ExtendedKeyUsageOID.CLIENT_AUTH]).public_bytes(Encoding.PEM)


def open_authority(secrets: Path) -> Authority:
    """The authority in HQ's `secrets`, made if there is none. Raises LinkSettingsError if it cannot be used."""
    key = keys.load_or_create(secrets / "ca.key")
    path = secrets / "ca.crt"
    if not path.exists():
        keys.write_private(path, _self_signed(key).public_bytes(Encoding.PEM))
    try:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError) as fault:
        raise LinkSettingsError(f"{path}: this is no certificate that can be read: {fault}.") from None
    if certificate.public_key() != key.public_key():
        raise LinkSettingsError(f"{path} is not of {secrets / 'ca.key'}; bring both from the same copy.")
    return Authority(key, certificate)


def certify_broker(secrets: Path, authority: Authority, hosts: Sequence[str]) -> None:
    """Write broker.key and broker.crt to `secrets`: a TLS certificate for brokers at `hosts` (names or addresses), also
    for the routes between them. One that is there and names all of them stays."""
    key = keys.load_or_create(secrets / "broker.key")
    path = secrets / "broker.crt"
    names = x509.SubjectAlternativeName([_general_name(host) for host in sorted(set(hosts))])
    if path.exists():
        known = x509.load_pem_x509_certificate(path.read_bytes())
        of_ours = known.public_key() == key.public_key() and known.issuer == authority.certificate.subject
        if of_ours and set(names) <= set(known.extensions.get_extension_for_class(x509.SubjectAlternativeName).value):
            return
    usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    certificate = _signed(authority, "outstation-broker", key.public_key(), usages, names)
    keys.write_private(path, certificate.public_bytes(Encoding.PEM))


def fingerprint(pem: bytes) -> bytes:
    """The SHA-256 of a certificate's DER. Raises LinkSettingsError if it is none."""
    try:
        return hashlib.sha256(x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)).digest()
    except ValueError as fault:
        raise LinkSettingsError(f"this is no certificate: {fault}.") from None


def _self_signed(key: Ed25519PrivateKey) -> x509.Certificate:
    # Two authorities never share a name, so a chain to the wrong one is said to be that.
    name = _name(f"outstation-hq {key_id(key.public_key())}")
    return _begun(name, name, key.public_key(), key.public_key(), is_authority=True).sign(key, None)


def _signed(
    authority: Authority,
    common_name: str,
    key: Ed25519PublicKey,
    usages: Sequence[ObjectIdentifier],
    names: x509.SubjectAlternativeName | None = None,
) -> x509.Certificate:
    issuer, issuer_key = authority.certificate.subject, authority.key.public_key()
    builder = _begun(_name(common_name), issuer, key, issuer_key, is_authority=False)
    # What a key may be used for is what keeps a site from passing for HQ's broker.
    builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    if names is not None:
        builder = builder.add_extension(names, critical=False)
    return builder.sign(authority.key, None)


def _begun(
    subject: x509.Name, issuer: x509.Name, key: Ed25519PublicKey, issuer_key: Ed25519PublicKey, *, is_authority: bool
) -> x509.CertificateBuilder:
    usage = x509.KeyUsage(
        digital_signature=not is_authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        encipher_only=False,
        decipher_only=False,
    )
    return (
        x509.CertificateBuilder(subject_name=subject, issuer_name=issuer, public_key=key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(_FROM)
        .not_valid_after(_UNTIL)
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=0 if is_authority else None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key), critical=False)
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        pass
    try:
        return x509.DNSName(host)
    except ValueError:
        raise LinkSettingsError(f"--host {host!r} is neither an address nor a name that a certificate holds.") from None
