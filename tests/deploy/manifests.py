"""Checks rendered manifests against the cluster's schemas, the restricted pod security standard and the product.

`faults` returns a sentence for each fault, so that every check is also shown to find one.
"""
import functools
import json
import re
from urllib.parse import urlsplit

import kubernetes_validate

# The oldest version that has every field which the manifests need, and the newest that the validator knows.
VERSIONS = ("1.29", "1.37")
# Kinds of volumes that the restricted standard allows.
VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
# Networks that no rule for public addresses may include: private ones, and the metadata service of clouds.
PRIVATE = {"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16"}
# Ports that each kind of pod connects to.
CALLS = {"api": {53, 443, 465, 587, 5432, 6379}, "worker": {53, 443, 465, 587, 5432, 6379}, "migrate": {53, 5432}}
# Seconds for the last writes, reports and log lines of a process, after its requests have drained.
LAST_WRITES = 10


class Product:
    """Settings, secrets among them, and the user of the image: manifests must agree with them."""

    def __init__(self, settings, dockerfile):
        self.settings = settings
        self.secrets = {name for name in settings if re.search(r"(_URL|_KEYS?|_SECRETS?|_DSN)$", name)}
        self.secrets -= {"PUBLIC_URL", "LINK_URL", "TERMS_URL", "PRIVACY_NOTICE_URL", "BREACH_CHECK_URL", "SCANNER_URL"}
        self.secrets -= {"STRIPE_API_URL", "BILLING_RETURN_URL"}
        self.user, self.group = map(int, re.findall(r"^USER (\d+):(\d+)$", dockerfile, re.M)[-1])


def seconds(text):
    number, unit = re.fullmatch(r"(\d+)(ms|s|m|h)?", text).groups()
    return int(number) * {"ms": 0.001, "s": 1, "m": 60, "h": 3600}[unit or "s"]


def name_of(document):
    return f"{document['kind']} {document['metadata']['name']}"


def pods(documents):
    """Returns the name, the labels and the spec of each pod template."""
    for document in documents:
        if document["kind"] in ("Deployment", "Job"):
            template = document["spec"]["template"]
            yield name_of(document), template["metadata"].get("labels", {}), template["spec"]


def containers(spec):
    return spec.get("initContainers", []) + spec["containers"]


def environment(documents, container):
    """Returns the variables of a container."""
    maps = {it["metadata"]["name"]: it.get("data", {}) for it in documents if it["kind"] == "ConfigMap"}
    variables = {}
    for source in container.get("envFrom", []):
        variables.update(maps.get(source.get("configMapRef", {}).get("name"), {"": "a map that is not there"}))
    for variable in container.get("env", []):
        variables[variable["name"]] = variable.get("value", "")
    return variables


def selects(selector, labels):
    if any(labels.get(key) != value for key, value in (selector.get("matchLabels") or {}).items()):
        return False
    return all(
        it["operator"] == "In" and labels.get(it["key"]) in it["values"] for it in selector.get("matchExpressions") or []
    )


def faults(documents, product):
    found = schemas(documents, product)
    if not found:
        for check in (pod_security, variables, ports, selectors, drain, network):
            found += check(documents, product)
    return found


def schemas(documents, _):
    return [fault for document in documents for version in VERSIONS for fault in schema(json.dumps(document), version)]


@functools.cache
def schema(text, version):
    """Returns the faults of a document. Each takes a while, and most changed manifests share all documents but one."""
    document = json.loads(text)
    try:
        kubernetes_validate.validate(document, version, strict=True)
    except kubernetes_validate.ValidationError as error:
        return [f"{name_of(document)} is not valid in {version}: {error.message[:200]}"]
    return []


def pod_security(documents, product):
    found = []
    for document in documents:
        if document["kind"] == "Namespace":
            labels = document["metadata"].get("labels", {})
            if labels.get("pod-security.kubernetes.io/enforce") != "restricted":
                found.append(f"{name_of(document)} does not enforce the restricted standard")
    for name, _, spec in pods(documents):
        add = lambda text, name=name: found.append(f"{name}: {text}")
        context = spec.get("securityContext", {})
        if any(spec.get(key) for key in ("hostNetwork", "hostPID", "hostIPC")):
            add("shares a namespace of the host")
        if context.get("runAsNonRoot") is not True:
            add("does not require a user other than root")
        if (context.get("runAsUser"), context.get("fsGroup")) != (product.user, product.group):
            add(f"does not run as {product.user}, the user of the image")
        if context.get("seccompProfile", {}).get("type") != "RuntimeDefault":
            add("has no seccomp profile")
        if spec.get("automountServiceAccountToken") is not False:
            add("mounts the token of the service account")
        if spec.get("enableServiceLinks") is not False:
            add("gets a variable for each service, which are unknown settings")
        for volume in spec.get("volumes", []):
            if not set(volume) - {"name"} <= VOLUMES:
                add(f"volume {volume['name']} is of a kind that the restricted standard forbids")
        for container in containers(spec):
            own = container.get("securityContext", {})
            if own.get("privileged") or own.get("allowPrivilegeEscalation") is not False:
                add("may gain privileges")
            if own.get("capabilities") != {"drop": ["ALL"]}:
                add("has capabilities")
            if own.get("readOnlyRootFilesystem") is not True:
                add("can write to its root file system")
            if own.get("runAsUser", product.user) != product.user or own.get("runAsNonRoot") is False:
                add(f"does not run as {product.user}, the user of the image")
            if any("hostPort" in port for port in container.get("ports", [])):
                add("has a port of the host")
            resources = container.get("resources", {})
            if "memory" not in resources.get("limits", {}) or not {"cpu", "memory"} <= set(resources.get("requests", {})):
                add("has no limit of memory, or no requests")
    return found


def variables(documents, product):
    found = []
    for name, labels, spec in pods(documents):
        volumes = {it["name"]: it for it in spec.get("volumes", [])}
        for container in containers(spec):
            mounts = {it["mountPath"] + "/": volumes[it["name"]] for it in container.get("volumeMounts", [])}
            for variable, value in environment(documents, container).items():
                setting = variable.removesuffix("_FILE")
                if setting not in product.settings:
                    found.append(f"{name}: {variable} is no setting")
                elif setting in product.secrets and setting == variable:
                    found.append(f"{name}: {variable} is a secret, and not in a file")
                elif setting != variable and not any(value.startswith(it) and "secret" in mounts[it] for it in mounts):
                    found.append(f"{name}: {variable} is in no mounted secret")
                if setting == "DATABASE_MIGRATION_URL" and labels.get("app.kubernetes.io/component") != "migrate":
                    found.append(f"{name} has the credentials of the schema's owner")
    return found


def ports(documents, _):
    found = []
    services = {it["metadata"]["name"]: it for it in documents if it["kind"] == "Service"}
    for name, labels, spec in pods(documents):
        for container in spec["containers"]:
            named = {it["name"]: it["containerPort"] for it in container.get("ports", [])}
            settings = environment(documents, container)
            for port, setting in (("http", "BIND_ADDR"), ("metrics", "METRICS_ADDR")):
                if port in named and str(named[port]) != settings.get(setting, "").rpartition(":")[2]:
                    found.append(f"{name}: port {port} is not that of {setting}")
            for kind in ("startupProbe", "livenessProbe", "readinessProbe"):
                if kind in container and container[kind]["httpGet"]["port"] not in named:
                    found.append(f"{name}: {kind} requests a port that is not there")
            component = labels.get("app.kubernetes.io/component")
            wanted = {"api": {"startupProbe", "livenessProbe", "readinessProbe"}, "worker": {"startupProbe", "livenessProbe"}}
            if not wanted.get(component, set()) <= set(container):
                found.append(f"{name} lacks a probe")
            for service in services.values():
                if selects({"matchLabels": service["spec"]["selector"]}, labels):
                    for port in service["spec"]["ports"]:
                        if port["targetPort"] not in named:
                            found.append(f"{name_of(service)} leads to a port that is not there")
    specs = [spec for _, _, spec in pods(documents)]
    hosts = {urlsplit(environment(documents, it)["PUBLIC_URL"]).hostname for spec in specs for it in containers(spec)}
    for document in documents:
        if document["kind"] == "Ingress":
            secured = {host for tls in document["spec"].get("tls", []) for host in tls["hosts"]}
            if {rule["host"] for rule in document["spec"]["rules"]} != hosts or secured != hosts:
                found.append(f"{name_of(document)} does not serve {sorted(hosts)}, or not by TLS")
            for rule in document["spec"]["rules"]:
                for path in rule["http"]["paths"]:
                    backend = path["backend"]["service"]
                    there = services.get(backend["name"], {}).get("spec", {}).get("ports", [])
                    if backend["port"]["name"] not in {port["name"] for port in there}:
                        found.append(f"{name_of(document)} leads to no port of a service")
    return found


def selectors(documents, _):
    found = []
    labels = [labels for _, labels, _ in pods(documents)]
    there = {name_of(document) for document in documents}
    for document in documents:
        kind, spec = document["kind"], document.get("spec", {})
        if kind == "Deployment" and not selects(spec["selector"], spec["template"]["metadata"]["labels"]):
            found.append(f"{name_of(document)} does not select its pods")
        if kind == "PodDisruptionBudget" and not any(selects(spec["selector"], it) for it in labels):
            found.append(f"{name_of(document)} selects nothing")
        if kind == "Service" and not any(selects({"matchLabels": spec["selector"]}, it) for it in labels):
            found.append(f"{name_of(document)} selects nothing")
        if kind == "NetworkPolicy" and not any(selects(spec["podSelector"], it) for it in labels):
            found.append(f"{name_of(document)} selects nothing")
        if kind == "HorizontalPodAutoscaler":
            target = f"{spec['scaleTargetRef']['kind']} {spec['scaleTargetRef']['name']}"
            if target not in there:
                found.append(f"{name_of(document)} scales nothing")
            if any(name_of(it) == target and "replicas" in it["spec"] for it in documents):
                found.append(f"{target} has replicas, to which each apply resets what the autoscaler has set")
    budgets = {it["metadata"]["name"] for it in documents if it["kind"] == "PodDisruptionBudget"}
    missing = {it["metadata"]["name"] for it in documents if it["kind"] == "Deployment"} - budgets
    return found + [f"Deployment {name} has no disruption budget" for name in sorted(missing)]


def drain(documents, _):
    found = []
    for name, labels, spec in pods(documents):
        settings = environment(documents, spec["containers"][0])
        if labels.get("app.kubernetes.io/component") == "api":
            needed = seconds(settings["HTTP_DRAIN_DELAY"]) + seconds(settings["HTTP_DRAIN_TIMEOUT"]) + LAST_WRITES
            if spec.get("terminationGracePeriodSeconds", 30) < needed:
                found.append(f"{name} is killed before it has drained: it needs {needed:.0f} s")
    return found


def network(documents, _):
    policies = [it["spec"] for it in documents if it["kind"] == "NetworkPolicy"]
    denies = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    found = [] if denies in policies else ["nothing denies what no policy allows"]
    for name, labels, spec in pods(documents):
        named = {port["containerPort"] for it in spec["containers"] for port in it.get("ports", [])}
        rules = [rule for it in policies if selects(it["podSelector"], labels) for rule in it.get("ingress", [])]
        opened = {port["port"] for rule in rules for port in rule["ports"]}
        if opened != named:
            found.append(f"{name} listens on {sorted(named)}, and policies allow {sorted(opened)}")
        if any("from" not in rule for rule in rules):
            found.append(f"{name} is reached from everywhere")
        rules = [rule for it in policies if selects(it["podSelector"], labels) for rule in it.get("egress", [])]
        called = {port["port"] for rule in rules for port in rule["ports"]}
        if called != CALLS[labels["app.kubernetes.io/component"]]:
            found.append(f"{name} may connect to the ports {sorted(called)}")
        blocks = [to.get("ipBlock", {}) for rule in rules for to in rule.get("to", [{"ipBlock": {"cidr": "0.0.0.0/0"}}])]
        if any(it.get("cidr") == "0.0.0.0/0" and not PRIVATE <= set(it.get("except", [])) for it in blocks):
            found.append(f"{name} may connect to private networks as to public ones")
    return found


def connections(documents):
    """Returns how many connections to PostgreSQL all pods have at most, during a release."""
    total = 0
    for document in documents:
        if document["kind"] not in ("Deployment", "Job"):
            continue
        spec = document["spec"]
        settings = environment(documents, spec["template"]["spec"]["containers"][0])
        each = int(settings["DB_POOL_SIZE"]) + int(settings["DB_MAX_OVERFLOW"]) + 2
        if document["kind"] == "Job":
            total += 2
            continue
        scaled = [
            it["spec"]["maxReplicas"]
            for it in documents
            if it["kind"] == "HorizontalPodAutoscaler" and it["spec"]["scaleTargetRef"]["name"] == document["metadata"]["name"]
        ]
        replicas = scaled[0] if scaled else spec["replicas"]
        total += each * (replicas + spec["strategy"]["rollingUpdate"]["maxSurge"])
    return total
