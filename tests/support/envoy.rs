//! A real Envoy under test: started from a bootstrap on ports that the system picks, awaited, read, always ended.

use super::calm::Watch;
use super::client::{Ask, Seen};
use super::{PATIENCE, eventually};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

/// A running Envoy; ended when dropped.
#[derive(Debug)]
pub struct Envoy {
    child: Child,
    dir: PathBuf,
    /// Which of several that take over from one another.
    epoch: u32,
    admin: SocketAddr,
    listeners: BTreeMap<String, SocketAddr>,
    /// A test that goes wrong says whether it was held up.
    watch: Watch,
}

/// Becomes Envoy, and leaves a watcher behind that ends it when this process is gone, however it went: a killed test
/// leaves nothing running. The watcher's input is a pipe that only this process holds open.
pub const WATCHED: &str = r#"exec 3<&0; (cat <&3 >/dev/null; kill $$) & exec 3<&-; exec "$@" </dev/null"#;

/// The Envoy that `ENVOY` names, or else the one that the build's tools install.
pub fn binary() -> String {
    static FOUND: OnceLock<String> = OnceLock::new();
    let find = || {
        let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join(".ci/tools");
        let found = Command::new(tools).arg("envoy").stderr(Stdio::inherit()).output();
        let found = found.map(|o| String::from_utf8_lossy(&o.stdout).trim().to_string()).unwrap_or_default();
        assert!(!found.is_empty(), "no Envoy: `.ci/tools envoy` says why, or name one with ENVOY=");
        found
    };
    std::env::var("ENVOY").unwrap_or_else(|_| FOUND.get_or_init(find).clone())
}

/// Which Envoy it is.
pub fn version() -> String {
    let said = Command::new(binary()).arg("--version").output();
    let said = said.map(|o| String::from_utf8_lossy(&o.stdout).into_owned()).unwrap_or_default();
    said.split_whitespace().last().unwrap_or("unknown").to_string()
}

/// What Envoy says of a configuration that it only looks at: whether it would start, and its log.
pub fn validate(dir: &Path, config: &str) -> (bool, String) {
    let said = Command::new(binary())
        .args(["--mode", "validate", "--log-level", "error", "-c"])
        .arg(dir.join(config))
        .current_dir(dir)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    (
        said.status.success(),
        format!("{}{}", String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr)),
    )
}

/// A fresh folder for one Envoy's files.
pub fn workdir() -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let name = format!("envoy-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::SeqCst));
    let parent = option_env!("CARGO_TARGET_TMPDIR").map_or_else(std::env::temp_dir, PathBuf::from);
    let dir = parent.join(name);
    fs::create_dir_all(&dir).unwrap();
    dir
}

impl Envoy {
    /// Starts with a bootstrap and waits until every worker is ready.
    pub async fn start(bootstrap: &Value) -> Self {
        Self::start_in(workdir(), bootstrap).await
    }

    /// The same in a folder that the test has put files into.
    pub async fn start_in(dir: PathBuf, bootstrap: &Value) -> Self {
        Self::start_with(dir, bootstrap, 2).await
    }

    /// The same with so many workers.
    pub async fn start_with(dir: PathBuf, bootstrap: &Value, workers: u32) -> Self {
        fs::write(dir.join("envoy.json"), serde_json::to_vec_pretty(bootstrap).unwrap()).unwrap();
        Self::start_on(dir, "envoy.json", workers).await
    }

    /// The same with a bootstrap that is in the folder already.
    pub async fn start_file(dir: PathBuf, config: &str) -> Self {
        Self::start_on(dir, config, 2).await
    }

    /// The same, and another can take over from it. Its listeners need ports of their own choice.
    pub async fn start_replaceable(dir: PathBuf, bootstrap: &Value) -> Self {
        fs::write(dir.join("envoy.json"), serde_json::to_vec_pretty(bootstrap).unwrap()).unwrap();
        let base = dir.join("base-id");
        Self::start_as(
            dir,
            "envoy.json",
            2,
            0,
            &["--use-dynamic-base-id".into(), "--base-id-path".into(), base.display().to_string()],
        )
        .await
    }

    /// Starts the one that takes over from it, as soon as it is ready; this one ends by itself so many seconds later.
    pub async fn successor(&self, seconds: u32) -> Self {
        let (base, epoch) = (fs::read_to_string(self.dir.join("base-id")).unwrap(), self.epoch + 1);
        let options = [
            "--base-id",
            base.trim(),
            "--restart-epoch",
            &epoch.to_string(),
            "--parent-shutdown-time-s",
            &seconds.to_string(),
        ];
        Self::start_as(self.dir.clone(), "envoy.json", 2, epoch, &options.map(String::from)).await
    }

    async fn start_on(dir: PathBuf, config: &str, workers: u32) -> Self {
        Self::start_as(dir, config, workers, 0, &["--disable-hot-restart".into()]).await
    }

    async fn start_as(dir: PathBuf, config: &str, workers: u32, epoch: u32, options: &[String]) -> Self {
        let (log, admin) = (log_name(epoch), format!("admin-{epoch}"));
        let log = fs::File::create(dir.join(log)).unwrap();
        let mut child = Command::new("/bin/sh")
            .args(["-c", WATCHED, "sh", &binary(), "-c"])
            .arg(dir.join(config))
            .arg("--admin-address-path")
            .arg(dir.join(&admin))
            .args(["--concurrency", &workers.to_string(), "--log-level", "warning"])
            .args(options)
            .args(["--component-log-level", "wasm:info,config:info"])
            .args(["--file-flush-interval-msec", "20", "--drain-time-s", "2"])
            .current_dir(&dir)
            .stdin(Stdio::piped())
            .stdout(fs::File::create(dir.join("stdout.log")).unwrap())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|e| panic!("cannot start {}: {e}", binary()));
        let admin = ready(&mut child, &dir, epoch).await;
        let mut envoy = Self { child, dir, epoch, admin, listeners: BTreeMap::new(), watch: Watch::begin() };
        envoy.refresh_listeners().await;
        envoy
    }

    /// Learns the ports again, for listeners that came later.
    pub async fn refresh_listeners(&mut self) {
        let listeners = self.admin_get("/listeners?format=json").await;
        let listeners: Value = serde_json::from_slice(&listeners.body).unwrap();
        for status in listeners["listener_statuses"].as_array().into_iter().flatten() {
            let socket = &status["local_address"]["socket_address"];
            if socket.is_null() {
                // One that listens on a path.
                continue;
            }
            let address = format!("{}:{}", socket["address"].as_str().unwrap(), socket["port_value"]);
            self.listeners.insert(status["name"].as_str().unwrap().into(), address.parse().unwrap());
        }
    }

    /// The address of a listener.
    pub fn listener(&self, name: &str) -> SocketAddr {
        *self.listeners.get(name).unwrap_or_else(|| panic!("no listener `{name}`:\n{}", self.log()))
    }

    /// The address of the administration listener.
    pub const fn admin_address(&self) -> SocketAddr {
        self.admin
    }

    pub async fn admin_get(&self, path: &str) -> Seen {
        Ask::get(self.admin, path).send().await.unwrap()
    }

    /// One counter or gauge; 0 where it does not exist yet. Before 1.39 Envoy keeps what a VM counts that is also inside
    /// clusters under the first of these.
    pub async fn stat(&self, name: &str) -> u64 {
        let text = self.admin_get("/stats").await.text();
        let is = |key: &str| {
            let scope = key.strip_suffix(name);
            scope.is_some_and(|s| s.is_empty() || s.starts_with("cluster.") && name.starts_with("wasmcustom."))
        };
        let mut lines = text.lines().filter_map(|line| line.rsplit_once(": "));
        lines.find(|(key, _)| is(key)).and_then(|(_, value)| value.parse().ok()).unwrap_or(0)
    }

    /// Waits until a statistic is as wanted.
    pub async fn await_stat(&self, name: &str, wanted: impl Fn(u64) -> bool) -> u64 {
        let what = format!("statistic {name} is as wanted");
        eventually(&what, || async { Some(self.stat(name).await).filter(|v| wanted(*v)) }).await
    }

    /// The lines of the access log, once there are at least `least`.
    pub async fn access_log(&self, least: usize) -> Vec<Value> {
        let path = self.dir.join("access.log");
        let read = || fs::read_to_string(&path).unwrap_or_default();
        let parse = |text: String| text.lines().filter_map(|l| serde_json::from_str(l).ok()).collect::<Vec<Value>>();
        eventually("the access log is written", || async { Some(parse(read())).filter(|l| l.len() >= least) }).await
    }

    /// Waits until the access log has a line as wanted.
    pub async fn await_log_line(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        eventually("the access log has the line", || async { self.access_log(0).await.into_iter().find(&wanted) }).await
    }

    /// What Envoy wrote to its own log.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.join(log_name(self.epoch))).unwrap_or_default()
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&self) -> bool {
        // Nobody has waited for it: it is still there, as one that is dead.
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap_or_default();
        stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('Z'))
    }

    /// The folder of its files.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Replaces a watched file as Envoy expects it: written beside, then renamed over.
    pub fn replace_file(&self, name: &str, content: &Value) {
        replace_file(&self.dir, name, content);
    }
}

fn log_name(epoch: u32) -> String {
    if epoch == 0 { "envoy.log".into() } else { format!("envoy-{epoch}.log") }
}

/// Writes a file that Envoy watches, in one step.
pub fn replace_file(dir: &Path, name: &str, content: &Value) {
    let new = dir.join(format!("{name}.new"));
    fs::write(&new, serde_json::to_vec(content).unwrap()).unwrap();
    fs::rename(new, dir.join(name)).unwrap();
}

/// The address of the administration listener, once Envoy says there that it is ready. Read anew each time: the file may
/// be half written.
async fn ready(child: &mut Child, dir: &Path, epoch: u32) -> SocketAddr {
    let end = Instant::now() + PATIENCE;
    loop {
        let written =
            fs::read_to_string(dir.join(format!("admin-{epoch}"))).ok().and_then(|text| text.trim().parse().ok());
        if let Some(address) = written
            && Ask::get(address, "/ready").send().await.is_ok_and(|seen| seen.status == 200)
        {
            return address;
        }
        let log = || tail(&fs::read_to_string(dir.join(log_name(epoch))).unwrap_or_default());
        assert!(child.try_wait().unwrap().is_none(), "Envoy ended:\n{}", log());
        assert!(Instant::now() < end, "Envoy did not become ready:\n{}", log());
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

/// The end of a log, where the reason stands.
fn tail(log: &str) -> String {
    let lines: Vec<_> = log.lines().rev().take(20).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("\n")
}

impl Drop for Envoy {
    fn drop(&mut self) {
        self.watch.end();
        drop(self.child.stdin.take());
        let end = Instant::now() + PATIENCE;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < end {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = self.log();
            let tail: Vec<_> = log.lines().rev().take(30).collect();
            eprintln!("--- the end of Envoy's log ---");
            tail.iter().rev().for_each(|line| eprintln!("{line}"));
        } else {
            let _ = fs::remove_dir_all(&self.dir);
        }
    }
}
