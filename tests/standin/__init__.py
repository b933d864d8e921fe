"""An image that stands in for Step Functions Local's where that cannot be pulled: moto's interpreter as a server.

It takes the same environment variables and calls back over HTTP in the same way, so it shows that the container's
path works; of Step Functions Local's own behaviour it shows nothing.
"""
