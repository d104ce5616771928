"""The one table of who may call what.

Every method that is served has a row. One without is for `admin` alone, and a test that asks the running servers what
they serve fails until it has one.
"""

from __future__ import annotations

OPEN = "open"
"""Whoever reaches the port may call it."""

PREDICT = "predict"
OUTCOMES = "outcomes"
READ = "read"
RUNS = "runs"
"""To ask for a run of training, as a scheduler or a pipeline does, and nothing else."""

ADMIN = "admin"

_TABLE: dict[str, dict[str, str]] = {
    # Probes of load balancers and orchestrators carry no credentials.
    "grpc.health.v1.Health": {
        "Check": OPEN,
        "Watch": OPEN,
    },
    "grpc.reflection.v1alpha.ServerReflection": {
        "ServerReflectionInfo": READ,
    },
    "inference.GRPCInferenceService": {
        # The protocol's own probes of the server.
        "ServerLive": OPEN,
        "ServerReady": OPEN,
        # What a client asks before it can ask for an inference.
        "ServerMetadata": PREDICT,
        "ModelReady": PREDICT,
        "ModelMetadata": PREDICT,
        "ModelInfer": PREDICT,
        "ModelStreamInfer": PREDICT,
        "ModelConfig": READ,
        "ModelStatistics": READ,
        "RepositoryIndex": READ,
        "RepositoryModelLoad": ADMIN,
        "RepositoryModelUnload": ADMIN,
    },
    "turnout.serving.v1.PredictionService": {
        "Predict": PREDICT,
        "BatchPredict": PREDICT,
        "StreamPredict": PREDICT,
    },
    "turnout.outcomes.v1.OutcomeService": {
        "RecordOutcomes": OUTCOMES,
        "StreamOutcomes": OUTCOMES,
    },
    "turnout.registry.v1.RegistryService": {
        "GetModel": READ,
        "ListModels": READ,
        "GetVersion": READ,
        "ListVersions": READ,
        "ListAliasHistory": READ,
        "GetAliasHolder": READ,
        "SearchVersions": READ,
        "CompareVersions": READ,
        "GetLineage": READ,
        "GetGateStatus": READ,
        "ListTaints": READ,
        "DownloadArtifact": READ,
        "VerifyArtifacts": READ,
        "ExportRegistry": READ,
        "GetUploadStatus": ADMIN,
        "CollectArtifacts": ADMIN,
        "ImportRegistry": ADMIN,
        "WatchModels": READ,
        "GetGovernance": READ,
        "CreateModel": ADMIN,
        "PublishVersion": ADMIN,
        "PromoteVersion": ADMIN,
        "RollbackModel": ADMIN,
        "SetAlias": ADMIN,
        "DeleteAlias": ADMIN,
        "UpdateModel": ADMIN,
        "DeleteModel": ADMIN,
        "UndeleteModel": ADMIN,
        "UpdateVersion": ADMIN,
        "SetVersionStage": ADMIN,
        "DeleteVersion": ADMIN,
        "UndeleteVersion": ADMIN,
        "ApproveVersion": ADMIN,
        "CreateTaint": ADMIN,
        "ClearTaint": ADMIN,
    },
    "turnout.registry.v1.DeploymentService": {
        "GetDeployment": READ,
        "SetDeployment": ADMIN,
    },
    "turnout.registry.v1.WebhookService": {
        "GetWebhook": READ,
        "ListWebhooks": READ,
        "ListDeliveries": READ,
        "CreateWebhook": ADMIN,
        "UpdateWebhook": ADMIN,
        "DeleteWebhook": ADMIN,
        "TestWebhook": ADMIN,
        "RedeliverWebhook": ADMIN,
    },
    "turnout.experiments.v1.ExperimentService": {
        "GetExperiment": READ,
        "ListExperiments": READ,
        "AnalyzeExperiment": READ,
        "GetRecommendation": READ,
        "ListLooks": READ,
        "ComparePairs": READ,
        "GetAssignment": READ,
        "EstimateSampleSize": READ,
        "VerifyExperiment": READ,
        "ReplayExperiment": READ,
        "GetRamp": READ,
        "ListRampEvents": READ,
        "PreviewRamp": READ,
        "GetHoldout": READ,
        "CreateExperiment": ADMIN,
        "UpdateExperiment": ADMIN,
        "DeleteExperiment": ADMIN,
        "PauseExperiment": ADMIN,
        "ResumeExperiment": ADMIN,
        "ArchiveExperiment": ADMIN,
        "StartExperiment": ADMIN,
        "SetTrafficSplit": ADMIN,
        "ConcludeExperiment": ADMIN,
        "PauseRamp": ADMIN,
        "ResumeRamp": ADMIN,
        "ApproveRampStep": ADMIN,
        "AbortRamp": ADMIN,
        "SetHoldout": ADMIN,
    },
    "turnout.experiments.v1.ShadowService": {
        "GetShadow": READ,
        "ListShadows": READ,
        "SetShadow": ADMIN,
        "RemoveShadow": ADMIN,
    },
    "turnout.features.v1.FeatureService": {
        "ListFeatureViews": READ,
        "ListFeatureSets": READ,
        "ReadFeatures": READ,
        "GetTrainingData": READ,
        "GetMaterialization": READ,
        "ReplaySkew": READ,
        "ProfileFeatures": READ,
        "WriteFeatures": ADMIN,
        "ApplyFeatures": ADMIN,
        "Materialize": ADMIN,
    },
    "turnout.trainer.v1.TrainerService": {
        "GetPolicy": READ,
        "ListPolicies": READ,
        "GetCheck": READ,
        "ListChecks": READ,
        "GetRun": READ,
        "ListRuns": READ,
        "WatchRun": READ,
        "CreatePolicy": ADMIN,
        "UpdatePolicy": ADMIN,
        "DeletePolicy": ADMIN,
        "PausePolicy": ADMIN,
        "ResumePolicy": ADMIN,
        "CheckTriggers": ADMIN,
        "StartRun": RUNS,
        "CancelRun": ADMIN,
        "ClaimCheck": ADMIN,
        "FinishCheck": ADMIN,
        "ClaimRun": ADMIN,
        "RenewRun": ADMIN,
        "ReportStep": ADMIN,
        "FinishRun": ADMIN,
        "DeployRun": ADMIN,
    },
    "turnout.events.v1.EventService": {
        "CountEvents": READ,
        "TailEvents": READ,
        "ExportEvents": READ,
        "EraseEvents": ADMIN,
    },
    "turnout.admin.v1.AdminService": {
        "GetServingStatus": READ,
        "ListGateways": READ,
        "WaitForRevision": READ,
        "ListChanges": READ,
        "ListEvents": READ,
        "AdvanceClock": ADMIN,
    },
}

AUTHORITY: dict[str, str] = {
    f"/{service}/{method}": role for service, methods in _TABLE.items() for method, role in methods.items()
}
"""Full method path to the role that it takes, or `OPEN`."""


SUPERSEDE = ADMIN
"""What it takes to end another run by asking for one: not what asking takes."""


def role_of(path: str) -> str:
    """Return the role that a method takes; `admin` for one that has no row."""
    return AUTHORITY.get(path, ADMIN)
