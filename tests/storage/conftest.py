import pytest

from storage.database import open_database


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path / 'turnout.db'}"


@pytest.fixture
def database(url):
    opened = open_database(url)
    yield opened
    opened.close()
