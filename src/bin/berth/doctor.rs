//! `berth doctor`: asks running proxies what they are, and says what is wrong with them.

use berth::manifest::doctor::{Finding, Grade, Patient, examine, policies};
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::process::ExitCode;
use std::time::Duration;

/// Whom to ask, and how to say it.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The proxies' own interfaces, such as `http://127.0.0.1:9901` (kubectl port-forward brings them near).
    #[arg(required = true, value_name = "ADMIN_URL")]
    urls: Vec<String>,
    /// How to say it.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Text,
    Json,
}

/// How long a proxy may take, and how much it may say.
const PATIENCE: Duration = Duration::from_secs(10);
const MOST_BYTES: u64 = 256 << 20;

/// Examines them all. 1 if something is wrong.
pub(crate) fn run(args: &Args) -> ExitCode {
    let patients: Result<Vec<Patient>, String> = args.urls.iter().map(|url| ask_all(url)).collect();
    let patients = match patients {
        Ok(patients) => patients,
        Err(why) => return crate::misused(&why),
    };
    let findings = examine(&patients);
    match args.format {
        Format::Text => print(&patients, &findings),
        Format::Json => crate::say(&format!("{}\n", Value::from(findings.iter().map(as_json).collect::<Vec<_>>()))),
    }
    ExitCode::from(u8::from(findings.iter().any(|finding| finding.grade == Grade::Error)))
}

fn print(patients: &[Patient], findings: &[Finding]) {
    for finding in findings {
        let grade = if finding.grade == Grade::Error { "error" } else { "warning" };
        crate::say(&format!(
            "{grade:<8} {:<16} {}: {}\n{:26}{}\n",
            finding.slug, finding.proxy, finding.what, "", finding.mend
        ));
    }
    for patient in patients {
        let labels: Vec<String> = policies(patient).into_iter().collect();
        let labels = if labels.is_empty() { String::from("no policy") } else { labels.join(" ") };
        let mine = findings.iter().filter(|finding| finding.proxy == patient.name);
        let errors = mine.clone().filter(|finding| finding.grade == Grade::Error).count();
        let warnings = mine.count() - errors;
        crate::say(&format!("{}: {labels}, {errors} errors, {warnings} warnings\n", patient.name));
    }
}

fn as_json(finding: &Finding) -> Value {
    let grade = if finding.grade == Grade::Error { "error" } else { "warning" };
    json!({"severity": grade, "slug": finding.slug, "proxy": finding.proxy, "what": finding.what, "mend": finding.mend})
}

fn ask_all(url: &str) -> Result<Patient, String> {
    let place = url.strip_prefix("http://").unwrap_or(url).trim_end_matches('/');
    if place.contains("://") || place.contains('/') {
        return Err(format!("{url}: expected http://HOST:PORT of a proxy's admin interface"));
    }
    let ask = |path: &str| {
        let text = get(place, path).map_err(|why| format!("{url}{path}: {why}"))?;
        serde_json::from_slice(&text)
            .map_err(|why| format!("{url}{path}: found no JSON ({why}), expected a proxy's admin interface"))
    };
    Ok(Patient {
        name: place.to_owned(),
        dump: ask("/config_dump")?,
        stats: ask("/stats?format=json&filter=berth%7Clistener_manager")?,
        server: ask("/server_info")?,
    })
}

/// One request by hand: the interface speaks plain HTTP, and this is all that is ever asked of it.
fn get(place: &str, path: &str) -> Result<Vec<u8>, String> {
    let address = place.to_socket_addrs().map_err(|e| e.to_string())?.next().ok_or("no such host")?;
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE).map_err(|e| e.to_string())?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(|e| e.to_string())?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: {place}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).map_err(|e| e.to_string())?;
    let mut answer = Vec::new();
    stream.take(MOST_BYTES).read_to_end(&mut answer).map_err(|e| e.to_string())?;
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").ok_or("no answer in HTTP")?;
    let (head, body) = answer.split_at(end);
    let head = String::from_utf8_lossy(head);
    if head.split_whitespace().nth(1) != Some("200") {
        return Err(format!("answered {}", head.lines().next().unwrap_or_default()));
    }
    let body = body.get(4..).unwrap_or_default();
    if head.to_ascii_lowercase().contains("transfer-encoding: chunked") { unchunk(body) } else { Ok(body.to_vec()) }
}

/// A body in chunks in one piece.
fn unchunk(mut rest: &[u8]) -> Result<Vec<u8>, String> {
    let mut whole = Vec::new();
    loop {
        let end = rest.windows(2).position(|two| two == b"\r\n").ok_or("a chunk without a size")?;
        let (size, after) = rest.split_at(end);
        let size = String::from_utf8_lossy(size);
        let size = usize::from_str_radix(size.trim(), 16).map_err(|e| e.to_string())?;
        if size == 0 {
            return Ok(whole);
        }
        let chunk = after.get(2..).and_then(|after| after.get(..size)).ok_or("a chunk that is cut off")?;
        whole.extend_from_slice(chunk);
        rest = after.get(2 + size + 2..).unwrap_or_default();
    }
}
