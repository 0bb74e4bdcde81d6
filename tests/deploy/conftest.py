"""One API server of every supported end of the range, with MBCAS's objects on it."""

from collections.abc import Iterator

import pytest
from deploy.installation import VERSIONS, Installation


@pytest.fixture(scope="package", params=VERSIONS)
def installation(request: pytest.FixtureRequest) -> Iterator[Installation]:
    with Installation(request.param) as running:
        yield running


@pytest.fixture
def namespace(installation: Installation) -> Iterator[str]:
    """A fresh one, opted in."""
    with installation.namespace() as name:
        yield name
