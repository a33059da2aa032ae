"""Checks the files for Fly, Railway and Render against the product and against the manifests for Kubernetes."""
import copy
import json
import re
import subprocess
import tomllib
from collections import namedtuple

import manifests
import yaml

# A process of a platform: where it is declared, its variables (None for a value that is not in the file), its arguments, the
# arguments that run before its release, seconds to stop, and the path and port of its check.
Process = namedtuple("Process", "place variables arguments before stop path port instances")
BINARY = "/usr/local/bin/groundwork "
# PostgreSQL of these platforms takes 100, some of which are the administrators'.
CONNECTIONS = 90


def fly(path):
    file = tomllib.loads(path.read_text())
    (group, command), *others = file["processes"].items()
    service = file.get("http_service")
    check = service["checks"][0] if service else next(iter(file["checks"].values()))
    if others or (service and service["processes"] != [group]):
        raise SystemExit(f"{path}: one process group, which is that of the service")
    port = service["internal_port"] if service else check["port"]
    # Secrets are those of the app, set by `fly secrets`.
    secrets = ["DATABASE_URL", "REDIS_URL", "JWT_SIGNING_KEYS", "TOKEN_SECRET", "ENCRYPTION_KEYS", "SMTP_URL"]
    before = file["deploy"].get("release_command")
    secrets += ["DATABASE_MIGRATION_URL"] if before else []
    variables = {**dict.fromkeys(secrets), **file["env"]}
    return [Process(str(path), variables, command, before, file["kill_timeout"], check["path"], port, None)]


def stripped(command):
    return command.removeprefix(BINARY) if command else None


def railway(path, graph):
    found = []
    for service in graph["resources"]:
        if service["type"] != "service":
            continue
        deploy, variables = service["deploy"], {name: it.get("value") for name, it in service["variables"].items()}
        domains = service.get("networking", {}).get("customDomains", {})
        port = next(iter(domains.values()))["port"] if domains else None
        before = stripped(next(iter(deploy.get("preDeployCommand", [])), None))
        arguments, stop = stripped(deploy["startCommand"]), deploy["drainingSeconds"]
        replicas = deploy.get("numReplicas", 1)
        place = f"{path} {service['name']}"
        found.append(Process(place, variables, arguments, before, stop, deploy.get("healthcheckPath"), port, replicas))
    return found


def render(path):
    file = yaml.safe_load(path.read_text())
    groups = {it["name"]: it["envVars"] for it in file["envVarGroups"]}
    names = {it["name"] for it in file["services"] + file["databases"]}
    found = []
    for service in file["services"]:
        if service["type"] == "keyvalue":
            continue
        variables = {}
        for it in service["envVars"]:
            for variable in groups[it["fromGroup"]] if "fromGroup" in it else [it]:
                variables[variable["key"]] = variable.get("value")
            source = it.get("fromService") or it.get("fromDatabase")
            if source and source["name"] not in names:
                raise SystemExit(f"{path}: {source['name']} is not in it")
        port = int(variables["PORT"]) if "PORT" in variables else None
        place, arguments = f"{path} {service['name']}", stripped(service["dockerCommand"])
        health, instances = service.get("healthCheckPath"), service.get("numInstances", 1)
        stop = service["maxShutdownDelaySeconds"]
        found.append(Process(place, variables, arguments, stripped(service.get("preDeployCommand")), stop, health, port, instances))
    return found


def processes(pages, graph):
    found = fly(pages / "fly/api.toml") + fly(pages / "fly/worker.toml") + render(pages / "render/render.yaml")
    return found + (railway(pages / "railway/.railway/railway.ts", graph) if graph else [])


def faults(found, documents, product, binary):
    """Returns a sentence for each fault."""
    kubernetes = {labels["app.kubernetes.io/component"]: spec["containers"][0] for _, labels, spec in manifests.pods(documents)}
    roles = {" ".join(kubernetes[it]["args"]): it for it in ("api", "worker")}
    sentences = []
    for it in found:
        add = lambda text, place=it.place: sentences.append(f"{place}: {text}")
        role = roles.get(it.arguments)
        if not role:
            add(f"`{it.arguments}` is run by no pod of Kubernetes")
            continue
        for name in sorted(set(it.variables) - product.settings - {"PORT"}):
            add(f"{name} is no setting")
        for name in sorted(set(it.variables) & product.secrets):
            if it.variables[name] is not None:
                add(f"{name} is a secret, and in the file")
        if role == "api":
            if it.before or "DATABASE_MIGRATION_URL" in it.variables:
                add("has the credentials of the schema's owner")
            if it.path != kubernetes["api"]["readinessProbe"]["httpGet"]["path"]:
                add(f"{it.path} is not the path of readiness")
            if str(it.port) != it.variables.get("BIND_ADDR", "").rpartition(":")[2]:
                add("the port is not that of BIND_ADDR")
            delay, drain = (it.variables.get(name, "") for name in ("HTTP_DRAIN_DELAY", "HTTP_DRAIN_TIMEOUT"))
            if it.stop < manifests.seconds(delay) + manifests.seconds(drain) + manifests.LAST_WRITES:
                add("is killed before it has drained")
            if "TRUSTED_PROXIES" not in it.variables:
                add("believes no proxy, and refuses every request")
        elif it.before != "migrate" or "DATABASE_MIGRATION_URL" not in it.variables:
            add("does not migrate before its release")
        if not any(it.place in sentence for sentence in sentences):
            refused = rejected(it.variables, binary)
            if refused:
                add(f"the service does not start: {refused}")
    return sentences


def rejected(variables, binary):
    """Returns what `config` says of variables that it rejects, with values for those that are not in the file."""
    keys = subprocess.run([binary, "keys", "generate"], capture_output=True, text=True, check=True, env={}).stdout
    values = dict(line.split("=", 1) for line in keys.split())
    values |= {name: "postgres://role:Y2hhcm1pbmc@database/app" for name in ("DATABASE_URL", "DATABASE_MIGRATION_URL")}
    values |= {"REDIS_URL": "redis://cache:6379", "SMTP_URL": "smtps://user:Y2hhcm1pbmc@smtp.example.com"}
    filled = {name: values[name] if value is None else value for name, value in variables.items()}
    done = subprocess.run([binary, "config"], env=filled, capture_output=True, text=True)
    return done.stderr.strip() if done.returncode else None


def connections(found):
    """Returns the most connections to PostgreSQL by file, of a release and the one before together."""
    totals = {}
    for it in found:
        if it.instances:
            each = int(it.variables["DB_POOL_SIZE"]) + int(it.variables["DB_MAX_OVERFLOW"]) + 2
            file = it.place.split()[0]
            totals[file] = totals.get(file, 0) + 2 * it.instances * each
    return totals


def changed(found, role, **change):
    """Returns the processes with another value in the first one of a role."""
    found = copy.deepcopy(found)
    at = next(at for at, it in enumerate(found) if it.arguments == role)
    variables = {**found[at].variables, **change.pop("variables", {})}
    found[at] = found[at]._replace(variables=variables, **change)
    return found


def check(pages, documents, product, binary, graph):
    found = processes(pages, graph)
    sentences = faults(found, documents, product, binary)
    sentences += [f"{file}: {most} connections are too many" for file, most in connections(found).items() if most > CONNECTIONS]
    files = [*pages.glob("fly/*.toml"), pages / "render/render.yaml", pages / "railway/.railway/railway.ts"]
    images = {image for it in files for image in re.findall(r"groundwork:[\d.]+", it.read_text())}
    if len(images) > 1:
        sentences.append(f"the files name several releases: {sorted(images)}")
    if sentences:
        raise SystemExit("\n".join(sentences))
    print(f"{len({it.place.split()[0] for it in found})} files for other platforms agree with the product")
    api, worker = "serve --no-worker", "worker"
    cases = [
        (changed(found, api, variables={"TRUSTED_PROXY": "10.0.0.0/8"}), "TRUSTED_PROXY is no setting"),
        (changed(found, api, variables={"TOKEN_SECRET": "x"}), "TOKEN_SECRET is a secret, and in the file"),
        (changed(found, api, variables={"DATABASE_MIGRATION_URL": None}), "has the credentials of the schema's owner"),
        (changed(found, api, variables={"PUBLIC_URL": "http://api.example.com"}), "does not start"),
        (changed(found, api, path="/health/live"), "is not the path of readiness"),
        (changed(found, api, port=8080), "the port is not that of BIND_ADDR"),
        (changed(found, api, stop=30), "is killed before it has drained"),
        (changed(found, api, arguments="server"), "is run by no pod"),
        (changed(found, worker, before=None), "does not migrate before its release"),
    ]
    for case, reason in cases:
        sentences = faults(case, documents, product, binary)
        if not any(reason in sentence for sentence in sentences):
            raise SystemExit(f"not refused as it should be ({reason}), but: {sentences}")
    print(f"{len(cases)} changed ones are refused")


def read(path):
    """Returns the graph of `railway.ts`, or None where npm could not evaluate it."""
    return json.loads(path.read_text()) if path.exists() else None
