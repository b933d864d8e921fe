"""The Glue job of the embedded run, a Python shell script: counts the rows of every file that a manifest names.

A manifest that names a missing file fails its run. The result goes to `results/<key of the manifest>`. The emulator
hands the job's arguments over as environment variables without their `--`.
"""

import json
import os

import boto3


def main() -> None:
    s3 = boto3.client("s3")
    bucket, key = split(os.environ["MANIFEST_PATH"])
    manifest = json.loads(s3.get_object(Bucket=bucket, Key=key)["Body"].read())
    uris = [uri for location in manifest["fileLocations"] for uri in location["URIPrefixes"]]
    rows = 0
    for uri in uris:
        file_bucket, file_key = split(uri)
        rows += sum(1 for _ in s3.get_object(Bucket=file_bucket, Key=file_key)["Body"].iter_lines())
    result = {"manifest": os.environ["MANIFEST_PATH"], "files": len(uris), "rows": rows}
    s3.put_object(Bucket=os.environ["RESULT_BUCKET"], Key=f"results/{key}", Body=json.dumps(result).encode())


def split(uri: str) -> tuple[str, str]:
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return bucket, key


if __name__ == "__main__":
    main()
