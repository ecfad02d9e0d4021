//! A plain Kubernetes deployment of Envoy as a kustomize base: what is discovered comes out of one config map, so that
//! a new policy is a new config map and no new pod.

use super::{File, Subject, envoy};
use crate::manifest::deployment::Kubernetes;
use serde_json::{Value, json};

/// The user that Envoy's images make for it.
const ENVOY_USER: u32 = 101;
/// Authorities that Envoy's images bring along.
const OF_THE_IMAGE: &str = "/etc/ssl/certs";

fn folder_of(file: &str) -> &str {
    file.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// Every file that the proxy is to read is in a folder that is mounted: without one of them it does not start.
fn mounted(subject: &Subject<'_>, place: &Kubernetes, module: &str) -> Result<(), String> {
    let deployment = subject.deployment;
    let listen = deployment.listen.own.iter().flat_map(|(certificate, key)| [certificate, key]);
    let mut files: Vec<&String> = listen.chain(&deployment.listen.client_ca).collect();
    for (_, endpoint) in deployment.substrates.iter().chain(&deployment.helpers) {
        files.extend(endpoint.credential.iter().map(|credential| &credential.sds_file));
        if let Some(tls) = &endpoint.tls {
            files.push(&tls.trusted_ca);
            files.extend(tls.own.iter().flat_map(|(certificate, key)| [certificate, key]));
        }
    }
    let given = |folder: &str| folder == OF_THE_IMAGE || place.secrets.iter().any(|(known, _)| known == folder);
    if let Some(file) = files.into_iter().find(|file| !given(folder_of(file))) {
        return Err(format!(
            "kubernetes.secrets: found none for `{file}`, expected its folder with the Secret that is mounted there"
        ));
    }
    let within = |folder: &str, of: &str| format!("{folder}/").starts_with(&format!("{of}/"));
    let taken = [deployment.config_dir.as_str(), module, OF_THE_IMAGE];
    match place.secrets.iter().find(|(folder, _)| !folder.starts_with('/') || taken.iter().any(|of| within(folder, of)))
    {
        Some((folder, _)) => {
            Err(format!("kubernetes.secrets: found `{folder}`, expected a folder outside of {}", taken.join(", ")))
        }
        None => Ok(()),
    }
}

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
    mounted(subject, place, folder)?;
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
    let (scheme, port) = if subject.deployment.listen.own.is_some() { ("https", 443) } else { ("http", 80) };
    let secrets =
        || place.secrets.iter().enumerate().map(|(i, (folder, secret))| (format!("secret-{i}"), folder, secret));
    let mut mounts = vec![
        json!({"name": "config", "mountPath": subject.deployment.config_dir, "readOnly": true}),
        json!({"name": "module", "mountPath": folder, "readOnly": true}),
    ];
    mounts.extend(secrets().map(|(name, folder, _)| json!({"name": name, "mountPath": folder, "readOnly": true})));
    let mut volumes = vec![
        json!({"name": "config", "configMap": {"name": "berth"}}),
        json!({"name": "module", "image": {"reference": image, "pullPolicy": "IfNotPresent"}}),
    ];
    volumes.extend(secrets().map(|(name, _, secret)| json!({"name": name, "secret": {"secretName": secret}})));
    let envoy = json!({
        "name": "envoy", "image": place.envoy_image,
        "args": ["-c", format!("{}/envoy.yaml", subject.deployment.config_dir)],
        "ports": [{"name": scheme, "containerPort": subject.deployment.listen.port}],
        "readinessProbe": {"tcpSocket": {"port": scheme}, "periodSeconds": 5},
        "resources": {"requests": {"cpu": "500m", "memory": "256Mi"}, "limits": {"memory": "1Gi"}},
        // The image's own user is root, which gives itself up only once it runs.
        "securityContext": {"allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "runAsNonRoot": true, "runAsUser": ENVOY_USER, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": mounts,
    });
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "berth", "labels": labels},
        "spec": {"replicas": place.replicas, "selector": {"matchLabels": labels}, "template": {
            "metadata": {"labels": labels},
            "spec": {"containers": [envoy], "volumes": volumes},
        }},
    });
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "berth", "labels": labels},
        "spec": {"selector": labels, "ports": [{"name": scheme, "port": port, "targetPort": scheme}]},
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
