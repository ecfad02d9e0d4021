//! A simulated inference server: chat completions as OpenAI-style clients expect them, metrics as vLLM writes them,
//! health as Berth reads it, and a control endpoint that makes it slow, full or failing.
#![allow(unreachable_pub, reason = "the demo and the program each use it as a module of their own")]

use http_body_util::BodyExt;
use hyper::body::{Body, Bytes, Frame, Incoming};
use hyper::{Method, Request, Response, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

/// The largest request that is read; more is refused.
const MOST_BODY: u64 = 8 << 20;
/// The most tokens that one answer has.
const MOST_TOKENS: u64 = 4_096;

/// How it behaves; `PUT /control` changes any part of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Behaviour {
    /// Until the first token.
    pub first_token_ms: u64,
    /// For each further token.
    pub ms_per_token: u64,
    /// Answers 429 with `retry-after`.
    pub full: bool,
    /// So many requests a second, as a provider allows them: a second's worth at once, then 429 with `retry-after`.
    pub requests_per_second: Option<u32>,
    /// Answers 500.
    pub failing: bool,
    /// Requests waiting, as reported.
    pub queue_depth: u64,
    /// Memory in use, as reported.
    pub memory_pressure: f64,
    /// The country that it attests to be in, if it does.
    pub attests: Option<String>,
    /// Further signals, as reported.
    pub signals: serde_json::Map<String, Value>,
}

impl Default for Behaviour {
    fn default() -> Self {
        let signals = serde_json::Map::new();
        Self {
            first_token_ms: 5,
            ms_per_token: 0,
            full: false,
            requests_per_second: None,
            failing: false,
            queue_depth: 0,
            memory_pressure: 0.2,
            attests: None,
            signals,
        }
    }
}

/// One simulated substrate.
#[derive(Debug)]
pub struct Substrate {
    name: String,
    behaviour: Mutex<Behaviour>,
    running: Mutex<u64>,
    served: Mutex<u64>,
    bucket: Mutex<Bucket>,
}

/// What is left of a rate.
#[derive(Debug, Default)]
struct Bucket {
    left: f64,
    at: Option<Instant>,
}

impl Bucket {
    /// How many may come now.
    fn fill(&mut self, rate: f64) -> f64 {
        let now = Instant::now();
        let gained = self.at.map_or(rate, |at| now.duration_since(at).as_secs_f64() * rate);
        (self.left, self.at) = ((self.left + gained).min(rate.max(1.0)), Some(now));
        self.left
    }

    /// Takes one, or says after how many seconds there will be one again.
    fn take(&mut self, rate: f64) -> Option<u64> {
        if self.fill(rate) < 1.0 {
            return Some(((1.0 - self.left) / rate).ceil().max(1.0) as u64);
        }
        self.left -= 1.0;
        None
    }
}

impl Substrate {
    pub fn new(name: &str, behaviour: Behaviour) -> Arc<Self> {
        Arc::new(Self {
            name: name.into(),
            behaviour: Mutex::new(behaviour),
            running: Mutex::new(0),
            served: Mutex::new(0),
            bucket: Mutex::new(Bucket::default()),
        })
    }

    /// How it behaves now.
    pub fn behaviour(&self) -> Behaviour {
        self.behaviour.lock().map(|b| b.clone()).unwrap_or_default()
    }

    /// Changes how it behaves from now on.
    pub fn becomes(&self, behaviour: Behaviour) {
        if let Ok(mut current) = self.behaviour.lock() {
            *current = behaviour;
        }
    }

    /// Serves until the task is dropped.
    pub async fn serve(self: Arc<Self>, listener: TcpListener) {
        let mut connections = tokio::task::JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            let substrate = self.clone();
            connections.spawn(async move {
                let service = service_fn(move |request| {
                    let substrate = substrate.clone();
                    async move { Ok::<_, Infallible>(substrate.answer(request).await) }
                });
                let _ = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
            while connections.try_join_next().is_some() {}
        }
    }

    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Response<Chunks> {
        match (request.method(), request.uri().path()) {
            (&Method::GET, "/health") => self.json(200, &self.health()),
            (&Method::GET, "/metrics") => self.text(200, "text/plain; version=0.0.4", self.metrics()),
            (&Method::PUT, "/control") => self.control(request).await,
            (&Method::POST, "/v1/chat/completions") => self.chat(request).await,
            (_, path) => self.json(404, &json!({"error": {"message": format!("no such path: {path}")}})),
        }
    }

    fn health(&self) -> Value {
        let now = self.behaviour();
        let mut signals = now.signals;
        signals.insert("queue_depth".into(), now.queue_depth.into());
        signals.insert("memory_pressure".into(), now.memory_pressure.into());
        signals.insert("running".into(), (*self.running.lock().unwrap_or_else(|e| e.into_inner())).into());
        let attestation = now.attests.map(|country| {
            let at = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
            json!({"jurisdiction": country, "at_ms": at.as_millis() as u64})
        });
        json!({"substrate": self.name, "signals": signals, "attestation": attestation})
    }

    fn metrics(&self) -> String {
        let now = self.behaviour();
        let running = *self.running.lock().unwrap_or_else(|e| e.into_inner());
        let served = *self.served.lock().unwrap_or_else(|e| e.into_inner());
        format!(
            "# TYPE vllm:num_requests_waiting gauge\nvllm:num_requests_waiting{{model_name=\"sim\"}} {}\n\
             # TYPE vllm:num_requests_running gauge\nvllm:num_requests_running{{model_name=\"sim\"}} {running}\n\
             # TYPE vllm:kv_cache_usage_perc gauge\nvllm:kv_cache_usage_perc{{model_name=\"sim\"}} {}\n\
             # TYPE vllm:request_success_total counter\nvllm:request_success_total{{model_name=\"sim\"}} {served}\n",
            now.queue_depth, now.memory_pressure,
        )
    }

    async fn control(&self, request: Request<Incoming>) -> Response<Chunks> {
        let body = match read(request).await {
            Ok(body) => body,
            Err(why) => return self.json(413, &json!({"error": {"message": why}})),
        };
        let mut merged = serde_json::to_value(self.behaviour()).unwrap_or_default();
        let changes: Result<serde_json::Map<String, Value>, _> = serde_json::from_slice(&body);
        match (changes, merged.as_object_mut()) {
            (Ok(changes), Some(fields)) => fields.extend(changes),
            (Err(e), _) => return self.json(400, &json!({"error": {"message": e.to_string()}})),
            _ => {}
        }
        match serde_json::from_value::<Behaviour>(merged) {
            Ok(behaviour) => {
                self.becomes(behaviour.clone());
                self.json(200, &json!(behaviour))
            }
            Err(e) => self.json(400, &json!({"error": {"message": e.to_string()}})),
        }
    }

    async fn chat(self: Arc<Self>, request: Request<Incoming>) -> Response<Chunks> {
        let now = self.behaviour();
        let rate = now.requests_per_second.map(f64::from).filter(|rate| *rate > 0.0);
        let bucket = || self.bucket.lock().unwrap_or_else(|e| e.into_inner());
        let wait_s = if now.full { Some(2) } else { rate.and_then(|rate| bucket().take(rate)) };
        if let Some(wait_s) = wait_s {
            let mut response =
                self.json(429, &json!({"error": {"message": "the queue is full", "type": "overloaded"}}));
            response.headers_mut().insert("retry-after", hyper::header::HeaderValue::from(wait_s));
            return response;
        }
        if now.failing {
            return self.json(500, &json!({"error": {"message": "simulated failure", "type": "server_error"}}));
        }
        let chat: Value = match read(request).await.map(|body| serde_json::from_slice(&body)) {
            Ok(Ok(chat)) => chat,
            Ok(Err(e)) => return self.json(400, &json!({"error": {"message": e.to_string()}})),
            Err(why) => return self.json(413, &json!({"error": {"message": why}})),
        };
        let tokens = chat.get("max_tokens").and_then(Value::as_u64).unwrap_or(8).clamp(1, MOST_TOKENS);
        let model = chat.get("model").and_then(Value::as_str).unwrap_or("sim").to_string();
        let stream = chat.get("stream").and_then(Value::as_bool).unwrap_or(false);
        let busy = Busy::enter(&self);
        tokio::time::sleep(Duration::from_millis(now.first_token_ms)).await;
        if stream {
            return self.stream(model, tokens, now.ms_per_token, busy);
        }
        tokio::time::sleep(Duration::from_millis(now.ms_per_token.saturating_mul(tokens))).await;
        let content = format!("{} answers.", self.name);
        let mut response = self.json(200, &json!({
            "id": "chatcmpl-sim", "object": "chat.completion", "created": 0, "model": model,
            "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": content}}],
            "usage": {"prompt_tokens": 1, "completion_tokens": tokens, "total_tokens": tokens + 1}
        }));
        if let Some(left) = rate.map(|rate| bucket().fill(rate) as u64) {
            response.headers_mut().insert("x-ratelimit-remaining-requests", left.into());
        }
        response
    }

    fn stream(&self, model: String, tokens: u64, ms_per_token: u64, busy: Busy) -> Response<Chunks> {
        let (tx, rx) = mpsc::channel(4);
        let name = self.name.clone();
        tokio::spawn(async move {
            let _busy = busy;
            for i in 0..tokens {
                let word = if i == 0 { name.as_str() } else { " ok" };
                let event = json!({"id": "chatcmpl-sim", "object": "chat.completion.chunk", "created": 0,
                    "model": model, "choices": [{"index": 0, "delta": {"content": word}, "finish_reason": null}]});
                if tx.send(Bytes::from(format!("data: {event}\n\n"))).await.is_err() {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(ms_per_token)).await;
            }
            let _ = tx.send(Bytes::from_static(b"data: [DONE]\n\n")).await;
        });
        self.respond(200, "text/event-stream", Chunks(rx))
    }

    fn json(&self, status: u16, value: &Value) -> Response<Chunks> {
        self.text(status, "application/json", value.to_string())
    }

    fn text(&self, status: u16, content_type: &'static str, text: String) -> Response<Chunks> {
        let (tx, rx) = mpsc::channel(1);
        let _ = tx.try_send(Bytes::from(text));
        self.respond(status, content_type, Chunks(rx))
    }

    fn respond(&self, status: u16, content_type: &'static str, body: Chunks) -> Response<Chunks> {
        let mut response = Response::new(body);
        *response.status_mut() = hyper::StatusCode::from_u16(status).unwrap_or_default();
        let headers = response.headers_mut();
        headers.insert("content-type", hyper::header::HeaderValue::from_static(content_type));
        if let Ok(name) = self.name.parse() {
            headers.insert("x-served-by", name);
        }
        response
    }
}

async fn read(request: Request<Incoming>) -> Result<Bytes, String> {
    if request.body().size_hint().lower() > MOST_BODY {
        return Err(format!("more than {MOST_BODY} bytes"));
    }
    let limited = http_body_util::Limited::new(request.into_body(), MOST_BODY as usize);
    limited.collect().await.map(|body| body.to_bytes()).map_err(|e| e.to_string())
}

/// Counts a request as running for as long as it lives.
#[derive(Debug)]
struct Busy(Arc<Substrate>);

impl Busy {
    fn enter(substrate: &Arc<Substrate>) -> Self {
        *substrate.running.lock().unwrap_or_else(|e| e.into_inner()) += 1;
        Self(substrate.clone())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let mut running = self.0.running.lock().unwrap_or_else(|e| e.into_inner());
        *running = running.saturating_sub(1);
        *self.0.served.lock().unwrap_or_else(|e| e.into_inner()) += 1;
    }
}

/// A body fed from a channel.
#[derive(Debug)]
pub struct Chunks(mpsc::Receiver<Bytes>);

impl Body for Chunks {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|chunk| chunk.map(|data| Ok(Frame::data(data))))
    }
}
