//! A plain Kubernetes deployment of Envoy as a kustomize base: what is discovered comes out of one config map, so that
//! a new policy is a new config map and no new pod.

use super::{File, Subject, envoy};
use serde_json::{Value, json};

/// The base, with the proxy's files in it.
///
/// # Errors
/// What the deployment lacks for it.
pub fn render(subject: &Subject<'_>) -> Result<Vec<File>, String> {
    let place =
        subject.deployment.kubernetes.as_ref().ok_or("kubernetes: missing, expected a namespace and an image")?;
    let module = &subject.deployment.module;
    let (file, image) = match (&module.file, &module.image) {
        (Some(file), Some(image)) => (file, image.strip_prefix("oci://").unwrap_or(image)),
        _ => return Err(String::from("module: expected `image`, and `file` where it is to be mounted")),
    };
    let folder = file.rsplit_once('/').map_or("/", |(folder, _)| folder);
    if folder == subject.deployment.config_dir {
        return Err(format!("module.file: found a file in {folder}, expected a folder other than `config_dir`"));
    }
    let mut files = envoy::discovered(subject)?;
    let names: Vec<&str> = files.iter().map(|file| file.name).collect();
    let kustomization = json!({
        "apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization",
        "namespace": place.namespace,
        "labels": [{"pairs": {"app.kubernetes.io/name": "berth"}, "includeSelectors": false}],
        "resources": ["deployment.yaml", "service.yaml"],
        // The map keeps its name: the pods stay, and the proxy sees the new files.
        "configMapGenerator": [{"name": "berth", "files": names}],
        "generatorOptions": {"disableNameSuffixHash": true},
    });
    let labels = json!({"app": "berth"});
    let envoy = json!({
        "name": "envoy", "image": place.envoy_image,
        "args": ["-c", format!("{}/envoy.yaml", subject.deployment.config_dir)],
        "ports": [{"name": "http", "containerPort": subject.deployment.listen.port}],
        "readinessProbe": {"tcpSocket": {"port": "http"}, "periodSeconds": 5},
        "resources": {"requests": {"cpu": "500m", "memory": "256Mi"}, "limits": {"memory": "1Gi"}},
        "securityContext": {"allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "runAsNonRoot": true, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": [
            {"name": "config", "mountPath": subject.deployment.config_dir, "readOnly": true},
            {"name": "module", "mountPath": folder, "readOnly": true},
        ],
    });
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "berth", "labels": labels},
        "spec": {"replicas": place.replicas, "selector": {"matchLabels": labels}, "template": {
            "metadata": {"labels": labels},
            "spec": {"containers": [envoy], "volumes": [
                {"name": "config", "configMap": {"name": "berth"}},
                {"name": "module", "image": {"reference": image, "pullPolicy": "IfNotPresent"}},
            ]},
        }},
    });
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "berth", "labels": labels},
        "spec": {"selector": labels, "ports": [{"name": "http", "port": 80, "targetPort": "http"}]},
    });
    let file = |name, says: &str, value: &Value| subject.file(name, "kustomize", says, std::slice::from_ref(value));
    files.push(file("kustomization.yaml", "kubectl apply -k .", &kustomization));
    files.push(file(
        "deployment.yaml",
        "Image volumes need Kubernetes 1.33 or later (K3s 1.33); before that, mount the module by any other volume.",
        &deployment,
    ));
    files.push(file("service.yaml", "", &service));
    Ok(files)
}
