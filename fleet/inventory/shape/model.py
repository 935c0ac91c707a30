"""What all sections of hosts.yml share: frozen, no unknown keys, an empty section is one without keys."""

from __future__ import annotations

import re
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError

from fleet.inventory.document import List, Map
from fleet.inventory.shape.fields import kind_of
from fleet.tools.props import parse_props


class Section(BaseModel):
    """A mapping of hosts.yml. Descriptions of the fields are its documentation."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_by_alias=True, validate_by_name=False, defer_build=True
    )

    @model_validator(mode="before")
    @classmethod
    def _empty_is_absent(cls, value: object) -> object:
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise PydanticCustomError(
                "fleet", "must be a mapping of keys, not {what}", {"what": kind_of(value)}
            )
        if None in value.values():
            known = cls.keys()
            return {key: each for key, each in value.items() if each is not None or key not in known}
        return value

    @classmethod
    def absent(cls) -> Self:
        """The section as it is when the file does not have it."""
        return cls.model_validate({})

    @classmethod
    def keys(cls) -> dict[str, str]:
        """The keys as hosts.yml writes them, each with the name of its field."""
        return {field.alias or name: name for name, field in cls.model_fields.items()}


class Props(BaseModel):
    """A Proxmox property string, or the same as a mapping; null takes an inherited property away."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_by_alias=True, validate_by_name=False, defer_build=True
    )
    default_key: ClassVar[str] = ""

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: object) -> object:
        if isinstance(value, str):
            try:
                value = parse_props(re.sub(r"\s*,\s*", ",", value.strip()), cls.default_key)
            except ValueError as error:
                raise PydanticCustomError("fleet", "{says}", {"says": str(error)}) from None
        if not isinstance(value, dict):
            what = kind_of(value)
            raise PydanticCustomError(
                "fleet", "must be a text like key=value,key=value or a mapping, not {what}", {"what": what}
            )
        for key, each in value.items():
            if isinstance(each, str) and "," in each:
                raise PydanticCustomError(
                    "fleet",
                    "{key} holds a comma, which Proxmox cannot write in a property string",
                    {"key": key},
                )
            if isinstance(each, List | Map) and key not in cls.lists():
                raise PydanticCustomError(
                    "fleet", "{key} must be one value, not {what}", {"key": key, "what": kind_of(each)}
                )
        return cls.prepare(value)

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """The text, or the mapping that means the same."""
        schema = handler.resolve_ref_schema(handler(core))
        mapping = {key: schema.pop(key) for key in ("type", "properties", "additionalProperties")}
        if cls.default_key and cls.default_key not in mapping["properties"]:
            mapping["properties"][cls.default_key] = {"type": ["string", "integer"]}
        schema["anyOf"] = [{"type": ["string", "integer"]}, mapping]
        return schema

    @classmethod
    def lists(cls) -> frozenset[str]:
        """Properties that may be written as a list."""
        return frozenset()

    @classmethod
    def prepare(cls, value: dict[str, Any]) -> dict[str, Any]:
        """The properties under the names of the fields; a volume is taken apart here."""
        return value

    def given(self) -> dict[str, Any]:
        """What is written, by Proxmox's names; None for what is taken away."""
        fields = type(self).model_fields
        return {fields[name].alias or name: getattr(self, name) for name in self.model_fields_set}
