import pytest

from tests.reference.nets import lstm, mlp, sealed


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory):
    """Compiled libraries go to a folder of the tests' own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def net():
    return sealed(mlp((16, 16)))


@pytest.fixture(scope="session")
def memory():
    return sealed(lstm(5))
