"""Changes to the manifests that must be refused, each with a part of the sentence that says why."""


def find(documents, kind, name="groundwork-api"):
    return next(it for it in documents if it["kind"] == kind and it["metadata"]["name"].startswith(name))


def pod(documents, name="groundwork-api", kind="Deployment"):
    return find(documents, kind, name)["spec"]["template"]["spec"]


def container(documents, name="groundwork-api"):
    return pod(documents, name)["containers"][0]


def settings(documents):
    return find(documents, "ConfigMap", "groundwork-")["data"]


def policy(documents, name):
    return find(documents, "NetworkPolicy", name)["spec"]


def wrong_field(it):
    container(it)["readOnlyRootFileSystem"] = True


def wrong_type(it):
    pod(it)["terminationGracePeriodSeconds"] = "40s"


def unknown_setting(it):
    settings(it)["HTTP_DRAIN_DELY"] = "5s"


def unknown_file(it):
    settings(it)["REDIS_URI_FILE"] = "/run/secrets/groundwork/redis_url"


def plain_secret(it):
    settings(it)["TOKEN_SECRET"] = "x"


def unmounted_secret(it):
    settings(it)["SMTP_URL_FILE"] = "/etc/smtp_url"


def owner_in_the_api(it):
    variable = {"name": "DATABASE_MIGRATION_URL_FILE", "value": "/run/secrets/groundwork/database_migration_url"}
    container(it).setdefault("env", []).append(variable)


def root(it):
    pod(it)["securityContext"].update(runAsNonRoot=False, runAsUser=0)


def root_container(it):
    container(it, "groundwork-worker")["securityContext"]["runAsUser"] = 0


def root_of_an_init_container(it):
    pod(it, "groundwork-migrate", "Job")["initContainers"][0]["securityContext"]["capabilities"]["add"] = ["NET_ADMIN"]


def writable(it):
    del container(it)["securityContext"]["readOnlyRootFilesystem"]


def no_seccomp(it):
    del pod(it)["securityContext"]["seccompProfile"]


def host_path(it):
    pod(it)["volumes"].append({"name": "host", "hostPath": {"path": "/"}})


def token(it):
    del pod(it)["automountServiceAccountToken"]


def unrestricted_namespace(it):
    find(it, "Namespace", "groundwork")["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] = "baseline"


def other_port(it):
    settings(it)["BIND_ADDR"] = "0.0.0.0:8080"


def no_readiness(it):
    del container(it)["readinessProbe"]


def probe_of_no_port(it):
    container(it)["livenessProbe"]["httpGet"]["port"] = "web"


def service_of_nothing(it):
    find(it, "Service")["spec"]["selector"]["app.kubernetes.io/component"] = "web"


def ingress_to_nothing(it):
    find(it, "Ingress")["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]["name"] = "web"


def budget_of_nothing(it):
    find(it, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"]["app.kubernetes.io/component"] = "web"


def fixed_replicas(it):
    find(it, "Deployment")["spec"]["replicas"] = 2


def short_grace(it):
    settings(it)["HTTP_DRAIN_TIMEOUT"] = "30s"


def nothing_denied(it):
    policy(it, "default-deny")["podSelector"] = {"matchLabels": {"app.kubernetes.io/name": "groundwork"}}


def open_to_everybody(it):
    del policy(it, "requests")["ingress"][0]["from"]


def closed_metrics(it):
    policy(it, "metrics")["ingress"][0]["ports"][0]["port"] = 9100


def other_host(it):
    settings(it)["PUBLIC_URL"] = "https://www.example.com"


def no_tls(it):
    del find(it, "Ingress")["spec"]["tls"]


def redis_of_the_job(it):
    del policy(it, "redis")["podSelector"]["matchExpressions"]


def metadata_service(it):
    policy(it, "public-services")["egress"][0]["to"][0]["ipBlock"]["except"].remove("169.254.0.0/16")


def every_address(it):
    del policy(it, "postgres")["egress"][0]["to"]


CASES = [
    (other_host, "does not serve"),
    (no_tls, "or not by TLS"),
    (redis_of_the_job, "Job groundwork-migrate may connect to the ports"),
    (metadata_service, "may connect to private networks"),
    (every_address, "may connect to private networks"),
    (wrong_field, "is not valid in 1.37"),
    (wrong_type, "is not valid in 1.29"),
    (unknown_setting, "HTTP_DRAIN_DELY is no setting"),
    (unknown_file, "REDIS_URI_FILE is no setting"),
    (plain_secret, "TOKEN_SECRET is a secret, and not in a file"),
    (unmounted_secret, "SMTP_URL_FILE is in no mounted secret"),
    (owner_in_the_api, "has the credentials of the schema's owner"),
    (root, "does not require a user other than root"),
    (root_container, "does not run as 65532"),
    (root_of_an_init_container, "has capabilities"),
    (writable, "can write to its root file system"),
    (no_seccomp, "has no seccomp profile"),
    (host_path, "of a kind that the restricted standard forbids"),
    (token, "mounts the token"),
    (unrestricted_namespace, "does not enforce the restricted standard"),
    (other_port, "port http is not that of BIND_ADDR"),
    (no_readiness, "lacks a probe"),
    (probe_of_no_port, "requests a port that is not there"),
    (service_of_nothing, "Service groundwork-api selects nothing"),
    (ingress_to_nothing, "leads to no port of a service"),
    (budget_of_nothing, "PodDisruptionBudget groundwork-api selects nothing"),
    (fixed_replicas, "has replicas"),
    (short_grace, "is killed before it has drained"),
    (nothing_denied, "nothing denies what no policy allows"),
    (open_to_everybody, "is reached from everywhere"),
    (closed_metrics, "policies allow"),
]
