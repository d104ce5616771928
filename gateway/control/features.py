"""Features on the control plane: definitions applied, values read, training tables made.

No transaction is open and no lock is held while data is read or written: what a query needs to know is taken from the
database first.
"""

from __future__ import annotations

import contextlib
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from features import records
from features.apply import Applied, apply
from features.arrow_stream import chunks_of
from features.as_of import read_as_of
from features.declared_sources import JOURNAL_TABLE
from features.errors import FeatureRowInvalidError
from features.fetch import fetch, finished
from features.fingerprint import provenance
from features.grammar import read_definitions
from features.lookup import FeatureMatrix, Lookup
from features.materialize import materialized_until
from features.offline import OfflineLimits, open_offline
from features.plan import FeaturePlan, compile_plan, given_columns
from features.sql import tables_in
from features.training import training_table
from features.view_rows import check_view

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

    from features.definitions import BoundView, FeatureSet, Source
    from features.grammar import Definitions
    from features.store import OnlineStore
    from storage.clock import Clock
    from storage.database import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewState:
    """A view's current definition, and up to when its values are in the online store, None when never."""

    bound: BoundView
    materialized_until_us: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What the online store gives to one call: the plan, a matrix of one row, and which columns the caller gave."""

    plan: FeaturePlan
    matrix: FeatureMatrix
    given: set[int]


class FeatureControl:
    """Does what the feature service is asked for.

    Parameters
    ----------
    database, clock
        Where definitions are kept, and the time.
    store
        The online store.
    limits
        What a query over the offline store may use.
    outcomes
        Writes the journal's outcomes into a folder and says where they are; None: label SQL sees no journal.
    """

    def __init__(
        self,
        *,
        database: Database,
        clock: Clock,
        store: OnlineStore,
        limits: OfflineLimits | None = None,
        outcomes: Callable[[Path], Source] | None = None,
    ) -> None:
        self._database = database
        self._clock = clock
        self._store = store
        self._limits = limits or OfflineLimits()
        self._outcomes = outcomes

    def apply(self, files: Mapping[str, str], *, base_dir: str, dry_run: bool, actor: str) -> Applied:
        """Make the definitions what the files say, after trying every view's SQL against its sources.

        Raises
        ------
        DefinitionInvalidError, FeatureSqlInvalidError, SourceUnreadableError
            Nothing was changed.
        """
        definitions = self._with_code(read_definitions(files, base_dir))
        self._try(definitions)
        transaction = self._database.read() if dry_run else self._database.write()
        with transaction as tx:
            return apply(tx, definitions, actor=actor, now_us=self._clock.now_us(), dry_run=dry_run)

    def views(self, *, after: str, limit_max: int) -> list[ViewState]:
        """Return the views past `after`, by name."""
        with self._database.read() as tx:
            bound = records.list_views(tx, after=after, limit_max=limit_max)
        untils = materialized_until(self._store, bound)
        return [
            ViewState(bound=one, materialized_until_us=until_us) for one, until_us in zip(bound, untils, strict=True)
        ]

    def sets(self, *, after: str, limit_max: int) -> list[FeatureSet]:
        """Return the sets past `after`, by name."""
        with self._database.read() as tx:
            return records.list_sets(tx, after=after, limit_max=limit_max)

    def read(self, set_name: str, entities: Mapping[str, str], given: Mapping[str, float]) -> Reading:
        """Return what a prediction would get now, or raise SetMissingError or FeatureRowInvalidError."""
        with self._database.read() as tx:
            plan = compile_plan(records.plan_document_for(tx, set_name))
        _check_given(plan, given)
        [matrix] = fetch(self._store, [Lookup(plan, [entities], given=[given])], self._clock.now_us())
        return Reading(plan=plan, matrix=matrix, given=given_columns(plan, given))

    def read_as_of(
        self, set_name: str, entities: Mapping[str, str], given: Mapping[str, float], as_of_us: int
    ) -> Reading:
        """Return what a prediction would have got at an earlier time; raises as `read` and as `read_as_of`."""
        with self._database.read() as tx:
            feature_set = records.get_set(tx, set_name)
            views = [bound.view for bound in records.views_of_set(tx, feature_set)]
            sources = records.list_sources(tx)
            plan = compile_plan(records.plan_document_for(tx, set_name, feature_set.digest))
        _check_given(plan, given)
        matrix = read_as_of(
            feature_set, views, sources=sources, entities=entities, as_of_us=as_of_us, limits=self._limits
        )
        matrix = finished(matrix, Lookup(plan, [entities], given=[given]))
        return Reading(plan=plan, matrix=matrix, given=given_columns(plan, given))

    def training_chunks(
        self, set_name: str, *, label_sql: str, start_us: int | None, end_us: int | None, marks: bool
    ) -> Generator[tuple[bytes, str]]:
        """Yield the training table as parts of an Arrow IPC stream, at last no bytes and the fingerprint of the data.

        The fingerprint is that of the table, of the query that made it, and the time as of which it was made.

        Raises
        ------
        SetMissingError, FeatureSqlInvalidError, SourceUnreadableError, OfflineQueryError
            When the first part is asked for, or later.
        """
        with self._database.read() as tx:
            feature_set = records.get_set(tx, set_name)
            views = [bound.view for bound in records.views_of_set(tx, feature_set)]
            sources = records.list_sources(tx)
        query = (set_name, feature_set.digest, label_sql, start_us, end_us, marks)
        with self._journal_for(label_sql) as journal:
            table = training_table(
                feature_set,
                views,
                sources=[*sources, *journal],
                label_sql=label_sql,
                start_us=start_us,
                end_us=end_us,
                limits=self._limits,
                marks=marks,
            )
            as_of_us = self._clock.now_us()
            with table as reader, contextlib.closing(chunks_of(reader)) as chunks:
                for chunk, fingerprint in chunks:
                    yield chunk, fingerprint and provenance(fingerprint, query, as_of_us)

    @contextlib.contextmanager
    def _journal_for(self, label_sql: str) -> Generator[list[Source]]:
        """Give the journal's outcomes as a source where the SQL names them; their file is gone afterwards."""
        if self._outcomes is None or JOURNAL_TABLE not in tables_in(label_sql):
            yield []
            return
        with tempfile.TemporaryDirectory(prefix="turnout-outcomes-", dir=self._limits.scratch) as folder:
            yield [self._outcomes(Path(folder))]

    def _with_code(self, definitions: Definitions) -> Definitions:
        """Return the definitions with what their code is now, or raise CodeMissingError."""
        views = tuple(
            replace(view, code_sha256=self._limits.code.digest(view.code)) if view.code else view
            for view in definitions.views
        )
        return replace(definitions, views=views)

    def _try(self, definitions: Definitions) -> None:
        """Raise unless every source can be read and every view's SQL gives what the view declares."""
        with self._database.read() as tx:
            known = {source.name: source for source in records.list_sources(tx)}
        known |= {source.name: source for source in definitions.sources}
        with open_offline(list(known.values()), self._limits) as offline:
            for view in definitions.views:
                check_view(offline, view)


def _check_given(plan: FeaturePlan, given: Mapping[str, float]) -> None:
    """Raise FeatureRowInvalidError when something is given that no caller can give."""
    for name in given:
        if name not in plan.column_of:
            raise FeatureRowInvalidError(f"feature set {plan.name!r} takes no feature {name!r}", feature=name)
