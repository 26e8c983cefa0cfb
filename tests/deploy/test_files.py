"""What a deploy file says fits what the program does. Whether it runs is for `test_image` and for the hosts."""

from __future__ import annotations

import configparser
import re
import shlex
from pathlib import Path

import yaml
from typer.testing import CliRunner

from chatferry.cli.main import app
from chatferry.config import ServerSettings
from tests.deploy.dockerfile import steps
from tests.pages import blocks, known, text

DRAIN = ServerSettings().drain
SPARE = 10.0
"""Seconds beside the drain for what comes before and after it: the last write, open connections, the end."""
ROLES = {"web", "worker"}


def role(command: list[str]) -> str:
    return command[command.index("--role") + 1]


IMAGE = steps(text("Dockerfile"))
LAST = IMAGE[max(place for place, step in enumerate(IMAGE) if step.word == "FROM") :]
COMPOSE = yaml.safe_load(text("compose.yaml"))
OURS = {name: service for name, service in COMPOSE["services"].items() if name != "postgres"}
RENDER = yaml.safe_load(text("render.yaml"))
KUBERNETES = [thing for block in blocks("docs/deploy-kubernetes.md", "yaml") for thing in yaml.safe_load_all(block)]
PODS = {thing["metadata"]["name"]: thing["spec"]["template"] for thing in KUBERNETES if thing["kind"] == "Deployment"}
ON_A_FILE = yaml.safe_load(
    "".join(
        line[2:] + "\n" for line in text("render.yaml").splitlines() if re.match(r"# ( *- |services:| {3,}\w+:)", line)
    )
)


# The image


def test_the_image_runs_as_somebody_who_is_not_root() -> None:
    [user] = [step.rest for step in LAST if step.word == "USER"]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user), "by number: Kubernetes cannot tell what a name is"


def test_the_image_is_told_to_stop_and_asked_for_its_health_without_a_shell() -> None:
    by_word = {step.word: step for step in LAST}
    assert by_word["CMD"].command == ["chatferry", "serve"]
    assert by_word["HEALTHCHECK"].command == ["chatferry", "health"]
    assert by_word["STOPSIGNAL"].rest == "SIGTERM"


def test_nothing_gets_into_the_image_but_what_it_copies() -> None:
    copied = {word for step in IMAGE if step.word == "COPY" and "from" not in step.flags for word in step.words[:-1]}
    ignored = [line for line in text(".dockerignore").splitlines() if line and not line.startswith("#")]
    assert ignored[0] == "*"
    assert {line[1:] for line in ignored if line.startswith("!")} == copied
    assert ".env" not in copied


def test_the_image_holds_no_secret_and_names_no_server() -> None:
    named = {word.partition("=")[0] for step in IMAGE if step.word in ("ENV", "ARG") for word in step.words}
    assert {name for name in named if re.search("KEY|SECRET|TOKEN|PASSWORD", name)} == set()
    assert "://" not in text("Dockerfile").replace("sqlite://", "")
    assert not re.search(r"index-url|find-links|trusted-host", text("Dockerfile"))


# Compose


def test_compose_has_one_process_for_the_platforms_and_two_that_answer() -> None:
    assert {name: role(service["command"]) for name, service in OURS.items()} == {"web": "web", "worker": "worker"}
    assert OURS["worker"]["deploy"]["replicas"] == 2
    assert "deploy" not in OURS["web"]


def test_in_compose_only_web_has_a_port_and_only_on_this_machine() -> None:
    assert {name for name, service in COMPOSE["services"].items() if "ports" in service} == {"web"}
    assert all(port.startswith("127.0.0.1:") for port in OURS["web"]["ports"])


def test_compose_gives_time_to_drain_and_starts_again_what_ends() -> None:
    for service in OURS.values():
        assert float(service["stop_grace_period"].removesuffix("s")) >= DRAIN + SPARE
        assert service["restart"] == "unless-stopped"
        assert service["depends_on"] == {"postgres": {"condition": "service_healthy"}}
        assert service["env_file"] == ".env"
    assert COMPOSE["services"]["postgres"]["healthcheck"]["test"][1] == "pg_isready"


def test_compose_has_no_password_of_its_own_and_says_where_one_belongs() -> None:
    uses = re.findall(r"\$\{POSTGRES_PASSWORD([^}]*)\}", text("compose.yaml"))
    assert uses
    assert all(use.startswith(":?set it in .env") for use in uses)


def test_the_database_of_compose_outlives_its_container() -> None:
    [volume] = COMPOSE["services"]["postgres"]["volumes"]
    assert volume.split(":")[0] in COMPOSE["volumes"]


# Render


def test_render_has_both_roles_time_to_drain_and_a_health_check_where_there_are_any() -> None:
    services = {service["type"]: service for service in RENDER["services"]}
    assert {kind: role(shlex.split(service["dockerCommand"])) for kind, service in services.items()} == {
        "web": "web",
        "worker": "worker",
    }
    assert all(DRAIN + SPARE <= service["maxShutdownDelaySeconds"] <= 300 for service in services.values())
    assert services["web"]["healthCheckPath"] == "/healthz"
    assert "healthCheckPath" not in services["worker"]


def test_what_a_service_at_render_refers_to_is_there() -> None:
    services = {service["name"]: service for service in RENDER["services"]}
    databases = {database["name"] for database in RENDER["databases"]}
    for service in services.values():
        for variable in service["envVars"]:
            if "fromDatabase" in variable:
                assert variable["fromDatabase"]["name"] in databases
            if "fromService" in variable:
                other = services[variable["fromService"]["name"]]
                assert other["type"] == variable["fromService"]["type"]
                given = {theirs["key"] for theirs in other["envVars"]} | {"RENDER_EXTERNAL_URL"}
                assert variable["fromService"]["envVarKey"] in given


def test_both_services_at_render_are_told_the_same() -> None:
    web, worker = ({variable["key"] for variable in service["envVars"]} for service in RENDER["services"])
    assert web | {"CHATFERRY_PUBLIC_URL"} == worker, "the address of web is found by itself there"


def test_the_variant_on_a_file_keeps_it_on_its_disk() -> None:
    [service] = ON_A_FILE["services"]
    values = {variable["key"]: variable.get("value", "") for variable in service["envVars"]}
    file = ServerSettings(database=values["CHATFERRY_DATABASE"]).file
    assert file is not None
    assert file.is_relative_to(service["disk"]["mountPath"])
    assert "numInstances" not in service


# Kubernetes


def test_on_kubernetes_both_roles_are_there_with_their_probes() -> None:
    assert {role(pod["spec"]["containers"][0]["command"]) for pod in PODS.values()} == ROLES
    for pod in PODS.values():
        [container] = pod["spec"]["containers"]
        assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"
        assert container["startupProbe"]["httpGet"]["path"] == "/healthz"
        assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
        assert [port["name"] for port in container["ports"]] == ["http"]


def test_on_kubernetes_there_is_time_for_the_pause_and_the_drain() -> None:
    for pod in PODS.values():
        pause = pod["spec"]["containers"][0].get("lifecycle", {}).get("preStop", {"exec": {"command": ["sleep", "0"]}})
        needed = float(pause["exec"]["command"][1]) + DRAIN + SPARE
        assert pod["spec"]["terminationGracePeriodSeconds"] >= needed


def test_on_kubernetes_nothing_runs_as_root_or_writes_into_the_image() -> None:
    for pod in PODS.values():
        assert pod["spec"]["securityContext"]["runAsNonRoot"] is True
        [container] = pod["spec"]["containers"]
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert container["securityContext"]["allowPrivilegeEscalation"] is False


def test_on_kubernetes_whatever_selects_finds_something() -> None:
    labels = [pod["metadata"]["labels"] for pod in PODS.values()]
    selectors = [
        thing["spec"]["selector"].get("matchLabels", thing["spec"]["selector"])
        for thing in KUBERNETES
        if "selector" in thing.get("spec", {})
    ]
    assert len(selectors) == 5  # two Deployments, a Service, two PodDisruptionBudgets
    for selector in selectors:
        assert sum(selector.items() <= label.items() for label in labels) == 1


def test_on_kubernetes_only_what_people_need_can_be_reached() -> None:
    [ingress] = [thing for thing in KUBERNETES if thing["kind"] == "Ingress"]
    paths = {path["path"] for rule in ingress["spec"]["rules"] for path in rule["http"]["paths"]}
    assert paths == {"/hooks/", "/a/", "/h/", "/pages/", "/privacy", "/v1/", "/slack/install", "/slack/oauth"}


# systemd and Cloud Run


def test_the_unit_gives_time_to_drain_and_keeps_the_file_where_it_may_write() -> None:
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]  # the documented way to keep capitals
    [block] = blocks("docs/deploy.md", "ini")
    unit.read_string(block)
    service = unit["Service"]
    assert float(service["TimeoutStopSec"]) >= DRAIN + SPARE
    file = ServerSettings(database=service["Environment"].partition("=")[2]).file
    assert file is not None
    assert file.is_relative_to(Path("/var/lib") / service["StateDirectory"])


def test_on_cloud_run_everything_drains_before_it_is_killed() -> None:
    arguments = re.findall(r"--args=(\S+?)[`\s]", text("docs/deploy-cloud-run.md"))
    drains = [float(words[words.index("--drain") + 1]) for words in (found.split(",") for found in arguments)]
    assert len(drains) == 4
    assert all(drain < 10 for drain in drains)


# All of them


def commands() -> list[list[str]]:
    """Every command line of ours in the deploy files."""
    found = [step.command for step in LAST if step.word in ("CMD", "HEALTHCHECK")]
    found += [service["command"] for service in OURS.values()]
    found += [shlex.split(service["dockerCommand"]) for service in RENDER["services"]]
    found += [pod["spec"]["containers"][0]["command"] for pod in PODS.values()]
    found += [shlex.split(service["startCommand"]) for service in ON_A_FILE["services"]]
    return found


def test_every_command_line_is_one_that_the_program_takes() -> None:
    for name, *given in commands():
        assert name == "chatferry"
        # With --help it is read to its end, and nothing is done.
        read = CliRunner().invoke(app, [*given, "--help"])
        assert read.exit_code == 0, (given, read.output)


def variables() -> set[str]:
    """Every variable that is set for the program in a deploy file."""
    found = {word.partition("=")[0] for step in LAST if step.word == "ENV" for word in step.words}
    for service in OURS.values():
        found |= set(service["environment"])
    for service in (*RENDER["services"], *ON_A_FILE["services"]):
        found |= {variable["key"] for variable in service["envVars"]}
    found |= {name for thing in KUBERNETES if thing["kind"] == "Secret" for name in thing["stringData"]}
    return found


def test_every_variable_is_one_that_the_program_reads() -> None:
    others = {"PATH", "PYTHONDONTWRITEBYTECODE"}
    assert variables() - known() - others == set()
    assert {"PORT", "CHATFERRY_DATABASE", "LINE_CHANNEL_SECRET"} <= variables()
