"""A site's half of enrolment: a code from HQ becomes the files in secrets/ that the link needs.

The code names HQ's address, the fingerprint of its authority, and a secret that is good once. The site fetches the
authority's certificate from whoever answers, goes on only if the fingerprint is the code's, and sends the secret over
TLS that this authority vouches for: who stands in between learns nothing. It signs with its key, so that nobody can
have another's key enrolled as his. A site that HQ invites again gets a new key, because others may have the old one.
"""

import base64
import hashlib
import http.client
import secrets
import ssl
import tomllib
from pathlib import Path
from typing import Annotated

import msgspec

from sync import keys
from sync.certificates import fingerprint
from sync.errors import LinkPartMissing, LinkSettingsError
from sync.protocol import SiteName
from sync.settings import read_settings

TIMEOUT_S = 15.0
MAX_ANSWER_BYTES = 16 << 10
KEY_USED_BEFORE = 409
"""HQ's status when the site has had this key."""

_FINGERPRINT_BYTES = 16
_SECRET_BYTES = 10
_CHECK_BYTES = 2
_CODE_BYTES = _FINGERPRINT_BYTES + _SECRET_BYTES + _CHECK_BYTES
_GROUP = 5
# Crockford's alphabet: nothing in it is taken for something else when it is read out or copied by hand.
_PLAIN, _CROCKFORD = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_CONTEXT = b"outstation enrolment v1\n"


class Code(msgspec.Struct, frozen=True, kw_only=True):
    """What HQ gives a site to enrol with: `address` is host:port, `authority` the first bytes of the fingerprint of
    HQ's authority."""

    address: str
    authority: bytes
    secret: bytes

    def __str__(self) -> str:
        content = self.authority + self.secret
        digits = base64.b32encode(content + _check(self.address, content)).decode().rstrip("=")
        digits = digits.translate(str.maketrans(_PLAIN, _CROCKFORD))
        groups = (digits[start : start + _GROUP] for start in range(0, len(digits), _GROUP))
        return f"{self.address}/{'-'.join(groups)}"

    @property
    def secret_sha256(self) -> str:
        """What HQ keeps of the secret."""
        return secret_sha256(self.secret)


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What a site sends to /enrol. `signature` is by the key itself, over `possession`."""

    site: SiteName
    secret: Annotated[bytes, msgspec.Meta(min_length=_SECRET_BYTES, max_length=_SECRET_BYTES)]
    public_key: Annotated[str, msgspec.Meta(max_length=64)]
    signature: Annotated[bytes, msgspec.Meta(min_length=64, max_length=64)]


class Enrolled(msgspec.Struct, frozen=True, kw_only=True):
    """What HQ answers: the site's certificate (PEM), what HQ signs with, and where its brokers are."""

    certificate: str
    hq_key: str
    hosts: Annotated[tuple[str, ...], msgspec.Meta(min_length=1, max_length=16)]
    port: Annotated[int, msgspec.Meta(ge=1, le=65535)]


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """HQ's sentence about why not."""

    detail: str


class _KeyUsedBefore(LinkSettingsError):
    """HQ wants a new key."""


def new_code(address: str, authority: bytes) -> Code:
    """A code with a new secret; `authority` is the certificate (PEM) of HQ's authority."""
    return Code(
        address=address,
        authority=fingerprint(authority)[:_FINGERPRINT_BYTES],
        secret=secrets.token_bytes(_SECRET_BYTES),
    )


def parse_code(text: str) -> Code:
    """The code that a person typed; raises LinkSettingsError if it is mistyped."""
    address, slash, typed = text.strip().rpartition("/")
    digits = typed.upper().replace("-", "").replace(" ", "").translate(str.maketrans("OIL", "011"))
    host, _, port = address.rpartition(":")
    try:
        if not slash or not host or not 0 < int(port) < 65536 or set(digits) - set(_CROCKFORD):
            raise ValueError
        digits = digits.translate(str.maketrans(_CROCKFORD, _PLAIN))
        content = base64.b32decode(digits + "=" * (-len(digits) % 8))
    except ValueError:
        raise LinkSettingsError(
            "this is no enrolment code; it looks like hq.example:8482/XXXXX-XXXXX-…, as `outstation hq invite` printed."
        ) from None
    body, check = content[:-_CHECK_BYTES], content[-_CHECK_BYTES:]
    if len(content) != _CODE_BYTES or check != _check(address, body):
        raise LinkSettingsError("the enrolment code is mistyped; compare it with what `outstation hq invite` printed.")
    return Code(address=address, authority=body[:_FINGERPRINT_BYTES], secret=body[_FINGERPRINT_BYTES:])


def possession(site: str, secret: bytes) -> bytes:
    """What a site signs to show that the key is its own."""
    return _CONTEXT + site.encode() + b"\n" + secret


def secret_sha256(secret: bytes) -> str:
    """What HQ keeps of a secret."""
    return hashlib.sha256(secret).hexdigest()


def enrol(folder: Path, code: Code) -> str:
    """Enrol the site in `folder` at HQ; gives its name.

    Makes site.key if there is none or the site has had it, writes what HQ answers to secrets/, and a table [hq] to
    site.toml if it has none. Raises LinkPartMissing if HQ cannot be reached, and LinkSettingsError if it refuses, or is
    not the HQ of the code.
    """
    settings = read_settings(folder)
    # A new key takes the old one's place once HQ knows it; if its answer is lost, the next attempt needs it again.
    new_key = settings.key.with_name("site.key.next")
    authority = _ask(code.address, "GET", "/ca.crt", None, _unverified())
    if fingerprint(authority)[:_FINGERPRINT_BYTES] != code.authority:
        raise LinkSettingsError(
            f"who answers at {code.address} is not the HQ that made this code: somebody may be in between. Nothing was"
            " sent; ask HQ for a new code if this goes on."
        )
    path = new_key if new_key.exists() else settings.key
    try:
        enrolled = _show(path, settings.site, code, authority)
    except _KeyUsedBefore:
        path = new_key
        path.unlink(missing_ok=True)
        enrolled = _show(path, settings.site, code, authority)
    keys.write_private(settings.hq_ca, authority)
    keys.write_private(settings.hq_key, f"{enrolled.hq_key}\n".encode())
    keys.write_private(settings.certificate, enrolled.certificate.encode())
    public_key = keys.public_text(keys.load(path).public_key())
    path.replace(settings.key)
    keys.write_private(settings.key.with_name("site.pub"), f"{public_key}\n".encode())
    _add_hq(folder / "site.toml", enrolled)
    return settings.site


def _show(path: Path, site: str, code: Code, authority: bytes) -> Enrolled:
    """Have HQ enrol the key in `path`, made if there is none."""
    key = keys.load_or_create(path)
    asked = Asked(
        site=site,
        secret=code.secret,
        public_key=keys.public_text(key.public_key()),
        signature=key.sign(possession(site, code.secret)),
    )
    answer = _ask(code.address, "POST", "/enrol", msgspec.json.encode(asked), _verified(authority))
    try:
        return msgspec.json.decode(answer, type=Enrolled)
    except msgspec.DecodeError as fault:
        raise LinkSettingsError(f"HQ at {code.address} answers what is not understood here: {fault}.") from None


def _add_hq(path: Path, enrolled: Enrolled) -> None:
    text = path.read_text("utf-8")
    if "hq" in tomllib.loads(text):
        return
    hosts = msgspec.json.encode(enrolled.hosts).decode()
    beside = path.with_name("site.toml.new")
    beside.write_text(f"{text.rstrip()}\n\n[hq]\nhosts = {hosts}\nport = {enrolled.port}\n", "utf-8")
    beside.chmod(path.stat().st_mode & 0o777)
    beside.replace(path)


def _ask(address: str, method: str, path: str, body: bytes | None, tls: ssl.SSLContext) -> bytes:
    host, _, port = address.rpartition(":")
    connection = http.client.HTTPSConnection(host.strip("[]"), int(port), timeout=TIMEOUT_S, context=tls)
    try:
        connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})
        answer = connection.getresponse()
        content = answer.read(MAX_ANSWER_BYTES)
    except ssl.SSLCertVerificationError as fault:
        raise LinkSettingsError(
            f"who answers at {address} is not the HQ that made this code ({fault.verify_message}): somebody may be in"
            " between. Nothing was sent."
        ) from None
    except (OSError, http.client.HTTPException) as fault:
        raise LinkPartMissing(
            f"HQ does not answer at {address}: {fault}; is it running, and may it be reached?"
        ) from None
    finally:
        connection.close()
    if answer.status == KEY_USED_BEFORE:
        raise _KeyUsedBefore(f"HQ refuses: {_detail(content)}")
    if answer.status not in (200, 201):
        raise LinkSettingsError(f"HQ refuses: {_detail(content)}")
    return content


def _detail(content: bytes) -> str:
    try:
        return msgspec.json.decode(content, type=Problem).detail
    except msgspec.DecodeError:
        return "it does not say why."


def _unverified() -> ssl.SSLContext:
    # For the authority's certificate alone, which anybody may see; it is held against the code.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _verified(authority: bytes) -> ssl.SSLContext:
    # By whatever name HQ is reached: its authority vouches for HQ's servers only.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(cadata=authority.decode("ascii"))
    return context


def _check(address: str, content: bytes) -> bytes:
    return hashlib.sha256(_CONTEXT + address.encode() + b"/" + content).digest()[:_CHECK_BYTES]
