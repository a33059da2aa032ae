"""Runs docs/deploy/kubernetes/release with the real kubectl, against an API that stores objects and runs nothing."""
import json
import os
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import yaml

# The kinds of the manifests: group and version, plural, whether they are in a namespace.
KINDS = {
    "Namespace": ("v1", "namespaces", False),
    "ServiceAccount": ("v1", "serviceaccounts", True),
    "ConfigMap": ("v1", "configmaps", True),
    "Service": ("v1", "services", True),
    "Pod": ("v1", "pods", True),
    "Deployment": ("apps/v1", "deployments", True),
    "Job": ("batch/v1", "jobs", True),
    "HorizontalPodAutoscaler": ("autoscaling/v2", "horizontalpodautoscalers", True),
    "PodDisruptionBudget": ("policy/v1", "poddisruptionbudgets", True),
    "NetworkPolicy": ("networking.k8s.io/v1", "networkpolicies", True),
    "Ingress": ("networking.k8s.io/v1", "ingresses", True),
}
GROUPS = sorted({version for version, _, _ in KINDS.values() if "/" in version})


def root_of(version):
    return f"/apis/{version}" if "/" in version else f"/api/{version}"


class Cluster(ThreadingHTTPServer):
    """Objects by path, and what was written in which order. `jobs` and `deployments` are the conditions that both get."""

    def __init__(self, objects, jobs, deployments):
        super().__init__(("127.0.0.1", 0), Handler)
        self.objects, self.jobs, self.deployments = dict(objects), jobs, deployments
        self.written = []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def store(self, path, body):
        kind, metadata = body["kind"], body["metadata"]
        metadata.update(uid=f"uid-{len(self.written)}", resourceVersion=str(len(self.written) + 1), generation=1)
        if kind == "Job":
            body["status"] = {"conditions": self.jobs}
        if kind == "Deployment":
            count = body["spec"].setdefault("replicas", 1)
            body["status"] = {"observedGeneration": 1, "conditions": self.deployments}
            body["status"].update({it: count for it in ("replicas", "updatedReplicas", "availableReplicas")})
            if self.deployments:
                body["status"]["updatedReplicas"] = 0
        self.objects[path] = body
        self.written.append(f"{kind} {metadata['name']}")


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def reply(self, status, body):
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def not_found(self):
        self.reply(404, {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404})

    def body(self):
        return json.loads(self.rfile.read(int(self.headers["Content-Length"])))

    def do_GET(self):
        path = urlsplit(self.path).path
        discovery = self.discovery(path)
        if discovery:
            return self.reply(200, discovery)
        if path in self.server.objects:
            return self.reply(200, self.server.objects[path])
        for kind, (version, plural, _) in KINDS.items():
            if path.startswith(root_of(version)) and path.endswith(f"/{plural}"):
                name = dict(parse_qsl(urlsplit(self.path).query)).get("fieldSelector", "").removeprefix("metadata.name=")
                items = [it for at, it in self.server.objects.items() if at.startswith(f"{path}/{name}")]
                listed = {"kind": f"{kind}List", "apiVersion": version, "metadata": {"resourceVersion": "1"}, "items": items}
                return self.reply(200, listed)
        self.not_found()

    def discovery(self, path):
        if path == "/api":
            return {"kind": "APIVersions", "versions": ["v1"]}
        if path == "/apis":
            groups = [it.split("/") for it in GROUPS]
            versions = [{"groupVersion": f"{group}/{version}", "version": version} for group, version in groups]
            named = [{"name": it[0], "versions": [at], "preferredVersion": at} for it, at in zip(groups, versions)]
            return {"kind": "APIGroupList", "apiVersion": "v1", "groups": named}
        for version in ["v1", *GROUPS]:
            kinds = [(kind, plural, scoped) for kind, (at, plural, scoped) in KINDS.items() if at == version]
            if path == root_of(version):
                verbs = ["get", "list", "patch", "create", "delete", "watch"]
                resources = [
                    {"name": plural, "singularName": "", "namespaced": scoped, "kind": kind, "verbs": verbs}
                    for kind, plural, scoped in kinds
                ]
                return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": resources}
            if path == f"/openapi/v3{root_of(version)}":
                return {"openapi": "3.0.0", "info": {"title": "", "version": ""}, "paths": self.patches(version, kinds)}
        if path == "/openapi/v3":
            return {"paths": {root_of(it)[1:]: {"serverRelativeURL": f"/openapi/v3{root_of(it)}"} for it in ["v1", *GROUPS]}}
        return None

    def patches(self, version, kinds):
        """Operations that accept `fieldValidation`, so that kubectl leaves the validation to the server."""
        group, _, short = version.rpartition("/")
        parameter = {"name": "fieldValidation", "in": "query", "schema": {"type": "string"}}
        return {
            f"{root_of(version)}/{plural}/{{name}}": {
                "patch": {
                    "parameters": [parameter],
                    "responses": {},
                    "x-kubernetes-group-version-kind": {"group": group, "version": short, "kind": kind},
                }
            }
            for kind, plural, _ in kinds
        }

    def do_POST(self):
        body = self.body()
        self.server.store(f"{urlsplit(self.path).path}/{body['metadata']['name']}", body)
        self.reply(201, body)

    def do_PATCH(self):
        path, change = urlsplit(self.path).path, self.body()
        stored = self.server.objects[path]
        if stored["kind"] == "Job" and "spec" in change:
            invalid = {"kind": "Status", "status": "Failure", "reason": "Invalid", "code": 422}
            return self.reply(422, {**invalid, "message": "field is immutable"})
        stored["metadata"].setdefault("annotations", {}).update(change.get("metadata", {}).get("annotations", {}))
        self.server.store(path, stored)
        self.reply(200, stored)

    def do_DELETE(self):
        removed = self.server.objects.pop(urlsplit(self.path).path, None)
        if removed is None:
            return self.not_found()
        self.server.written.append(f"deleted {removed['kind']}")
        self.reply(200, {"kind": "Status", "apiVersion": "v1", "status": "Success"})


def condition(kind, **more):
    return [{"type": kind, "status": "True", **more}]


def release(pages, folder, objects, jobs, deployments=(), timeout="60"):
    """Runs the script; returns the exit code, what was written, and what is stored then."""
    cluster = Cluster(objects, jobs, list(deployments))
    config = Path(folder) / "kubeconfig"
    context = {"cluster": "test", "user": "test"}
    config.write_text(
        yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "test",
                "clusters": [{"name": "test", "cluster": {"server": f"http://127.0.0.1:{cluster.server_port}"}}],
                "users": [{"name": "test", "user": {}}],
                "contexts": [{"name": "test", "context": context}],
            }
        )
    )
    variables = {"PATH": os.environ["PATH"], "HOME": str(folder), "KUBECONFIG": str(config), "MIGRATION_TIMEOUT": timeout}
    done = subprocess.run(
        [pages / "release", pages / "overlays/example"], env=variables, capture_output=True, text=True, timeout=120
    )
    cluster.shutdown()
    return done, cluster.written, cluster.objects


def check(pages, rendered, folder):
    documents = list(yaml.safe_load_all(rendered))
    everything = sorted(f"{it['kind']} {it['metadata']['name']}" for it in documents)
    pods = {it for it in everything if it.startswith("Deployment ")}

    def expect(condition, done, written):
        if not condition:
            raise SystemExit(f"release exited with {done.returncode}, wrote {written}\n{done.stdout}\n{done.stderr}")

    done, written, stored = release(pages, folder, {}, condition("Complete"))
    expect(done.returncode == 0 and set(written) == set(everything), done, written)
    expect(written[0] == "Namespace groundwork", done, written)
    job = written.index("Job groundwork-migrate")
    expect(all(written.index(it) > job for it in pods), done, written)
    print("a first release writes the deployments after its job")

    done, written, _ = release(pages, folder, stored, condition("Complete"))
    expect(done.returncode == 0 and written.index("deleted Job") < written.index("Job groundwork-migrate"), done, written)
    print("a second one replaces the job")

    for reason, code in (("PodFailurePolicy", 12), ("BackoffLimitExceeded", 13)):
        done, written, _ = release(pages, folder, stored, condition("Failed", reason=reason))
        expect(done.returncode == code and not pods & set(written), done, written)
    done, written, _ = release(pages, folder, stored, [], timeout="1")
    expect(done.returncode == 13 and not pods & set(written), done, written)
    print("failed, refused and slow migrations leave the deployments")

    stuck = [{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}]
    done, written, _ = release(pages, folder, {}, condition("Complete"), stuck)
    expect(done.returncode == 20, done, written)
    print("pods that do not become ready are reported")
