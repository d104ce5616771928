"""Reading /metrics."""

import urllib.request
from dataclasses import dataclass
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families


@dataclass(frozen=True, slots=True)
class Scrape:
    """What /metrics said at one instant."""

    text: str
    samples: dict

    def value(self, name, **labels):
        """Return the sum of the samples of a name that have these labels."""
        wanted = set(labels.items())
        return sum(number for (found, has), number in self.samples.items() if found == name and wanted <= has)


def scrape(gateway):
    with urllib.request.urlopen(f"http://127.0.0.1:{gateway.http}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    samples = {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    return Scrape(text, samples)


@pytest.fixture(scope="session")
def metrics_of():
    """Return the function that reads the metrics of a gateway."""
    return scrape


@pytest.fixture(scope="session")
def root():
    """Return the folder of the project."""
    return Path(__file__).parents[3]
