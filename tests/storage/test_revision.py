import threading

from storage.revision import current_revision, list_changes, record_change


def test_every_change_has_a_revision_of_its_own_and_the_newest_comes_first(database):
    with database.write() as tx:
        made = [
            record_change(tx, kind="thing.made", resource=f"things/{n}", actor="ada", detail={"n": n}, now_us=1000 + n)
            for n in range(3)
        ]
    assert made == [1, 2, 3]
    with database.read() as tx:
        newest = list_changes(tx, before_revision=None, limit_max=2)
        older = list_changes(tx, before_revision=newest[-1].revision, limit_max=2)
    assert [change.revision for change in newest] == [3, 2]
    assert [(change.revision, change.resource, change.detail) for change in older] == [(1, "things/0", {"n": 0})]
    assert newest[0].actor == "ada"
    assert newest[0].time_us == 1002


def test_concurrent_changes_leave_no_gap(database):
    def changing():
        for _ in range(5):
            with database.write() as tx:
                record_change(tx, kind="k", resource="r", actor="a", detail={}, now_us=0)

    threads = [threading.Thread(target=changing) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.read() as tx:
        assert current_revision(tx) == 40
        assert [change.revision for change in list_changes(tx, before_revision=None, limit_max=99)] == list(
            range(40, 0, -1)
        )
