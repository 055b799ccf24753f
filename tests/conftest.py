"""What would make the tests differ from machine to machine is set aside."""

from __future__ import annotations

import os

os.environ["TIKTOKEN_CACHE_DIR"] = ""  # whatever is cached here: prompts are measured in bytes
