"""Asking for predictions, for threads: what a client does on one side of the data port."""

from __future__ import annotations

from typing import TYPE_CHECKING

from turnout.limits import ROWS_MAX

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from numpy.typing import ArrayLike

    from turnout import errors
    from turnout.batch import BatchPrediction, Numbers, Texts
    from turnout.link import Link
    from turnout.prediction import Ask, Prediction
    from turnout.table import Columns, Table


class Predicting:
    """The calls of a client that ask for predictions."""

    _link: Link

    def predict(
        self,
        model: str,
        *,
        entities: Mapping[str, str] | None = None,
        unit_id: str | None = None,
        version: int | None = None,
        alias: str | None = None,
        inputs: Mapping[str, ArrayLike] | None = None,
        features: Mapping[str, float] | None = None,
        attributes: Mapping[str, str] | None = None,
        event_time_us: int | None = None,
        request_id: str | None = None,
        timeout_s: float | None = None,
        retry: bool = True,
    ) -> Prediction:
        """Return one prediction, or raise TurnoutError.

        Parameters
        ----------
        model
            The model's name.
        entities
            What stored features are looked up for: join key to value, for example ``{"carrier": "UA"}``.
        unit_id
            What is assigned and observed. None with exactly one entity: that entity's value. None otherwise: the call
            is in no experiment.
        version, alias
            A pin: this version answers, and the call is in no experiment. At most one of the two.
        inputs
            The model's inputs by name, each of the dtype and shape that its signature says.
        features
            Features given by the caller, by name; each wins over the stored value.
        attributes
            Facts about the request that targeting and reports may use.
        event_time_us
            When the event that is predicted on happened, in microseconds since the Unix epoch; None means now.
        request_id
            The identity of the prediction. None makes one (a time-ordered UUID) before the first try, so that a retry
            is the same prediction.
        timeout_s
            The deadline of this call, in seconds, retries included.
        retry
            Whether the call is tried again while the answer is UNAVAILABLE.

        Raises
        ------
        errors.InvalidError
            An input is not what the version's signature says, or a needed feature is not given.
        errors.MissingError
            The model or the pinned version is not served.
        errors.ExhaustedError
            More calls are in flight than the gateway takes.
        errors.ExpiredError
            The deadline passed.
        errors.UnreachableError
            No gateway answered within the tries.
        ValueError
            A version and an alias are given, or a value cannot be sent as a tensor.
        """
        from turnout.prediction import Ask, read_prediction  # noqa: PLC0415  (loaded at the first call)

        ask = Ask(
            entities=entities,
            unit_id=unit_id,
            version=version,
            alias=alias,
            inputs=inputs,
            features=features,
            attributes=attributes,
            event_time_us=event_time_us,
            request_id=request_id,
        )
        request = ask.message(model)
        return read_prediction(
            self._link.call(lambda stubs: stubs.predictions.Predict, request, timeout_s=timeout_s, retry=retry)
        )

    def predict_batch(
        self,
        model: str,
        *,
        entities: Texts | None = None,
        unit_ids: Sequence[str | None] | None = None,
        version: int | None = None,
        alias: str | None = None,
        inputs: Mapping[str, ArrayLike] | None = None,
        features: Numbers | None = None,
        attributes: Texts | None = None,
        event_times_us: Sequence[int | None] | None = None,
        request_ids: Sequence[str] | None = None,
        timeout_s: float | None = None,
        retry: bool = True,
    ) -> BatchPrediction:
        """Return the predictions of many rows of one model, asked in one call; or raise TurnoutError.

        Each row is a prediction of its own, with its own assignment; one that is refused stands as a TurnoutError in
        its place and leaves the others alone. Every argument in the plural is a column with one value for each row; a
        None in it means what leaving the argument out means in ``predict``.

        Parameters
        ----------
        model
            The model's name.
        entities, attributes
            Columns of text by name.
        unit_ids, event_times_us
            A column each.
        version, alias
            A pin for all rows. At most one of the two.
        inputs
            The model's inputs by name, each with the rows along its first axis.
        features
            Columns of numbers by name.
        request_ids
            The identities of the predictions. None makes one for each row before the first try.
        timeout_s, retry
            As in ``predict``.

        Raises
        ------
        errors.InvalidError
            The columns make no table, or there are more rows than the gateway takes.
        errors.TurnoutError
            The call failed as a whole, as a call of ``predict`` may.
        ValueError
            A version and an alias are given, there is no column, or a value cannot be sent.
        """
        from turnout.batch import BatchAsk, read_batch  # noqa: PLC0415  (loaded at the first call)

        ask = BatchAsk(
            entities=entities,
            unit_ids=unit_ids,
            version=version,
            alias=alias,
            inputs=inputs,
            features=features,
            attributes=attributes,
            event_times_us=event_times_us,
            request_ids=request_ids,
        )
        request = ask.message(model)
        response = self._link.call(
            lambda stubs: stubs.predictions.BatchPredict, request, timeout_s=timeout_s, retry=retry
        )
        return read_batch(model, response)

    def predict_table(
        self,
        model: str,
        table: Table,
        columns: Columns,
        *,
        version: int | None = None,
        alias: str | None = None,
        rows_max: int = ROWS_MAX,
        timeout_s: float | None = None,
        retry: bool = True,
    ) -> BatchPrediction:
        """Return the predictions of a table's rows, or raise TurnoutError; ``to_pandas`` and ``to_arrow`` give a table.

        Parameters
        ----------
        model
            The model's name.
        table
            A pandas or polars DataFrame, an Arrow table, or whatever gives columns by their names. Nulls and NaN in
            it mean that the row does not say.
        columns
            What its columns are to the model.
        version, alias
            A pin for all rows. At most one of the two.
        rows_max
            How many rows a call takes; a longer table is asked in several calls.
        timeout_s, retry
            As in ``predict``, for each call.

        Raises
        ------
        TableError
            A column holds what cannot be sent; nothing was asked.
        errors.TurnoutError
            A call failed as a whole.
        """
        from turnout.batch import joined  # noqa: PLC0415  (loaded at the first call)
        from turnout.table import pieces  # noqa: PLC0415  (loaded at the first call)

        asked = [ask.message(model) for ask in pieces(table, columns, version=version, alias=alias, rows_max=rows_max)]
        return joined(
            model,
            [
                self._link.call(lambda stubs: stubs.predictions.BatchPredict, one, timeout_s=timeout_s, retry=retry)
                for one in asked
            ],
        )

    def predict_stream(
        self, model: str, asks: Iterable[Ask], *, timeout_s: float | None = None, retry: bool = True
    ) -> Iterator[Prediction | errors.TurnoutError]:
        """Give the answers to a stream of calls, in their order; raise TurnoutError when the stream failed for good.

        A call that is refused stands as a TurnoutError in its place, and the stream goes on. When a worker goes away,
        the stream is opened anew and goes on with what was not answered; each call names its prediction, so a second
        try is the same one. Calls are taken from ``asks`` by another thread, only as fast as the gateway takes them.

        Parameters
        ----------
        model
            The model's name.
        asks
            What is asked, one after another.
        timeout_s
            The deadline of the whole stream, in seconds; None for none.
        retry
            Whether it is opened anew.
        """
        from turnout.prediction import read_answer  # noqa: PLC0415  (loaded at the first call)
        from turnout.streams import Feed, follow  # noqa: PLC0415  (loaded at the first call)

        link = self._link
        return follow(
            lambda messages, left_s: link.stubs().predictions.StreamPredict(
                messages, timeout=left_s, metadata=link.metadata()
            ),
            Feed(asks, lambda ask: ask.streamed(model)),
            read_answer,
            timeout_s=timeout_s,
            attempts_max=link.setup.attempts_max if retry else 1,
        )
