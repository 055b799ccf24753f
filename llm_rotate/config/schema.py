"""The JSON Schema of a registry file, with which editors complete and check it.

``python -m llm_rotate.config.schema > configs/schema.json`` writes it anew.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from .models import LMRotateConfig


def registry_schema() -> dict[str, Any]:
    """What a registry dict or file may hold."""
    schema = LMRotateConfig.model_json_schema()
    schema["title"] = "llm_rotate registry"
    schema["description"] = "Keys, providers and how calls go through them."
    schema["required"] = ["keys"]
    schema["properties"] = {
        "$schema": {"type": "string"},
        "use_keys": {
            "type": "array",
            "items": {"type": "string"},
            "description": "The key_ids to use, in this order; all if it is missing.",
        },
        **schema["properties"],
    }
    schema["$defs"]["ProviderConfig"]["properties"]["adapter"] = {
        "type": "string",
        "deprecated": True,
        "description": "The older name of dialect.",
    }
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def main() -> None:
    sys.stdout.write(json.dumps(registry_schema(), indent=2) + "\n")


if __name__ == "__main__":
    main()
