"""Who hears of what: one channel a severity, each a URL of apprise."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field, WithJsonSchema

from fleet.inventory.shape.fields import Text
from fleet.inventory.shape.host_fields import Secret
from fleet.inventory.shape.model import Section

SEVERITIES = ("critical", "warning", "info", "success")


def _several(value: object) -> object:
    return [value] if isinstance(value, str) else value


Urls = Annotated[
    tuple[Secret, ...],
    BeforeValidator(_several),
    WithJsonSchema({"type": ["string", "array"], "items": {"type": "string"}}),
]


class Topics(Section):
    """The topic of each severity, which is added to the URL."""

    critical: Text = Field(description="A guest failed, trouble with storage.")
    warning: Text = Field(description="A threshold is passed, a service is degraded.")
    info: Text = Field(description="Deployments, updates available.")
    success: Text = Field(description="A backup is finished, something recovered.")


class NotificationSection(Section):
    """Who hears of what: one URL for everything, with or without a topic a severity, and more a severity."""

    url: Secret | None = Field(
        None,
        description="Where all notices go, as apprise writes it (`ntfys://ntfy.sh`, `mailto://`, `discord://`"
        " ...): a reference, since tokens are in it.",
    )
    topics: Topics | None = Field(None, description="The topic of each severity, added to `url` (ntfy).")
    critical: Urls = Field((), description="One or several more URLs: a guest failed, trouble with storage.")
    warning: Urls = Field((), description="... a threshold is passed, a service is degraded.")
    info: Urls = Field((), description="... deployments, updates available.")
    success: Urls = Field((), description="... a backup is finished, something recovered.")
