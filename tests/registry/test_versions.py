import threading

import pytest

from registry.errors import ModelExistsError, ModelMissingError, NameInvalidError, VersionMissingError
from registry.models import create_model, get_model, list_models
from registry.records import Stage, VersionFacts
from registry.versions import add_version, get_version, list_versions, same_bytes
from storage.revision import list_changes


def test_a_version_comes_back_as_it_was_published(database, draft):
    facts = VersionFacts(
        description="first",
        parameters={"depth": "3"},
        metrics={"auc": 0.75},
        feature_set="card-history",
        parity={"flips": 0},
        tags={"team": "risk"},
    )
    with database.write() as tx:
        create_model(tx, "fraud", actor="ada", now_us=1)
        made, revision = add_version(
            tx, draft(facts=facts, feature_set_digest="d", feature_input="x"), actor="ada", now_us=2
        )
    with database.read() as tx:
        found = get_version(tx, "fraud", 1)
        newest = list_changes(tx, before_revision=None, limit_max=1)[0]
    assert found == made
    assert found.facts == facts
    assert (found.number, found.stage, found.created_us, found.created_by) == (1, Stage.DEVELOPMENT, 2, "ada")
    assert (newest.revision, newest.kind, newest.resource) == (revision, "version.published", "models/fraud/versions/1")


def test_numbers_have_no_gaps_though_some_publications_fail(database, draft):
    with database.write() as tx:
        create_model(tx, "fraud", actor="ada", now_us=1)

    def failing():
        with database.write() as tx:
            add_version(tx, draft(), actor="ada", now_us=1)
            raise KeyError

    numbers = []
    for _ in range(3):
        with pytest.raises(KeyError):
            failing()
        with database.write() as tx:
            numbers.append(add_version(tx, draft(), actor="ada", now_us=1)[0].number)
    assert numbers == [1, 2, 3]


def test_eight_threads_that_publish_get_the_numbers_without_a_gap(database, draft):
    with database.write() as tx:
        create_model(tx, "fraud", actor="ada", now_us=1)
    numbers = []

    def publishing():
        for _ in range(5):
            with database.write() as tx:
                version, _ = add_version(tx, draft(), actor="ada", now_us=1)
            numbers.append(version.number)

    threads = [threading.Thread(target=publishing) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(numbers) == list(range(1, 41))


def test_a_parent_must_be_an_earlier_version_of_the_model(database, draft):
    with database.write() as tx:
        create_model(tx, "fraud", actor="ada", now_us=1)
        add_version(tx, draft(), actor="ada", now_us=1)
        assert add_version(tx, draft(facts=VersionFacts(parents=(1,))), actor="ada", now_us=1)[0].facts.parents == (1,)
    with database.write() as tx, pytest.raises(VersionMissingError, match="no version 7"):
        add_version(tx, draft(facts=VersionFacts(parents=(7,))), actor="ada", now_us=1)


def test_earlier_versions_with_the_same_bytes_are_named(database, draft):
    with database.write() as tx:
        for model in ("fraud", "other"):
            create_model(tx, model, actor="ada", now_us=1)
            for sha256 in ("a" * 64, "b" * 64, "a" * 64):
                last, _ = add_version(tx, draft(model, artifact_sha256=sha256), actor="ada", now_us=1)
        assert same_bytes(tx, last) == [1]


def test_models_and_versions_are_listed_in_pages(database, draft):
    with database.write() as tx:
        for model in ("c", "a", "b"):
            create_model(tx, model, actor="ada", now_us=1)
        for _ in range(3):
            add_version(tx, draft("a"), actor="ada", now_us=1)
    with database.read() as tx:
        assert [model.id for model in list_models(tx, limit_max=2)] == ["a", "b"]
        assert [model.id for model in list_models(tx, after="b", limit_max=2)] == ["c"]
        assert [version.number for version in list_versions(tx, "a", limit_max=2)] == [3, 2]
        assert [version.number for version in list_versions(tx, "a", before=2, limit_max=2)] == [1]
        assert get_model(tx, "a").latest_version == 3


def test_what_does_not_exist_is_said(database, draft):
    with database.write() as tx:
        with pytest.raises(ModelMissingError):
            get_model(tx, "fraud")
        with pytest.raises(ModelMissingError):
            add_version(tx, draft(), actor="ada", now_us=1)
        create_model(tx, "fraud", actor="ada", now_us=1)
        with pytest.raises(VersionMissingError):
            get_version(tx, "fraud", 1)
        with pytest.raises(ModelExistsError):
            create_model(tx, "fraud", actor="ada", now_us=1)


@pytest.mark.parametrize("name", ["", "A", "1a", "a b", "a/b", "../a", "a" * 64, "-a", "a\n", "é"])
def test_a_model_cannot_be_called_anything(database, name):
    with database.write() as tx, pytest.raises(NameInvalidError):
        create_model(tx, name, actor="ada", now_us=1)
