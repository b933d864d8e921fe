"""Commands for operators: they show the state of files and manifests, and repair it. A thin layer over boto3."""
