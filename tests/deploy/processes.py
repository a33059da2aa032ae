"""Runs the processes of the manifests, with their environment and arguments, on an empty database."""
import os
import secrets
import signal
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

import manifests


class Processes:
    def __init__(self, documents, binary, folder):
        self.documents, self.binary, self.folder = documents, binary, Path(folder)
        owner = os.environ["DATABASE_MIGRATION_URL"]
        place = urlsplit(owner)
        keys = subprocess.run([binary, "keys", "generate"], capture_output=True, text=True, check=True, env={})
        values = dict(line.split("=", 1) for line in keys.stdout.split())
        values["DATABASE_URL"] = f"postgres://app_runtime:{secrets.token_hex(16)}@{place.hostname}:{place.port}{place.path}"
        # Nothing listens there: the service starts without both.
        values["REDIS_URL"] = f"redis://:{secrets.token_hex(16)}@127.0.0.1:9"
        values["SMTP_URL"] = "smtp://127.0.0.1:9"
        self.values = {**values, "DATABASE_MIGRATION_URL": owner}

    def environment(self, container, spec):
        """Returns a container's variables, with its mounted secrets as files below a folder."""
        volumes = {it["name"]: it for it in spec["volumes"]}
        mounts = {it["mountPath"]: volumes[it["name"]].get("secret") for it in container["volumeMounts"]}
        variables = manifests.environment(self.documents, container)
        for name, path in list(variables.items()):
            if not name.endswith("_FILE"):
                continue
            mount = next(it for it in mounts if path.startswith(it + "/"))
            key = path[len(mount) + 1 :]
            file = self.folder / path.lstrip("/")
            file.parent.mkdir(parents=True, exist_ok=True)
            # A secret that is mounted in part has the rest of its keys nowhere.
            if "items" not in mounts[mount] or key in {it["path"] for it in mounts[mount]["items"]}:
                file.write_text(self.values[name.removesuffix("_FILE")])
                variables[name] = str(file)
        # The ports of the manifest may be taken on this machine.
        variables.update(BIND_ADDR="127.0.0.1:0", METRICS_ADDR="127.0.0.1:0")
        return variables

    def spec(self, component):
        pods = manifests.pods(self.documents)
        return next(spec for _, labels, spec in pods if labels["app.kubernetes.io/component"] == component)

    def run(self, container, spec):
        """Runs a container to its end; returns the exit code and the output."""
        done = subprocess.run(
            [self.binary, *container["args"]], env=self.environment(container, spec), capture_output=True, text=True, timeout=60
        )
        return done.returncode, done.stdout + done.stderr

    def start(self, component):
        return Process(self, component)


class Process:
    """A running pod. `request` asks for a path on one of its named ports."""

    def __init__(self, processes, component):
        spec = processes.spec(component)
        self.container = spec["containers"][0]
        self.grace = spec["terminationGracePeriodSeconds"]
        self.log = processes.folder / f"{component}.log"
        variables = processes.environment(self.container, spec)
        # Otherwise each run of the test would wait for load balancers that are not there.
        variables["HTTP_DRAIN_DELAY"] = "100ms"
        with open(self.log, "w") as log:
            self.process = subprocess.Popen([processes.binary, *self.container["args"]], env=variables, stdout=log, stderr=log)

    def address(self, port):
        message = {"http": '"serving"', "metrics": '"serving metrics"'}[port]
        for _ in range(200):
            for line in self.log.read_text().splitlines():
                if f'"message":{message}' in line:
                    return line.split('"addr":"')[1].split('"')[0]
            if self.process.poll() is not None:
                raise SystemExit(f"{self.container['args']} ended: {self.log.read_text()}")
            time.sleep(0.05)
        raise SystemExit(f"{self.container['args']} does not listen: {self.log.read_text()}")

    def request(self, probe):
        get = self.container[probe]["httpGet"]
        try:
            with urllib.request.urlopen(f"http://{self.address(get['port'])}{get['path']}", timeout=5) as reply:
                return reply.status
        except urllib.error.HTTPError as error:
            return error.code

    def wait_for(self, probe, status):
        for _ in range(100):
            found = self.request(probe)
            if found == status:
                return
            time.sleep(0.1)
        raise SystemExit(f"{self.container['args']}: {probe} is {found} and not {status}")

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(self.grace)


def check(documents, binary, folder):
    """The order of a release: pods that wait for the migrations, migrations, pods that are ready."""
    processes = Processes(documents, binary, folder)
    api = processes.start("api")
    try:
        api.wait_for("startupProbe", 200)
        api.wait_for("livenessProbe", 200)
        api.wait_for("readinessProbe", 503)
        print("on an empty database the API lives and is not ready")
        job = processes.spec("migrate")
        for container in manifests.containers(job):
            code, output = processes.run(container, job)
            if code:
                raise SystemExit(f"{container['args']} exited with {code}: {output}")
        api.wait_for("readinessProbe", 200)
        print("after the job it is ready")
        worker = processes.start("worker")
        try:
            worker.wait_for("startupProbe", 200)
            worker.wait_for("livenessProbe", 200)
        finally:
            code = worker.stop()
        if code:
            raise SystemExit(f"the worker exited with {code}")
        print("the worker responds to its probes, and ends at SIGTERM")
    finally:
        code = api.stop()
    if code:
        raise SystemExit(f"the API exited with {code}")
    print("the API ends at SIGTERM")
