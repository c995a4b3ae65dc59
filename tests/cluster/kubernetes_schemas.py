"""JSON Schemas of the Kubernetes and KubeRay fields that our manifests use, and no others.

Written from the API types of Kubernetes 1.33 (core/v1, apps/v1, networking/v1) and KubeRay 1.6
(ray.io/v1): what is misspelt, misplaced or of another type is refused.
"""

from typing import Any

Schema = dict[str, Any]

TEXT: Schema = {"type": "string", "minLength": 1}
BOOL: Schema = {"type": "boolean"}
COUNT: Schema = {"type": "integer", "minimum": 0}
PORT: Schema = {"type": "integer", "minimum": 1, "maximum": 65535}
NAME: Schema = {"type": "string", "pattern": r"^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$"}
TEXTS: Schema = {"type": "object", "additionalProperties": {"type": "string"}}
QUANTITY: Schema = {"type": "string", "pattern": r"^[0-9]+(m|Ki|Mi|Gi|Ti)?$"}


def fields(required: str = "", **properties: Schema) -> Schema:
    """An object with these properties alone."""
    return {
        "type": "object",
        "properties": properties,
        "required": required.split(),
        "additionalProperties": False,
    }


def many(item: Schema) -> Schema:
    return {"type": "array", "items": item, "minItems": 1}


def one_of(*values: str) -> Schema:
    return {"enum": list(values)}


QUANTITIES: Schema = {"type": "object", "additionalProperties": QUANTITY, "minProperties": 1}
METADATA = fields("name", name=NAME, labels=TEXTS)
SELECTOR = fields("matchLabels", matchLabels=TEXTS)
RESOURCES = fields("requests limits", requests=QUANTITIES, limits=QUANTITIES)
CLAIM = fields(
    "accessModes resources",
    accessModes=many(one_of("ReadWriteOnce", "ReadWriteMany")),
    resources=fields("requests", requests=fields("storage", storage=QUANTITY)),
)

# `fields` takes no exclusive choices; a probe has one handler, an env entry one source.
PROBE: Schema = {
    **fields(
        "",
        httpGet=fields(
            "path port",
            path={"type": "string", "pattern": "^/"},
            port=PORT,
            httpHeaders=many(fields("name value", name=TEXT, value=TEXT)),
        ),
        exec=fields("command", command=many(TEXT)),
        initialDelaySeconds=COUNT,
        periodSeconds=COUNT,
        timeoutSeconds=COUNT,
        failureThreshold=COUNT,
    ),
    "oneOf": [{"required": ["httpGet"]}, {"required": ["exec"]}],
}
ENV: Schema = {
    **fields(
        "name",
        name={"type": "string", "pattern": "^[A-Za-z_][A-Za-z0-9_]*$"},
        value={"type": "string"},
        valueFrom=fields("secretKeyRef", secretKeyRef=fields("name key", name=NAME, key=TEXT)),
    ),
    "oneOf": [{"required": ["value"]}, {"required": ["valueFrom"]}],
}
CONTAINER = fields(
    "name image resources securityContext",
    name=NAME,
    image=TEXT,
    imagePullPolicy=one_of("Always", "IfNotPresent", "Never"),
    command=many(TEXT),
    env=many(ENV),
    ports=many(fields("name containerPort", name=NAME, containerPort=PORT)),
    volumeMounts=many(
        fields("name mountPath", name=NAME, mountPath={"type": "string", "pattern": "^/"})
    ),
    resources=RESOURCES,
    readinessProbe=PROBE,
    securityContext=fields(
        "allowPrivilegeEscalation capabilities",
        allowPrivilegeEscalation={"const": False},
        capabilities=fields("drop", drop={"const": ["ALL"]}),
    ),
)
VOLUME: Schema = {
    **fields(
        "name",
        name=NAME,
        persistentVolumeClaim=fields("claimName", claimName=NAME),
        emptyDir=fields("", medium=one_of("Memory"), sizeLimit=QUANTITY),
    ),
    "oneOf": [{"required": ["persistentVolumeClaim"]}, {"required": ["emptyDir"]}],
}
POD = fields(
    "containers securityContext automountServiceAccountToken",
    containers=many(CONTAINER),
    volumes=many(VOLUME),
    restartPolicy=one_of("Always", "OnFailure", "Never"),
    automountServiceAccountToken={"const": False},
    terminationGracePeriodSeconds=COUNT,
    tolerations=many(
        fields(
            "key operator effect",
            key=TEXT,
            operator=one_of("Exists", "Equal"),
            effect=one_of("NoSchedule", "PreferNoSchedule", "NoExecute"),
        )
    ),
    securityContext=fields(
        "runAsNonRoot runAsUser seccompProfile",
        runAsNonRoot={"const": True},
        runAsUser={"type": "integer", "minimum": 1},
        runAsGroup=COUNT,
        fsGroup=COUNT,
        fsGroupChangePolicy=one_of("OnRootMismatch", "Always"),
        seccompProfile=fields("type", type={"const": "RuntimeDefault"}),
    ),
)
POD_TEMPLATE = fields("metadata spec", metadata=fields("labels", labels=TEXTS), spec=POD)
WORKLOAD = dict(replicas=COUNT, selector=SELECTOR, template=POD_TEMPLATE)

RAY_CLUSTER = fields(
    "rayVersion authOptions headGroupSpec workerGroupSpecs",
    rayVersion={"type": "string", "pattern": r"^\d+\.\d+\.\d+$"},
    authOptions=fields("mode secretName", mode={"const": "token"}, secretName=NAME),
    enableInTreeAutoscaling=BOOL,
    headGroupSpec=fields("rayStartParams template", rayStartParams=TEXTS, template=POD_TEMPLATE),
    workerGroupSpecs=many(
        fields(
            "groupName minReplicas maxReplicas rayStartParams template",
            groupName=NAME,
            replicas=COUNT,
            minReplicas=COUNT,
            maxReplicas=COUNT,
            rayStartParams=TEXTS,
            template=POD_TEMPLATE,
        )
    ),
)
RAY_JOB = fields(
    "entrypoint rayClusterSpec",
    entrypoint=TEXT,
    shutdownAfterJobFinishes=BOOL,
    ttlSecondsAfterFinished=COUNT,
    backoffLimit=COUNT,
    submissionMode=one_of("K8sJobMode", "HTTPMode", "SidecarMode", "InteractiveMode"),
    submitterPodTemplate=POD_TEMPLATE,
    rayClusterSpec=RAY_CLUSTER,
)
PEER: Schema = {**fields("", podSelector=SELECTOR, namespaceSelector={"type": "object"})}

SPECS: dict[tuple[str, str], Schema] = {
    ("ray.io/v1", "RayCluster"): RAY_CLUSTER,
    ("ray.io/v1", "RayJob"): RAY_JOB,
    ("v1", "PersistentVolumeClaim"): CLAIM,
    ("v1", "Service"): fields(
        "selector ports",
        clusterIP=one_of("None"),
        selector=TEXTS,
        ports=many(fields("port", name=NAME, port=PORT)),
    ),
    ("apps/v1", "StatefulSet"): fields(
        "serviceName selector template",
        serviceName=NAME,
        volumeClaimTemplates=many(
            fields("metadata spec", metadata=fields("name", name=NAME), spec=CLAIM)
        ),
        **WORKLOAD,
    ),
    ("apps/v1", "Deployment"): fields(
        "selector template",
        strategy=fields("type", type=one_of("Recreate", "RollingUpdate")),
        **WORKLOAD,
    ),
    ("networking.k8s.io/v1", "NetworkPolicy"): fields(
        "podSelector policyTypes ingress",
        podSelector=SELECTOR,
        policyTypes={"const": ["Ingress"]},
        ingress=many(
            {
                **fields(
                    "from",
                    ports=many(fields("protocol port", protocol=one_of("TCP", "UDP"), port=PORT)),
                    **{"from": many(PEER)},
                )
            }
        ),
    ),
}
"""(apiVersion, kind) → schema of `spec`."""


def schema_of(document: dict[str, Any]) -> Schema:
    """The schema of a whole document, by its kind.

    Raises:
        KeyError: A kind that is not here.
    """
    spec = SPECS[document["apiVersion"], document["kind"]]
    return fields(
        "apiVersion kind metadata spec", apiVersion=TEXT, kind=TEXT, metadata=METADATA, spec=spec
    )
