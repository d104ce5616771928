"""What on the control port only reads: it alone may be tried again, as a change may have been made unheard."""

from __future__ import annotations

READS = {
    "turnout.registry.v1.RegistryService": (
        "GetModel",
        "ListModels",
        "GetVersion",
        "ListVersions",
        "ListAliasHistory",
        "GetAliasHolder",
        "SearchVersions",
        "CompareVersions",
        "GetLineage",
        "GetGateStatus",
        "ListTaints",
        "GetUploadStatus",
        "GetGovernance",
    ),
    "turnout.registry.v1.DeploymentService": ("GetDeployment",),
    "turnout.registry.v1.WebhookService": ("GetWebhook", "ListWebhooks", "ListDeliveries"),
    "turnout.experiments.v1.ExperimentService": (
        "GetExperiment",
        "ListExperiments",
        "AnalyzeExperiment",
        "GetRecommendation",
        "GetAssignment",
        "ListLooks",
        "ComparePairs",
        "EstimateSampleSize",
        "GetRamp",
        "ListRampEvents",
        "PreviewRamp",
        "GetHoldout",
        "VerifyExperiment",
        "ReplayExperiment",
    ),
    "turnout.experiments.v1.ShadowService": ("GetShadow", "ListShadows"),
    "turnout.features.v1.FeatureService": ("ListFeatureViews", "ListFeatureSets", "ReadFeatures"),
    "turnout.trainer.v1.TrainerService": (
        "GetPolicy",
        "ListPolicies",
        "GetCheck",
        "ListChecks",
        "GetRun",
        "ListRuns",
    ),
    "turnout.events.v1.EventService": ("CountEvents",),
    "turnout.admin.v1.AdminService": (
        "GetServingStatus",
        "ListGateways",
        "WaitForRevision",
        "ListChanges",
        "ListEvents",
    ),
}
"""The methods that change nothing, by the full name of their service."""
