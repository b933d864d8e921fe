"""The table of the template in a simulated Glue catalog."""

from typing import Any

import boto3

from tests.template.sam import properties


def make_table(database: str, name: str) -> Any:
    """Makes it as CloudFormation does, with its database; the client."""
    glue = boto3.client("glue")
    glue.create_database(DatabaseInput={"Name": database})
    made: Any = dict(properties("GlueTable")["TableInput"], Name=name)
    made["StorageDescriptor"] = dict(made["StorageDescriptor"], Location="s3://output/parquet/")
    glue.create_table(DatabaseName=database, TableInput=made)
    return glue
