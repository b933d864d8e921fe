"""The Glue job of the embedded run, a Python shell script: counts the rows of every version that a manifest names.

A manifest that names a missing version fails its run. The result goes to `results/<key of the manifest>`. The emulator
hands the job's arguments over as environment variables without their `--`.
"""

import json
import os

import boto3


def main() -> None:
    s3 = boto3.client("s3")
    bucket, key = split(os.environ["MANIFEST_PATH"])
    manifest = json.loads(s3.get_object(Bucket=bucket, Key=key)["Body"].read())
    versions, rows = [], 0
    for file in manifest["files"]:
        file_bucket, file_key = split(file["uri"])
        pinned = {"VersionId": file["versionId"]} if file["versionId"] else {"IfMatch": file["etag"]}
        found = s3.get_object(Bucket=file_bucket, Key=file_key, **pinned)
        rows += sum(1 for _ in found["Body"].iter_lines())
        versions.append((file["uri"], found.get("VersionId") or found["ETag"].strip('"')))
    result = {"manifest": os.environ["MANIFEST_PATH"], "files": len(versions), "rows": rows, "versions": versions}
    s3.put_object(Bucket=os.environ["RESULT_BUCKET"], Key=f"results/{key}", Body=json.dumps(result).encode())


def split(uri: str) -> tuple[str, str]:
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return bucket, key


if __name__ == "__main__":
    main()
