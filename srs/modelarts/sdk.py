"""Huawei Cloud's SDK: its models check a request, its client signs and sends it. Optional."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import re
from collections.abc import Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any

from srs.types import UserError

if TYPE_CHECKING:
    from srs.modelarts.submit import Credentials

PACKAGE = "huaweicloudsdkmodelarts"
SIMPLE: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "int": (int,),
    "bool": (bool,),
    "float": (int, float),
    "object": (object,),
}


class Refused(Exception):
    """The service answered with an error; its one line. ``ours``: the request was at fault (4xx)."""

    def __init__(self, message: str, *, ours: bool) -> None:
        super().__init__(message)
        self.ours = ours


def installed() -> bool:
    return importlib.util.find_spec(PACKAGE) is not None


def check(job: Mapping[str, Any]) -> None:
    """Compare a request with the SDK's models: every key known, every value of the model's type.

    Raises UserError naming the key, also when the SDK isn't installed.
    """
    _check(job, "Job", _package("v1.model"), "")


def send(job: Mapping[str, Any], credentials: Credentials, *, region: str, endpoint: str) -> str:
    """Create the training job; its id. Raises Refused, or UserError for an unknown region."""
    check(job)
    package = _package("v1")
    core = importlib.import_module("huaweicloudsdkcore.exceptions.exceptions")
    basic = importlib.import_module("huaweicloudsdkcore.auth.credentials").BasicCredentials(
        credentials.access_key, credentials.secret_key, credentials.project
    )
    if credentials.security_token:
        basic = basic.with_security_token(credentials.security_token)
    builder = package.ModelArtsClient.new_builder().with_credentials(basic)
    if endpoint:
        builder = builder.with_endpoints([endpoint.rstrip("/")])
    else:
        regions = _package("v1.region.modelarts_region").ModelArtsRegion
        try:
            builder = builder.with_region(regions.value_of(region))
        except KeyError as e:
            near = difflib.get_close_matches(region, regions.static_fields, n=1, cutoff=0.0)
            raise UserError(
                f"modelarts.region = {region!r}: unknown to {PACKAGE}; did you mean {near[0]}? "
                "(modelarts.endpoint takes any URL)"
            ) from e
    try:
        answer = builder.build().create_training_job(
            package.CreateTrainingJobRequest(body=dict(job))
        )
    except core.ServiceResponseException as e:
        raise Refused(
            _one_line(f"ModelArts answered {e.status_code} {e.error_code or ''}: {e.error_msg}"),
            ours=400 <= e.status_code < 500,
        ) from e
    except core.SdkException as e:
        raise Refused(
            _one_line(f"ModelArts could not be reached: {e.error_msg}"), ours=False
        ) from e
    return str(answer.metadata.id if answer.metadata else "")


def _package(name: str) -> ModuleType:
    try:
        return importlib.import_module(f"{PACKAGE}.{name}")
    except ModuleNotFoundError as e:
        raise UserError(
            f"the Huawei Cloud SDK is not installed: pip install '{PACKAGE}==3.1.219' "
            "(the extra `modelarts` of this project)"
        ) from e


def _check(value: Any, kind: str, models: ModuleType, key: str) -> None:
    where = key or "the request"
    if (inner := re.fullmatch(r"list\[(.+)\]", kind)) is not None:
        _expect(isinstance(value, list), where, "a list", value)
        for number, item in enumerate(value):
            _check(item, inner[1], models, f"{key}[{number}]")
    elif (inner := re.fullmatch(r"dict\(str, ?(.+)\)", kind)) is not None:
        _expect(isinstance(value, dict), where, "an object", value)
        for name, item in value.items():
            _check(item, inner[1], models, f"{key}.{name}")
    elif kind in SIMPLE:
        right = isinstance(value, SIMPLE[kind]) and (kind != "int" or not isinstance(value, bool))
        _expect(right, where, kind, value)
    else:
        model = getattr(models, kind)
        _expect(isinstance(value, dict), where, "an object", value)
        types = {model.attribute_map[name]: t for name, t in model.openapi_types.items()}
        for name, item in value.items():
            path = f"{key}.{name}".lstrip(".")
            if name not in types:
                near = difflib.get_close_matches(name, types, n=1, cutoff=0.0)
                raise UserError(f"{path}: not a field of {kind}; did you mean {near[0]}?")
            _check(item, types[name], models, path)


def _expect(right: bool, where: str, kind: str, value: Any) -> None:
    if not right:
        raise UserError(f"{where}: must be {kind}, got {value!r}")


def _one_line(text: str) -> str:
    return " ".join(text.split())
