"""The JSON Schema of hosts.yml, made from the types that read it: editors complete and check with it."""

from __future__ import annotations

import json
from typing import Any

from fleet.inventory.shape.hosts_file import HostsFile


def schema() -> dict[str, Any]:
    """The schema, as values of JSON."""
    made = HostsFile.model_json_schema(by_alias=True)
    made["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    made["title"] = "hosts.yml of fleet"
    return made


def schema_text() -> str:
    """The schema, as the file `hosts.schema.json` holds it."""
    return json.dumps(schema(), indent=1, ensure_ascii=False) + "\n"
