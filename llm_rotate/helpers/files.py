"""Files that providers keep, as LMRotate sends them."""

from __future__ import annotations

import asyncio
import mimetypes
from collections.abc import Awaitable, Callable
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from ..arguments import Steering
from ..core.wire import FileRequest
from ..engine.portal import PORTAL
from ..errors import ConfigurationError
from ..types import UploadedFile
from .recording import unreadable


class Files:
    """File uploads, for whoever can ask."""

    _ask: Callable[..., Awaitable[Any]]

    async def upload_file(
        self,
        file: str | PathLike[str] | bytes,
        *,
        mime_type: str | None = None,
        display_name: str | None = None,
        provider: str = "google_ai_studio",
        **steering: Any,
    ) -> UploadedFile:
        """Sends a file to be kept by the provider, for requests that name it.

        ``file``: a path, or bytes, which need their ``mime_type``. The answer's ``uri`` goes
        into a request as ``{"type": "file", "file_uri": file.uri, "mime_type":
        file.mime_type}``. Only the project of the key that sent it can read it, so calls of
        this pool that name it go to that key. The keywords of :meth:`chat` that steer a call
        are taken.

        Raises as :meth:`chat` does; a file that cannot be read is a ConfigurationError.
        """
        unknown = steering.keys() - Steering.__dataclass_fields__.keys()
        if unknown:
            raise ConfigurationError(f"upload_file has no {', '.join(sorted(unknown))}=")
        content: Any = bytes(file) if isinstance(file, bytes | bytearray) else fspath(file)
        if isinstance(content, bytes):
            if mime_type is None:
                raise ConfigurationError("bytes need their mime_type=, such as 'application/pdf'")
        else:
            await asyncio.to_thread(_check_readable, content)
            mime_type = mime_type or mimetypes.guess_type(content)[0]
        if mime_type is None:
            raise ConfigurationError(f"{content}: its kind is not known; give mime_type=")
        request = FileRequest("", content, mime_type, display_name)
        sent: UploadedFile = await self._ask(request, Steering(provider=provider, **steering))
        return sent

    def upload_file_sync(self, file: str | PathLike[str] | bytes, **keywords: Any) -> UploadedFile:
        """:meth:`upload_file` for code without a loop."""
        return PORTAL.run(lambda: self.upload_file(file, **keywords))


def _check_readable(path: str) -> None:
    """A file that is not there costs no key its attempt."""
    try:
        with Path(path).open("rb"):
            pass
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from error
