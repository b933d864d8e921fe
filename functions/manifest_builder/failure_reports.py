"""Reports of failed job runs to the alarm topic: the manifest, its files, the error, and what follows."""

from manifest_builder import aws, manifest_objects
from manifest_builder.errors import ManifestGone
from manifest_builder.job_runs import UNKNOWN
from manifest_builder.manifests import ManifestRecord
from manifest_builder.settings import settings
from manifest_builder.telemetry import logger

FILES_NAMED = 100
# SNS takes ASCII of at most 100 characters, without line breaks (SNS API Reference, Publish, Subject).
SUBJECT_CHARACTERS = 100


def report(manifest: ManifestRecord, error: str, *, is_retried: bool) -> None:
    """Sends the report. A failure to send is logged only: the metric JobRunsFailed has an alarm of its own."""
    topic_arn = settings().alarm_topic_arn
    if topic_arn is None:
        return
    try:
        aws.sns().publish(
            TopicArn=topic_arn,
            Subject=f"Job run failed: {manifest.date_prefix}, {manifest.file_count} files"[:SUBJECT_CHARACTERS],
            Message=_message(manifest, error, is_retried=is_retried),
        )
    except Exception:
        logger.exception(
            "a failed job run was not reported",
            extra={"manifest_path": manifest.file_path, "job_run_id": manifest.job_run_id},
        )


def _message(manifest: ManifestRecord, error: str, *, is_retried: bool) -> str:
    try:
        files = [file.file_path for file in manifest_objects.read(manifest.file_path)]
    except ManifestGone as gone:
        files = [str(gone)]
    named = "\n".join(files[:FILES_NAMED])
    rest = f"\n... and {len(files) - FILES_NAMED} more" if len(files) > FILES_NAMED else ""
    follows = "It is not started again automatically: fix the cause, then replay the manifest (docs/operations.md)."
    if is_retried:
        follows = "The job is started again for this manifest."
    elif error.startswith(UNKNOWN):
        follows = "It may have succeeded: check its output before you replay the manifest (docs/operations.md)."
    return (
        f"{error}\n\n{follows}\n\nManifest {manifest.file_path}\nRun {manifest.job_run_id} "
        f"(attempt {manifest.attempt}) of {settings().glue_job_name}\n\n{manifest.file_count} files:\n{named}{rest}\n"
    )
