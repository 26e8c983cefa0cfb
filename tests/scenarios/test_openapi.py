"""The API's OpenAPI document: what it says is so, by types and by requests that schemathesis makes up of it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp
import msgspec
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import Case, GenerationMode
from schemathesis import checks as common
from schemathesis.core.result import Ok
from schemathesis.specs.openapi import checks

from chatferry.channels.api import REQUEST
from chatferry.simulator.model import Refuse
from chatferry.web import openapi
from tests.scenarios.asking import HEADERS
from tests.stack import Stack

DOCUMENT: dict[str, Any] = json.loads(openapi.document())
BODY = {"messages": [{"role": "user", "content": "hello"}]}


def test_every_field_that_is_read_is_in_the_document_and_nothing_else_is() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    assert set(schemas["Request"]["properties"]) == {field.encode_name for field in msgspec.structs.fields(REQUEST)}
    assert schemas["Request"]["required"] == ["messages"]
    assert not [name for name in schemas if name.startswith("_")]
    assert "_" not in {text[0] for text in json.dumps(DOCUMENT).split("/schemas/")[1:]}


async def test_whatever_is_answered_is_of_the_types_in_the_document(stack: Stack) -> None:
    async with aiohttp.ClientSession(headers=HEADERS) as http:
        async with http.get(f"{stack.url}/v1/models") as answer:
            assert msgspec.json.decode(await answer.read(), type=openapi.Models).data[0].id == "default"
        address = f"{stack.url}/v1/chat/completions"
        async with http.post(address, json=BODY) as answer:
            whole = msgspec.json.decode(await answer.read(), type=openapi.Completion)
        streamed = BODY | {"stream": True, "stream_options": {"include_usage": True}}
        async with http.post(address, json=streamed) as answer:
            *events, done = [line[6:] for line in (await answer.read()).splitlines() if line]
        chunks = [msgspec.json.decode(event, type=openapi.Chunk) for event in events]
        stack.model.plans.append(Refuse(400))
        async with http.post(address, json=BODY) as answer:
            assert (answer.status, answer.headers["content-type"]) == (502, "application/json")
            assert msgspec.json.decode(await answer.read(), type=openapi.Error).error.code == "model_failed"
    assert whole.choices[0].message.content == "echo: hello"
    assert (chunks[-1].usage, done) == (whole.usage, b"[DONE]")


CHECKS = [
    common.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
    checks.ignored_auth,
]


def narrowed(document: dict[str, Any]) -> dict[str, Any]:
    """With the names that exist here, and one that does not: of all names none would be found."""
    names = ["default", "default", "gpt-9"]
    document["components"]["schemas"]["Request"]["properties"]["model"] = {"enum": names}
    document["paths"]["/v1/models/{name}"]["get"]["parameters"][0]["schema"] = {"enum": names}
    return document


async def test_whatever_is_asked_by_the_document_is_answered_by_it(
    stack: Stack, request: pytest.FixtureRequest
) -> None:
    examples: int = request.config.getoption("--examples")
    answers: set[tuple[int, str]] = set()

    def asked(case: Case[Any]) -> None:
        response = case.call(headers=HEADERS)
        answers.add((response.status_code, response.headers["content-type"][0].split(";")[0]))
        case.validate_response(response, checks=CHECKS, headers=HEADERS)

    def ask(url: str, document: dict[str, Any]) -> None:
        api = schemathesis.openapi.from_dict(narrowed(document))
        api.config.update(base_url=url)
        for found in api.get_all_operations():
            assert isinstance(found, Ok)
            for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):

                @settings(max_examples=examples, deadline=None, database=None, derandomize=True,
                          phases=[Phase.generate], suppress_health_check=list(HealthCheck))  # fmt: skip
                @given(case=found.ok().as_strategy(generation_mode=mode))
                def answered(case: Case[Any]) -> None:
                    asked(case)
                    body: Any = case.body if isinstance(case.body, dict) else {}
                    messages = body.get("messages") if isinstance(body.get("messages"), list) else []
                    # Left to chance, hardly any talk ends with a word of its user.
                    for stream in (True, False) if messages else ():
                        told = [*messages, {"role": "user", "content": "hello"}]
                        case.body = {**body, "messages": told, "stream": stream}
                        asked(case)

                answered()

    async with aiohttp.ClientSession() as http, http.get(f"{stack.url}/v1/openapi.json") as answer:
        await asyncio.to_thread(ask, stack.url, await answer.json())
    faults = {(status, "application/json") for status in (400, 401, 404, 422)}
    assert faults | {(200, "application/json"), (200, "text/event-stream")} <= answers
