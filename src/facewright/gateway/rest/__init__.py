"""The REST door: avatars for whoever speaks HTTP. OpenAPI describes it at ``/v1/openapi.json``."""

from facewright.gateway.rest.application import RestSettings, rest_application
from facewright.gateway.rest.jobs import Jobs, JobSettings
from facewright.gateway.rest.limits import RestLimits
from facewright.gateway.rest.server import RestServer

__all__ = ["JobSettings", "Jobs", "RestLimits", "RestServer", "RestSettings", "rest_application"]
