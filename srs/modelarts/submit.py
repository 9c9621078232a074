"""Sends a rendered job, or says what would be sent where no credentials are configured."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from srs.types import UserError

ACCESS_KEY = "HUAWEICLOUD_SDK_AK"
SECRET_KEY = "HUAWEICLOUD_SDK_SK"
PROJECT = "HUAWEICLOUD_SDK_PROJECT_ID"
TOKEN = "HUAWEICLOUD_SDK_SECURITY_TOKEN"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """What huaweicloudsdkcore reads from its environment variables."""

    access_key: str = dataclasses.field(repr=False)
    secret_key: str = dataclasses.field(repr=False)
    project: str
    security_token: str | None = dataclasses.field(default=None, repr=False)

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Self | None:
        """None when neither key is set. Raises UserError when only a part is."""
        present = {name: environment.get(name, "") for name in (ACCESS_KEY, SECRET_KEY, PROJECT)}
        if not present[ACCESS_KEY] and not present[SECRET_KEY]:
            return None
        for name, value in present.items():
            if not value:
                raise UserError(f"{name} is not set: all of {', '.join(present)} are needed")
        return cls(
            access_key=present[ACCESS_KEY],
            secret_key=present[SECRET_KEY],
            project=present[PROJECT],
            security_token=environment.get(TOKEN) or None,
        )


def read_job(path: Path) -> dict[str, Any]:
    """A request that `render` wrote. Raises UserError naming the file."""
    try:
        job = json.loads(path.read_text(encoding="utf-8"))
    except OSError as e:
        raise UserError(f"{path}: cannot be read: {e.strerror}; write it with `render`") from e
    except ValueError as e:
        raise UserError(f"{path}: not JSON: {e}; write it anew with `render`") from e
    if not isinstance(job, dict) or job.get("kind") != "job":
        raise UserError(f"{path}: not a training job's request (no kind = job); see `render`")
    return job


def preview(job: Mapping[str, Any], *, region: str, endpoint: str, checked: str) -> str:
    """What would be sent, as text. ``checked``: how far it was."""
    where = endpoint.rstrip("/") or f"https://modelarts.{region or '{region}'}.myhuaweicloud.com"
    return (
        f"Not sent: {ACCESS_KEY}, {SECRET_KEY} and {PROJECT} are not set. It would be ({checked})\n"
        f"POST {where}/v2/{{project_id}}/training-jobs\n"
        f"{json.dumps(job, indent=1, ensure_ascii=False)}"
    )
