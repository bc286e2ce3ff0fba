"""What several of the tests beside this file start from: accounts, a gate, and a peer where control would listen."""

import pytest
from accounts import Accounts
from gatelab import Gate, Peer


@pytest.fixture(scope="module")
def accounts():
    with Accounts() as made:
        yield made


@pytest.fixture
def gate(accounts, tmp_path):
    with Gate(accounts, tmp_path) as running:
        yield running


@pytest.fixture
def peer(accounts, gate):
    with Peer(accounts) as listening:
        yield listening
