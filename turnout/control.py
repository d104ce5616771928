"""The client of the control port: what publishes, promotes, applies and reads; used by the command line and trainers.

``Control`` gives each service's generated stub, so that everything the contract can say can be said, and adds what
takes more than one message. Whatever fails raises ``turnout.errors.TurnoutError``.
"""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Self

import grpc

from turnout import artifacts, resources, signing
from turnout import channel as _channel
from turnout.admin.v1 import admin_service_pb2, admin_service_pb2_grpc
from turnout.events.v1 import event_service_pb2_grpc
from turnout.experiments.v1 import experiment_service_pb2_grpc, shadow_service_pb2_grpc
from turnout.features.v1 import feature_service_pb2, feature_service_pb2_grpc
from turnout.reads import READS
from turnout.registry.v1 import (
    archive_pb2,
    deployment_service_pb2_grpc,
    registry_service_pb2,
    registry_service_pb2_grpc,
    webhook_service_pb2_grpc,
)
from turnout.security import Security
from turnout.trainer.v1 import trainer_service_pb2_grpc
from turnout.translate import Translate

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType


class Control:
    """Speaks to a gateway's control port; one connection, kept.

    Parameters
    ----------
    address
        The control port, ``host:port``.
    actor
        Who is asking, for the audit of a gateway on this machine that asks for no credentials; None: it notes the
        address. Other gateways note whose token or certificate it was.
    timeout_s
        The deadline of a call that names none of its own, in seconds.
    attempts_max
        How many tries a reading call gets while the answer is UNAVAILABLE, the first included. Changes get one.
    security
        What is shown to the gateway and whom to trust; None: what the environment says, see ``Security``.
    """

    def __init__(
        self,
        address: str = "127.0.0.1:8003",
        *,
        actor: str | None = None,
        timeout_s: float = 60.0,
        attempts_max: int = _channel.ATTEMPTS_MAX,
        security: Security | None = None,
    ) -> None:
        retried = [{"service": service, "method": method} for service, methods in READS.items() for method in methods]
        options = _channel.options_of(retried, attempts_max=attempts_max)
        security = Security.from_environment() if security is None else security
        target = _channel.target_of(address)
        translate = Translate(_channel.ForkGuard(), actor=actor, timeout_s=timeout_s, always=security.metadata(target))
        self._channel = grpc.intercept_channel(_channel.open_channel(target, options, security), translate)

    @functools.cached_property
    def registry(self) -> registry_service_pb2_grpc.RegistryServiceStub:
        """Models, versions and aliases."""
        return registry_service_pb2_grpc.RegistryServiceStub(self._channel)

    @functools.cached_property
    def deployments(self) -> deployment_service_pb2_grpc.DeploymentServiceStub:
        """How versions are run."""
        return deployment_service_pb2_grpc.DeploymentServiceStub(self._channel)

    @functools.cached_property
    def webhooks(self) -> webhook_service_pb2_grpc.WebhookServiceStub:
        """Who is told of changes."""
        return webhook_service_pb2_grpc.WebhookServiceStub(self._channel)

    @functools.cached_property
    def experiments(self) -> experiment_service_pb2_grpc.ExperimentServiceStub:
        """Experiments."""
        return experiment_service_pb2_grpc.ExperimentServiceStub(self._channel)

    @functools.cached_property
    def shadows(self) -> shadow_service_pb2_grpc.ShadowServiceStub:
        """What runs in the shadow of a model's answers."""
        return shadow_service_pb2_grpc.ShadowServiceStub(self._channel)

    @functools.cached_property
    def features(self) -> feature_service_pb2_grpc.FeatureServiceStub:
        """Feature views and sets."""
        return feature_service_pb2_grpc.FeatureServiceStub(self._channel)

    @functools.cached_property
    def events(self) -> event_service_pb2_grpc.EventServiceStub:
        """What the journal holds."""
        return event_service_pb2_grpc.EventServiceStub(self._channel)

    @functools.cached_property
    def training(self) -> trainer_service_pb2_grpc.TrainerServiceStub:
        """Policies, checks and runs of training."""
        return trainer_service_pb2_grpc.TrainerServiceStub(self._channel)

    @functools.cached_property
    def admin(self) -> admin_service_pb2_grpc.AdminServiceStub:
        """Operation of the gateway."""
        return admin_service_pb2_grpc.AdminServiceStub(self._channel)

    def publish_version(
        self,
        model: str,
        path: Path | str,
        *,
        facts: registry_service_pb2.VersionFacts | None = None,
        probe: registry_service_pb2.Probe | None = None,
        alias: str = "",
        finite_inputs: Sequence[str] = (),
        sign_key: Path | str | None = None,
        run: str = "",
        run_token: int = 0,
        timeout_s: float = 600.0,
    ) -> registry_service_pb2.PublishVersionResponse:
        """Publish an ONNX file as the model's next version and return it, or raise TurnoutError with no version made.

        An upload that broke off goes on where it did when the same file is published again.

        Parameters
        ----------
        model
            The model's name; the model is created when there is none.
        path
            The ONNX file. It is read twice: for its digest, then in chunks of 1 MiB.
        facts
            What is said of the version.
        probe
            Rows whose outputs are known; replayed at publication and at every load.
        alias
            An alias to set to the new version in the same transaction.
        finite_inputs
            Floating-point inputs for which calls that give NaN or an infinity are refused.
        sign_key
            The private key, as ``turnout registry keygen`` makes it, that signs the version's manifest.
        run, run_token
            The training run that makes it, and the token of the claim; a run publishes once, and gets what it has.
        timeout_s
            The deadline of the whole publication, in seconds.

        Raises
        ------
        OSError
            The file cannot be read.
        errors.InvalidError
            The file is not a graph that can be served, or its outputs disagree with the probe's.
        """
        file = Path(path)
        with file.open("rb") as source:
            digest = hashlib.file_digest(source, "sha256").hexdigest()
        head = registry_service_pb2.PublishHead(
            parent=resources.model_name(model),
            artifact_sha256=digest,
            facts=facts,
            probe=probe,
            alias=alias,
            finite_inputs=finite_inputs,
            run=run,
            run_token=run_token,
        )
        if sign_key is not None:
            head.manifest_signature = signing.read_key(sign_key).sign(signing.manifest(head))
        head.offset = artifacts.offset_of(self.registry, file, digest)
        return self.registry.PublishVersion(artifacts.publication(head, file), timeout=timeout_s)

    def download_artifact(
        self,
        model: str,
        version: int,
        path: Path | str,
        *,
        timeout_s: float = 600.0,
        arrived: Callable[[int, int], None] = lambda _bytes, _total: None,
    ) -> registry_service_pb2.Version:
        """Write a version's ONNX file, whose digest is checked, and return the version; see ``artifacts.download``."""
        name = resources.version_name(model, version)
        return artifacts.download(self.registry, name, Path(path), timeout_s=timeout_s, arrived=arrived)

    def export_registry(self, sink: BinaryIO, *, models: Sequence[str] = (), timeout_s: float = 900.0) -> int:
        """Write an archive of these models, or of all, and return how many bytes it has."""
        request = archive_pb2.ExportRegistryRequest(models=[resources.model_name(model) for model in models])
        return sum(sink.write(part.chunk) for part in self.registry.ExportRegistry(request, timeout=timeout_s))

    def import_registry(self, source: BinaryIO, *, timeout_s: float = 900.0) -> archive_pb2.ImportRegistryResponse:
        """Take an archive in, all of it or nothing, and return what was done."""
        parts = (archive_pb2.ImportRegistryRequest(chunk=chunk) for chunk in artifacts.archive_chunks(source))
        return self.registry.ImportRegistry(parts, timeout=timeout_s)

    def promote(
        self,
        model: str,
        version: int,
        *,
        generation: int | None = None,
        reason: str = "",
        evidence_json: str = "",
        override_reason: str = "",
    ) -> registry_service_pb2.PromoteVersionResponse:
        """Make a version the champion and return the alias as it stands.

        Raises
        ------
        errors.ConflictError
            ``generation`` is given and the alias has moved since.
        """
        request = registry_service_pb2.PromoteVersionRequest(
            name=resources.version_name(model, version),
            reason=reason,
            evidence_json=evidence_json,
            override_reason=override_reason,
        )
        if generation is not None:
            request.generation = generation
        return self.registry.PromoteVersion(request)

    def wait_for_revision(self, revision: int = 0, *, timeout_s: float = 30.0) -> int:
        """Return the lowest revision that any live worker serves, once it is at least ``revision`` (0: the newest).

        Raises
        ------
        errors.ExpiredError
            It was not reached within ``timeout_s`` seconds.
        """
        request = admin_service_pb2.WaitForRevisionRequest(revision=revision)
        return self.admin.WaitForRevision(request, timeout=timeout_s).revision

    def apply_features(
        self, directory: Path | str, *, base_dir: Path | str | None = None, dry_run: bool = False
    ) -> feature_service_pb2.ApplyFeaturesResponse:
        """Make the feature definitions what a directory says, or with ``dry_run`` say what would be done.

        Parameters
        ----------
        directory
            Holds ``*.toml`` and the ``*.sql`` they name, at any depth.
        base_dir
            Where relative source paths start, on the gateway's machine; None: the directory itself.
        dry_run
            Change nothing.

        Raises
        ------
        OSError
            A file cannot be read.
        errors.InvalidError
            A definition is malformed.
        """
        root = Path(directory)
        paths = sorted(path for path in root.rglob("*") if path.suffix in {".toml", ".sql"} and path.is_file())
        files = [
            feature_service_pb2.DefinitionFile(
                path=path.relative_to(root).as_posix(), text=path.read_text(encoding="utf-8")
            )
            for path in paths
        ]
        base = str(root.resolve() if base_dir is None else base_dir)
        return self.features.ApplyFeatures(
            feature_service_pb2.ApplyFeaturesRequest(files=files, base_dir=base, dry_run=dry_run)
        )

    def download_training_data(
        self, request: feature_service_pb2.GetTrainingDataRequest, sink: BinaryIO, *, timeout_s: float = 3600.0
    ) -> str:
        """Write a training table into ``sink`` as an Arrow IPC stream and return its fingerprint."""
        fingerprint = ""
        for part in self.features.GetTrainingData(request, timeout=timeout_s):
            sink.write(part.chunk)
            fingerprint = part.fingerprint or fingerprint
        return fingerprint

    def advance_clock(self, now_us: int) -> int:
        """Move the replay clock to ``now_us`` (microseconds since the Unix epoch) and return its time.

        Raises
        ------
        errors.PreconditionError
            The gateway does not run on the replay clock.
        """
        return self.admin.AdvanceClock(admin_service_pb2.AdvanceClockRequest(now_us=now_us)).now_us

    def close(self) -> None:
        """End the connection; calls in flight fail."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
