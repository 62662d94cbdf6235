"""HQ's half of enrolment (sync.enrol): over TLS, a secret that is good once becomes a certificate."""

import time
from collections import OrderedDict
from contextlib import closing
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from litestar import Litestar, MediaType, Request, Response, get, post
from litestar.exceptions import HTTPException

from sync import keys, log
from sync.certificates import Authority
from sync.enrol import KEY_USED_BEFORE, Asked, Enrolled, possession, secret_sha256
from sync.errors import LinkSettingsError, SyncError
from sync.hq.errors import EnrolmentRefused, KeyUsedBefore
from sync.hq.store import Store

MAX_BODY_BYTES = 4096
TRIES = 10
TRIES_WITHIN_S = 60.0
MOST_ADDRESSES = 10_000


class Tries:
    """How often each address has tried of late: nobody guesses 80 bits, but nobody shall keep HQ busy trying."""

    def __init__(self) -> None:
        self._tries: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def allow(self, address: str, now_s: float) -> bool:
        """Count a try; False if it is one too many."""
        begun_s, tries = self._tries.pop(address, (now_s, 0))
        if now_s - begun_s > TRIES_WITHIN_S:
            begun_s, tries = now_s, 0
        self._tries[address] = (begun_s, tries + 1)
        if len(self._tries) > MOST_ADDRESSES:
            self._tries.popitem(last=False)
        return tries < TRIES


def build(where: str | Path, authority: Authority, hq_key: str, hosts: tuple[str, ...], port: int) -> Litestar:
    """The enrolment endpoint over the store at `where`; sites are told to find brokers at `hosts` and `port`."""
    tries = Tries()

    @get("/ca.crt", media_type=MediaType.TEXT, sync_to_thread=False)
    def show_authority() -> bytes:
        return authority.pem

    @post("/enrol", sync_to_thread=True, request_max_body_size=MAX_BODY_BYTES)
    def enrol(request: Request[Any, Any, Any], data: Asked) -> Enrolled:
        address = request.client.host if request.client else ""
        if not tries.allow(address, time.monotonic()):
            raise HTTPException("too many attempts from this address; wait a minute.", status_code=429)
        try:
            key = keys.parse_public(data.public_key)
            key.verify(data.signature, possession(data.site, data.secret))
        except (LinkSettingsError, InvalidSignature):
            raise HTTPException("the site does not show that the key is its own.", status_code=400) from None
        try:
            with closing(Store.open(where)) as store:
                store.redeem(data.site, secret_sha256(data.secret), keys.public_text(key))
        except EnrolmentRefused as fault:
            log.warning("enrolment refused", site=data.site, address=address, reason=str(fault))
            status = KEY_USED_BEFORE if isinstance(fault, KeyUsedBefore) else 403
            raise HTTPException(str(fault), status_code=status) from None
        except SyncError as fault:
            log.warning("enrolment failed", site=data.site, reason=str(fault))
            raise HTTPException("HQ's store does not work now; try again later.", status_code=503) from None
        log.info("enrolled", site=data.site, key_id=keys.key_id(key))
        return Enrolled(
            certificate=authority.certify_site(key).decode(),
            hq_key=hq_key,
            hosts=hosts,
            port=port,
        )

    return Litestar([show_authority, enrol], openapi_config=None, exception_handlers={HTTPException: _refuse})


def _refuse(_: Request[Any, Any, Any], fault: HTTPException) -> Response[dict[str, str]]:
    return Response({"detail": fault.detail}, status_code=fault.status_code)
