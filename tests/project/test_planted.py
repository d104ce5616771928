"""Each check refuses what it is there to refuse: a violation is planted in a copy of the tree."""

from __future__ import annotations

import shutil


def test_import_check_passes_on_the_tree_as_it_is(tree, make):
    done = make(tree, "check-imports")
    assert done.returncode == 0, done.stdout + done.stderr


def test_planted_layering_violation_fails_the_import_check(tree, make):
    (tree / "storage" / "planted.py").write_text('"""Look upwards."""\n\nimport registry.errors\n')
    done = make(tree, "check-imports")
    assert done.returncode != 0
    assert "storage.planted -> registry.errors" in done.stdout


def test_planted_type_error_fails_the_type_check(tree, make, root):
    if (root / ".mypy_cache").exists():  # `make check` has just filled it; without it this takes a while longer
        shutil.copytree(root / ".mypy_cache", tree / ".mypy_cache")
    (tree / "storage" / "planted.py").write_text('"""Promise a number."""\n\nnumber: int = "one"\n')
    done = make(tree, "check-types")
    assert done.returncode != 0
    assert "storage/planted.py:3: error: Incompatible types in assignment" in done.stdout
    assert "Found 1 error in 1 file" in done.stdout


def test_generated_code_of_the_tree_as_it_is_is_fresh(tree, make):
    done = make(tree, "check-generated")
    assert done.returncode == 0, done.stderr


def test_stale_left_over_and_missing_generated_files_fail_the_check(tree, make):
    stale = tree / "turnout/tensor/v1/tensor_pb2.py"
    stale.write_text(stale.read_text().replace("AddSerializedFile", "AddSerialisedFile"))
    (tree / "turnout/tensor/v1/gone_pb2.py").write_text("")
    (tree / "turnout/serving/v1/prediction_service_pb2_grpc.py").unlink()
    done = make(tree, "check-generated")
    assert done.returncode != 0
    assert "turnout/tensor/v1/tensor_pb2.py: differs" in done.stderr
    assert "turnout/tensor/v1/gone_pb2.py: is in the tree, but no longer generated" in done.stderr
    assert "turnout/serving/v1/prediction_service_pb2_grpc.py: is generated, but not in the tree" in done.stderr


def test_contract_changed_without_generating_again_fails_the_check(tree, make):
    proto = tree / "protos/turnout/tensor/v1/tensor.proto"
    proto.write_text(proto.read_text() + "\n// Planted.\nmessage Planted {}\n")
    done = make(tree, "check-generated")
    assert done.returncode != 0
    assert "turnout/tensor/v1/tensor_pb2.py: differs" in done.stderr


def test_breaking_change_of_the_contract_fails_the_proto_check(tree, make):
    proto = tree / "protos/turnout/serving/v1/prediction_service.proto"
    text = proto.read_text()
    assert "string unit_id = 5;" in text
    proto.write_text(text.replace("string unit_id = 5;", "int64 unit_id = 5;"))
    done = make(tree, "check-protos")
    assert done.returncode != 0
    assert 'Field "5" with name "unit_id" on message "PredictRequest" changed type' in done.stdout + done.stderr


def test_a_field_that_is_removed_fails_the_proto_check(tree, make):
    proto = tree / "protos/turnout/outcomes/v1/outcome_service.proto"
    text = proto.read_text()
    assert "  string outcome_id = 6;\n" in text
    proto.write_text(text.replace("  string outcome_id = 6;\n", "  reserved 6;\n"))
    done = make(tree, "check-protos")
    assert done.returncode != 0
    assert 'Previously present field "6" with name "outcome_id"' in done.stdout + done.stderr


def test_a_reason_that_is_renamed_fails_the_proto_check_in_the_code_and_once_released_in_the_contract_too(tree, make):
    errors, contract = tree / "gateway/errors.py", tree / "protos/turnout/refusal/v1/reason.proto"
    assert make(tree, "release-image").returncode == 0
    assert '"MODEL_NOT_SERVED"' in errors.read_text()
    errors.write_text(errors.read_text().replace('"MODEL_NOT_SERVED"', '"MODEL_ABSENT"'))
    done = make(tree, "check-protos")
    assert done.returncode != 0
    assert "MODEL_ABSENT is said by an error, but not listed" in done.stderr
    assert "MODEL_NOT_SERVED is listed" in done.stderr
    contract.write_text(contract.read_text().replace("REASON_MODEL_NOT_SERVED", "REASON_MODEL_ABSENT"))
    done = make(tree, "check-protos")
    assert done.returncode != 0
    assert "REASON_MODEL_NOT_SERVED" in done.stdout + done.stderr


def test_a_deprecation_without_a_word_fails_the_proto_check(tree, make):
    proto = tree / "protos/turnout/outcomes/v1/outcome_service.proto"
    proto.write_text(proto.read_text().replace("string model = 7;", "string model = 7 [deprecated = true];"))
    done = make(tree, "check-protos")
    assert done.returncode != 0
    assert "protos/turnout/outcomes/v1/outcome_service.proto:" in done.stderr
    proto.write_text(
        proto.read_text().replace(
            "  string model = 7", "  // Deprecated since 0.2: use `request_id`.\n  string model = 7"
        )
    )
    assert make(tree, "check-protos").returncode == 0


def test_addition_to_the_contract_passes_the_proto_check(tree, make):
    proto = tree / "protos/turnout/tensor/v1/tensor.proto"
    proto.write_text(proto.read_text() + "\n// Added.\nmessage Added {}\n")
    done = make(tree, "check-protos")
    assert done.returncode == 0, done.stdout + done.stderr


def test_uncommented_message_fails_the_proto_check(tree, make):
    proto = tree / "protos/turnout/tensor/v1/tensor.proto"
    proto.write_text(proto.read_text() + "\nmessage Planted {}\n")
    done = make(tree, "check-protos")
    assert done.returncode != 0
    assert "Planted" in done.stdout + done.stderr


def test_unformatted_file_fails_the_format_check(tree, make):
    (tree / "storage" / "planted.py").write_text('"""Unformatted."""\nx  =  1\n')
    assert make(tree, "check-format").returncode != 0


def test_unused_import_fails_the_lint_check(tree, make):
    (tree / "storage" / "planted.py").write_text('"""Unused."""\n\nimport json\n')
    done = make(tree, "check-lint")
    assert done.returncode != 0
    assert "F401" in done.stdout


def test_unpinned_base_image_fails_the_dockerfile_check(tree, make):
    (tree / "Dockerfile").write_text("FROM debian:latest\nUSER 10001\n")
    done = make(tree, "check-dockerfile")
    assert done.returncode != 0
    assert "DL3007" in done.stdout
