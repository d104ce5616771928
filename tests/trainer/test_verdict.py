from __future__ import annotations

import json
import math

from trainer.triggers.verdict import Evidence, Finding, Verdict, insufficient


def test_evidence_is_json_whatever_its_numbers_are():
    finding = Finding("carrier.delay", "ks", flagged=True, numbers={"statistic": 0.3, "p_value": math.nan})
    evidence = Evidence("drift", Verdict.FIRE, "one feature", {"ratio": math.inf, "rows": 50}, (finding,))
    document = json.loads(json.dumps(evidence.document(), allow_nan=False))
    assert document["verdict"] == "FIRE"
    assert document["numbers"] == {"ratio": None, "rows": 50}
    assert document["findings"][0]["numbers"] == {"statistic": 0.3, "p_value": None}


def test_too_little_to_tell_by_is_a_verdict_of_its_own_with_a_reason():
    evidence = insufficient("drift", "12 rows; 50 are needed", rows=12, rows_min=50)
    assert evidence.verdict is Verdict.INSUFFICIENT
    assert evidence.reason == "12 rows; 50 are needed"
    assert evidence.numbers == {"rows": 12, "rows_min": 50}
