"""Who acted when, and by which lease: written down by the database itself, and judged.

Triggers add a row for each change of a lease and for each change that only a lease's holder may make, with the number
of its transaction and the database's time. Writers exclude one another, so the rows' order is that of the commits.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import psycopg

TRIGGERS = """
CREATE SCHEMA rig;
CREATE TABLE rig.acts (
    number bigserial PRIMARY KEY, tx bigint, began_us bigint, at_us bigint,
    kind text, name text, token bigint, holder text, until_us bigint
);
CREATE FUNCTION rig.us(timestamptz) RETURNS bigint LANGUAGE sql AS
    'SELECT CAST(extract(epoch FROM $1) * 1000000 AS bigint)';
CREATE FUNCTION rig.leased() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO rig.acts (tx, began_us, at_us, kind, name, token, holder, until_us) VALUES (
        txid_current(), rig.us(now()), rig.us(clock_timestamp()), 'lease',
        NEW.name, NEW.token, NEW.holder, NEW.expires_us
    );
    RETURN NULL;
END $$;
CREATE FUNCTION rig.acted() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO rig.acts (tx, began_us, at_us, kind, name) VALUES (
        txid_current(), rig.us(now()), rig.us(clock_timestamp()), 'act',
        coalesce('experiments.ramp.' || (to_jsonb(NEW) ->> 'experiment'), 'webhooks')
    );
    RETURN NULL;
END $$;
CREATE TRIGGER rig AFTER INSERT OR UPDATE ON leases FOR EACH ROW EXECUTE FUNCTION rig.leased();
CREATE TRIGGER rig AFTER INSERT OR UPDATE ON webhook_deliveries FOR EACH ROW EXECUTE FUNCTION rig.acted();
CREATE TRIGGER rig AFTER UPDATE ON experiment_ramps FOR EACH ROW EXECUTE FUNCTION rig.acted();
"""


@dataclass(frozen=True, slots=True)
class Row:
    """What a transaction did: to a lease, or as its holder; by the database's time, `began_us` being its begin."""

    tx: int
    began_us: int
    at_us: int
    kind: str
    name: str
    token: int | None = None
    holder: str | None = None
    until_us: int | None = None


def watch(database: str) -> None:
    """Have the database write down who acts."""
    with psycopg.connect(database) as connection:
        connection.execute(TRIGGERS)


def read(database: str) -> list[Row]:
    """Return what was written down, in its order."""
    with psycopg.connect(database) as connection:
        query = "SELECT tx, began_us, at_us, kind, name, token, holder, until_us FROM rig.acts ORDER BY number"
        return [Row(*row) for row in connection.execute(query)]


def check(rows: list[Row]) -> dict[str, dict[str, int]]:
    """Raise AssertionError where two led at once, or somebody acted who did not lead; return what there was, by lease.

    A lease goes to another only once it has ended by the database's time; its token rises by one then, and is its
    holder's alone. Nobody renews what has ended. Whoever acts shows the newest token in the same transaction.
    """
    standing: dict[str, Row] = {}
    found: dict[str, Counter[str]] = {}
    for row in rows:
        before = standing.get(row.name)
        counts = found.setdefault(row.name, Counter())
        if row.kind == "act":
            assert before is not None, row
            assert before.tx == row.tx, (before, row)
            counts["acts"] += 1
            continue
        if before is None:
            assert row.token == 1, row
        elif row.token == before.token:
            assert row.holder == before.holder, (before, row)
            assert row.until_us == 0 or row.began_us < before.until_us, (before, row)
        else:
            assert row.token == before.token + 1, (before, row)
            assert row.holder == before.holder or before.until_us <= row.at_us, (before, row)
        counts["tokens"] += before is None or row.token != before.token
        counts["leaders changed"] += before is not None and row.holder != before.holder
        standing[row.name] = row
    return {name: dict(counts) for name, counts in found.items()}
