"""The HTTP interface against its own description: what that allows is taken or refused for a reason, what it does not
allow is refused, and nothing that is sent makes the gateway fail."""

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.core.result import Ok

from tests.served import Running, running

ENDLESS = ["/api/stream", "/api/live/{uuid}"]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A site of its own: what is sent is written down."""
    with running(tmp_path_factory.mktemp("site")) as site:
        yield site


@pytest.mark.parametrize("mode", GenerationMode)
def test_every_operation_does_as_it_is_described(site: Running, mode: GenerationMode) -> None:
    described = schemathesis.openapi.from_url(f"{site.url}/schema/openapi.json").exclude(path=ENDLESS)
    operations: list[Any] = [found.ok() for found in described.get_all_operations() if isinstance(found, Ok)]
    assert len(operations) > 30
    for operation in operations:
        if mode is GenerationMode.NEGATIVE and not (operation.body or operation.query):
            continue  # it takes nothing but perhaps a name, and any text is one

        # The same each time: what a blank is, regular expressions of Python and of JSON Schema do not agree on.
        @settings(max_examples=12, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
        @given(case=operation.as_strategy(generation_mode=mode))
        def does_as_described(case: Any) -> None:
            case.call_and_validate()

        does_as_described()
    assert site.client.get("/healthz/live").status_code == 200
