"""Every check of what docs/deploy has: main.py BINARY FOLDER."""
import copy
import re
import subprocess
import sys
from pathlib import Path

import cluster
import manifests
import platforms
import processes
import refused
import yaml

binary, folder = sys.argv[1:]
pages = Path("docs/deploy")
example = subprocess.run([binary, "config", "--env"], capture_output=True, text=True, check=True).stdout
product = manifests.Product(set(re.findall(r"^#?([A-Z][A-Z0-9_]+)=", example, re.M)), Path("Dockerfile").read_text())

rendered = subprocess.run(
    ["kubectl", "kustomize", pages / "kubernetes/overlays/example"], capture_output=True, text=True, check=True
).stdout
documents = list(yaml.safe_load_all(rendered))

found = manifests.faults(documents, product)
most = manifests.connections(documents)
if f"{most} connections" not in (pages / "kubernetes.md").read_text():
    found.append(f"docs/deploy/kubernetes.md does not say that the pods have {most} connections at most")
if found:
    raise SystemExit("\n".join(found))
print(f"{len(documents)} objects are valid, {len(manifests.VERSIONS)} versions of Kubernetes; {most} connections at most")

for change, reason in refused.CASES:
    changed = copy.deepcopy(documents)
    change(changed)
    faults = manifests.faults(changed, product)
    if not any(reason in fault for fault in faults):
        raise SystemExit(f"{change.__name__} was not refused as it should be ({reason}), but: {faults}")
print(f"{len(refused.CASES)} changed ones are refused")

platforms.check(pages, documents, product, binary, platforms.read(Path(folder) / "railway.json"))
processes.check(documents, binary, folder)
cluster.check(pages / "kubernetes", rendered, folder)
