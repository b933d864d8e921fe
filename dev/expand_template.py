"""Prints template.yaml as AWS SAM's own translator expands it, offline, as JSON: the template that CloudFormation gets.

python -m dev.expand_template
"""

import json
from typing import Any

import boto3
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator
from samtranslator.yaml_helper import yaml_parse

from dev.paths import TEMPLATE


def expand(text: str) -> dict[str, Any]:
    """`sam deploy` uploads code, definition and script, so their places are S3 addresses."""
    template = yaml_parse(text)
    template["Globals"]["Function"]["CodeUri"] = "s3://artifacts/functions.zip"
    template["Resources"]["ManifestStateMachine"]["Properties"]["DefinitionUri"] = "s3://artifacts/definition.json"
    template["Resources"]["GlueJob"]["Properties"]["Command"]["ScriptLocation"] = "s3://artifacts/script.py"
    no_managed_policies: dict[str, str] = {}
    session = boto3.Session(region_name="us-east-1")
    return dict(Translator(no_managed_policies, Parser(), boto_session=session).translate(template, {}))


if __name__ == "__main__":
    print(json.dumps(expand(TEMPLATE.read_text()), indent=1))
