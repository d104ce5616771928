import threading

import grpc
import pytest

from turnout.admin.v1 import admin_service_pb2 as apb
from turnout.registry.v1 import registry_service_pb2 as rpb


def champion(operator):
    model = operator.registry.GetModel(rpb.GetModelRequest(name="models/m")).model
    return next((alias.version, alias.generation) for alias in model.aliases if alias.alias == "champion")


def history(operator):
    answer = operator.registry.ListAliasHistory(rpb.ListAliasHistoryRequest(parent="models/m", alias="champion"))
    return [(move.generation, move.reason) for move in answer.moves]


def at_once(*promotions):
    """Call them together; return each one's answer or error."""
    results = [None] * len(promotions)
    together = threading.Barrier(len(promotions))

    def run(number):
        together.wait()
        try:
            results[number] = promotions[number]()
        except grpc.RpcError as error:
            results[number] = error

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(promotions))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


@pytest.mark.parametrize("rounds", [10, pytest.param(500, marks=pytest.mark.soak)], ids=["short", "soak"])
def test_of_two_promotions_with_one_generation_exactly_one_wins(gateway, operate, rounds):
    operator, rival = operate(gateway), operate(gateway)
    for scale in (2.0, 3.0, 4.0):
        operator.publish("m", scale)
    operator.promote("m", 1, reason="first")
    for number in range(rounds):
        _, generation = champion(operator)
        revision = operator.status().revision
        results = at_once(
            lambda: operator.promote("m", 2, wait=False, generation=generation, reason=f"two in {number}"),  # noqa: B023
            lambda: rival.promote("m", 3, wait=False, generation=generation, reason=f"three in {number}"),  # noqa: B023
        )
        (lost,) = [result for result in results if isinstance(result, grpc.RpcError)]
        (won,) = [result for result in results if not isinstance(result, grpc.RpcError)]
        assert lost.code() is grpc.StatusCode.ABORTED
        # One change, the winner's: the loser raised no revision and left no trace in the history or the changes.
        assert champion(operator) == (won.alias.version, generation + 1)
        assert operator.status().revision == won.revision == revision + 1
        assert history(operator)[0] == (generation + 1, f"{ {2: 'two', 3: 'three'}[won.alias.version] } in {number}")
        operator.wait(won.revision)
        assert operator.predict("m").version == won.alias.version
    generations = [generation for generation, _ in history(operator)]
    assert generations == sorted(generations, reverse=True)
    (newest,) = operator.admin.ListChanges(apb.ListChangesRequest(page_size=1)).changes
    assert newest.revision == operator.status().revision


def test_the_loser_is_told_why(gateway, operate, refusal):
    operator = operate(gateway)
    operator.publish("told", 2.0, alias="champion")
    before = operator.status()
    request = rpb.PromoteVersionRequest(name="models/told/versions/1", generation=7)
    code, reason, message = refusal(operator.registry.PromoteVersion, request)
    assert (code, reason) == (grpc.StatusCode.ABORTED, "ALIAS_MOVED")
    assert "7" in message
    assert operator.status().revision == before.revision
