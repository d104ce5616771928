import pytest

from storage.database import open_database


@pytest.fixture
def url(empty_database_url):
    return empty_database_url


@pytest.fixture
def database(url):
    opened = open_database(url)
    yield opened
    opened.close()
