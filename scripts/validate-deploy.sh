#!/usr/bin/env bash
# Validates the deployment files offline: Kubernetes objects, Dockerfile, Compose file. Nothing is built, pulled or
# applied: images need a Docker engine, which a check must not depend on.
set -euo pipefail
cd "$(dirname "$0")/.."
# If the system's Node.js is too old, scripts/tools.sh installs a newer one there.
export PATH=$PWD/.tools/nodejs/bin:$PATH
scripts/tools.sh node
scripts/tools.sh python
python=.tools/python/bin
# The oldest and the newest supported version.
kubernetes_versions="1.28 1.34"

step() { printf '\n== %s\n' "$*"; }

step "deploy/kubernetes"
rendered=.tools/kubernetes.yaml
if command -v kubectl >/dev/null 2>&1; then
  kubectl kustomize deploy/kubernetes >"$rendered"
elif command -v kustomize >/dev/null 2>&1; then
  kustomize build deploy/kubernetes >"$rendered"
else
  echo "SKIPPED rendering: neither kubectl nor kustomize here. The files are validated as they stand."
  # Selectors come from kustomization.yaml, so the Deployment, Service and Policy are incomplete without it.
  rendered=""
fi
for version in $kubernetes_versions; do
  if [ -n "$rendered" ]; then
    "$python/kubernetes-validate" --quiet --strict -k "$version" "$rendered"
  else
    "$python/kubernetes-validate" --quiet --strict -k "$version" deploy/kubernetes/{service-account,pod-disruption-budget,horizontal-pod-autoscaler,network-policy,service}.yaml
  fi
done
if [ -n "$rendered" ]; then
  # Cross-references between the objects, which a schema cannot check.
  "$python/python" - "$rendered" <<'EOT'
import sys, yaml

objects = {(o["kind"], o["metadata"]["name"]): o for o in yaml.safe_load_all(open(sys.argv[1])) if o}
faults = []
def need(condition, fault):
    if not condition: faults.append(fault)

deployment = objects["Deployment", "rapport"]
template = deployment["spec"]["template"]
pod, labels = template["spec"], template["metadata"]["labels"]
service = next(c for c in pod["containers"] if c["name"] == "rapport")
ports = {p["name"] for p in service["ports"]}
selects = lambda selector: bool(selector) and selector.items() <= labels.items()

need(selects(deployment["spec"]["selector"]["matchLabels"]), "the Deployment does not select its own pods")
need(selects(objects["Service", "rapport"]["spec"]["selector"]), "the Service selects no pod")
for kind, field in (("PodDisruptionBudget", "selector"), ("NetworkPolicy", "podSelector")):
    need(selects(objects[kind, "rapport"]["spec"].get(field, {}).get("matchLabels")), f"{kind}: selects no pod, or every pod")
for constraint in pod["topologySpreadConstraints"]:
    need(selects(constraint["labelSelector"]["matchLabels"]), "a topologySpreadConstraint selects no pod")
target = objects["HorizontalPodAutoscaler", "rapport"]["spec"]["scaleTargetRef"]
need((target["kind"], target["name"]) in objects, "the HorizontalPodAutoscaler's target does not exist")
need(("ServiceAccount", pod["serviceAccountName"]) in objects, "the ServiceAccount does not exist")
for port in objects["Service", "rapport"]["spec"]["ports"]:
    need(port["targetPort"] in ports, f"the Service's targetPort {port['targetPort']} does not exist")
for rule in objects["NetworkPolicy", "rapport"]["spec"]["ingress"]:
    for port in rule["ports"]:
        need(port["port"] in ports, f"the NetworkPolicy's port {port['port']} does not exist")
for name in ("startupProbe", "livenessProbe", "readinessProbe"):
    need(service.get(name, {}).get("httpGet", {}).get("port") in ports, f"{name} is missing or asks a port that does not exist")
for container in pod["initContainers"] + pod["containers"]:
    context = container["securityContext"]
    need(context["readOnlyRootFilesystem"] and not context["allowPrivilegeEscalation"] and context["capabilities"]["drop"] == ["ALL"],
         f"{container['name']}: the security context is too open")
    for source in container["envFrom"]:
        need(("ConfigMap", source["configMapRef"]["name"]) in objects, f"{container['name']}: its ConfigMap does not exist")
need(pod["securityContext"]["runAsNonRoot"], "the pod may run as root")
need(not any(kind == "Secret" for kind, _ in objects), "a Secret is written down here")
for fault in faults: print("deploy/kubernetes:", fault, file=sys.stderr)
if not faults: print(f"references: {len(objects)} objects fit together")
sys.exit(bool(faults))
EOT
fi

step "Dockerfile"
"$python/hadolint" Dockerfile
echo "hadolint: no findings (the image itself is not built by this script)"

step "docker-compose.yml"
# Without its style rules: the file is ordered for readers. (They also misread a quoted port with a variable.)
.tools/node/node_modules/.bin/dclint docker-compose.yml --max-warnings 0 --disable-rule \
  service-keys-order top-level-properties-order service-ports-alphabetical-order require-quotes-in-ports
echo "dclint: no findings"
if docker compose version >/dev/null 2>&1; then
  docker compose --profile seed config --quiet
  echo "docker compose config: valid"
else
  echo "SKIPPED docker compose config: no Docker client with Compose here"
fi
