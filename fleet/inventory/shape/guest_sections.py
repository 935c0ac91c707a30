"""What a container says for domains that are still to come: open ports, its service, monitoring."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from fleet.inventory.shape.fields import AbsolutePath, Names, Text, whole
from fleet.inventory.shape.model import Section
from fleet.inventory.shape.net_fields import ProtoPort


class Rule(Section):
    """A port that is open, and for whom: `tcp/443`, or `{port: tcp/8080, source: [lan, vpn]}`."""

    port: ProtoPort = Field(description="Protocol and port, or a range: `tcp/21115-21119`.")
    source: Names = Field((), description="Names of firewall.aliases, or networks; without it: anybody.")

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """The port alone, or a mapping."""
        schema = handler.resolve_ref_schema(handler(core))
        mapping = {key: schema.pop(key) for key in ("type", "properties", "additionalProperties", "required")}
        schema["anyOf"] = [{"type": "string"}, mapping]
        return schema

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: object) -> object:
        return {"port": value} if isinstance(value, str) else value


class GuestFirewall(Section):
    """What is let in to a guest; everything else is dropped."""

    accept_in: tuple[Rule, ...] = Field(
        (), description="Open ports: `[tcp/32400, {port: tcp/8080, source: lan}]`."
    )


class Service(Section):
    """The service that a guest runs, which has the guest's name unless it says otherwise."""

    kind: Literal["compose", "systemd", "openrc"] | None = Field(
        None, description="How it runs: a Docker Compose stack, a systemd unit, or an OpenRC service."
    )
    name: Text | None = Field(None, description="Name of the unit, service or stack (default: the guest's).")
    directory: AbsolutePath | None = Field(
        None,
        description="Folder of a Compose stack (default: /docker/NAME, or /opt/NAME without /docker).",
    )
    package: Text | None = Field(None, description="Package to install (default: its name).")
    ports: tuple[ProtoPort, ...] | None = Field(
        None, description="Ports it listens on (default: firewall.accept_in)."
    )


class GuestMonitor(Section):
    """How a guest is watched."""

    threshold: Annotated[int, whole(1, 100)] | None = Field(
        None, description="Percent at which memory or disk raise a warning."
    )
