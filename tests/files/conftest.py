"""What all tests of files check at their end."""

import pytest


@pytest.fixture(autouse=True)
def nothing_is_written(tmp_path):
    """Check that reading leaves no temporary file behind."""
    yield
    for path in tmp_path.rglob("*"):
        assert not path.name.endswith(".tmp")
