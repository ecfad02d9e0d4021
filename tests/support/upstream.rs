//! A scripted upstream: HTTP/1 and HTTP/2 on one port, answers what a test tells it to, and remembers every request.

use hyper::body::{Body, Bytes, Frame, Incoming};
use hyper::{Request, Response, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// What an upstream does with a request.
#[derive(Clone, Debug)]
pub enum Script {
    /// Answers with a status, headers and a body.
    Answer(u16, Vec<(String, String)>, String),
    /// Resets: RST on HTTP/1, RST_STREAM on HTTP/2.
    Reset,
    /// Closes without an answer.
    Close,
    /// Waits, then goes on.
    Delay(Duration, Box<Script>),
    /// Streams events, one per interval.
    Stream(usize, Duration),
    /// Sends headers and half of an answer, then breaks off.
    BreakOff,
}

impl Script {
    pub fn ok(body: &str) -> Self {
        Self::Answer(200, Vec::new(), body.into())
    }

    pub fn status(code: u16) -> Self {
        Self::Answer(code, Vec::new(), String::new())
    }

    pub fn overloaded(retry_after_s: u32) -> Self {
        Self::Answer(429, vec![("retry-after".into(), retry_after_s.to_string())], String::new())
    }

    pub fn after(ms: u64, then: Self) -> Self {
        Self::Delay(Duration::from_millis(ms), Box::new(then))
    }
}

/// One request as it arrived.
#[derive(Clone, Debug)]
pub struct Received {
    pub method: String,
    pub path: String,
    pub http2: bool,
    pub headers: BTreeMap<String, String>,
    /// The same as they came, those that came more than once too.
    pub lines: Vec<(String, String)>,
    pub body: Vec<u8>,
}

#[derive(Debug)]
struct State {
    by_path: BTreeMap<String, Script>,
    default: Script,
    received: Vec<Received>,
}

/// A running upstream; stops when dropped.
#[derive(Debug)]
pub struct Upstream {
    pub name: String,
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
    accepting: tokio::task::JoinHandle<()>,
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Upstream {
    /// Starts one that answers 200 with its own name.
    pub async fn start(name: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state =
            Arc::new(Mutex::new(State { by_path: BTreeMap::new(), default: Script::ok(name), received: Vec::new() }));
        let accepting = tokio::spawn(accept(listener, state.clone()));
        Self { name: name.into(), address, state, accepting }
    }

    /// What it does from now on.
    pub fn does(&self, script: Script) {
        self.state.lock().unwrap().default = script;
    }

    /// What it does on one path from now on.
    pub fn does_at(&self, path: &str, script: Script) {
        self.state.lock().unwrap().by_path.insert(path.into(), script);
    }

    /// The requests that came, but for those to paths that a script was set for (health and metrics).
    pub fn received(&self) -> Vec<Received> {
        let state = self.state.lock().unwrap();
        state.received.iter().filter(|r| !state.by_path.contains_key(&r.path)).cloned().collect()
    }

    /// All requests that came since this was last asked, which are then forgotten.
    pub fn take_received(&self) -> Vec<Received> {
        std::mem::take(&mut self.state.lock().unwrap().received)
    }

    /// How often a path was asked for.
    pub fn asked(&self, path: &str) -> usize {
        self.state.lock().unwrap().received.iter().filter(|r| r.path == path).count()
    }
}

async fn accept(listener: TcpListener, state: Arc<Mutex<State>>) {
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let state = state.clone();
        connections.spawn(async move {
            let reset = Arc::new(AtomicBool::new(false));
            let io = Faulty { stream, reset: reset.clone() };
            let service = service_fn(move |request| serve(request, state.clone(), reset.clone()));
            let _ = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(io), service)
                .await;
        });
    }
}

async fn serve(
    request: Request<Incoming>,
    state: Arc<Mutex<State>>,
    reset: Arc<AtomicBool>,
) -> Result<Response<Chunks>, io::Error> {
    let (parts, body) = request.into_parts();
    let body = http_body_util::BodyExt::collect(body).await.map_err(io::Error::other)?.to_bytes().to_vec();
    let text = |v: &hyper::header::HeaderValue| String::from_utf8_lossy(v.as_bytes()).into_owned();
    let lines: Vec<(String, String)> = parts.headers.iter().map(|(k, v)| (k.to_string(), text(v))).collect();
    let mut headers: BTreeMap<String, String> = lines.iter().cloned().collect();
    // HTTP/2 names the host in a pseudo-header.
    if let Some(authority) = parts.uri.authority() {
        headers.insert("host".into(), authority.to_string());
    }
    let path = parts.uri.path().to_string();
    let script = {
        let mut state = state.lock().unwrap();
        let http2 = parts.version == hyper::Version::HTTP_2;
        let method = parts.method.to_string();
        state.received.push(Received { method, path: path.clone(), http2, headers, lines, body });
        state.by_path.get(&path).unwrap_or(&state.default).clone()
    };
    play(script, &reset).await
}

async fn play(mut script: Script, reset: &AtomicBool) -> Result<Response<Chunks>, io::Error> {
    loop {
        match script {
            Script::Delay(time, then) => {
                tokio::time::sleep(time).await;
                script = *then;
            }
            Script::Answer(code, headers, body) => {
                let mut response = Response::builder().status(code);
                for (k, v) in headers {
                    response = response.header(k, v);
                }
                return response.body(Chunks::of(body)).map_err(io::Error::other);
            }
            Script::Reset => {
                reset.store(true, Ordering::SeqCst);
                return Err(io::Error::other("scripted reset"));
            }
            Script::Close => return Err(io::Error::other("scripted close")),
            Script::Stream(events, every) => {
                let body = Chunks::stream(events, every, false);
                return Response::builder()
                    .header("content-type", "text/event-stream")
                    .body(body)
                    .map_err(io::Error::other);
            }
            Script::BreakOff => {
                return Response::builder()
                    .header("content-length", "1000")
                    .body(Chunks::stream(1, Duration::ZERO, true))
                    .map_err(io::Error::other);
            }
        }
    }
}

/// A body fed from a channel, so that it can be slow, endless or broken.
#[derive(Debug)]
pub struct Chunks(mpsc::Receiver<Result<Frame<Bytes>, io::Error>>);

impl Chunks {
    fn of(text: String) -> Self {
        let (tx, rx) = mpsc::channel(1);
        // An empty frame on HTTP/2 is a flood to Envoy when the next one is empty too, and ends the connection for all.
        if !text.is_empty() {
            let _ = tx.try_send(Ok(Frame::data(Bytes::from(text))));
        }
        Self(rx)
    }

    fn stream(events: usize, every: Duration, broken: bool) -> Self {
        let (tx, rx) = mpsc::channel(4);
        tokio::spawn(async move {
            for i in 0..events {
                if tx.send(Ok(Frame::data(Bytes::from(format!("data: {i}\n\n"))))).await.is_err() {
                    return;
                }
                tokio::time::sleep(every).await;
            }
            if broken {
                let _ = tx.send(Err(io::Error::other("scripted break"))).await;
            }
        });
        Self(rx)
    }
}

impl Body for Chunks {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        self.0.poll_recv(cx)
    }
}

/// A connection that can end with a reset instead of a close.
#[derive(Debug)]
struct Faulty {
    stream: TcpStream,
    reset: Arc<AtomicBool>,
}

impl Drop for Faulty {
    fn drop(&mut self) {
        if self.reset.load(Ordering::SeqCst) {
            let _ = self.stream.set_zero_linger();
        }
    }
}

impl AsyncRead for Faulty {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Faulty {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.reset.load(Ordering::SeqCst) {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
