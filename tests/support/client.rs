//! A small client over HTTP/1 and HTTP/2: one connection a request, the whole answer with the time of its chunks.

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::{Request, Response, body::Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// The protocol of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Http {
    One,
    Two,
}

/// Both protocols: most tests hold over each.
pub const BOTH: [Http; 2] = [Http::One, Http::Two];

/// A request being put together.
#[derive(Clone, Debug)]
pub struct Ask {
    to: SocketAddr,
    http: Http,
    method: &'static str,
    path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    trailers: Option<hyper::HeaderMap>,
}

/// What the client saw.
#[derive(Clone, Debug)]
pub struct Seen {
    pub status: u16,
    headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// When each part of the body arrived, from the start of the request.
    pub chunks_at: Vec<Duration>,
    /// Whether the answer broke off.
    pub broken: bool,
    pub took: Duration,
}

impl Seen {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(k, _)| k == name).map(|(_, v)| v.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Ask {
    pub fn get(to: SocketAddr, path: &str) -> Self {
        Self {
            to,
            http: Http::One,
            method: "GET",
            path: path.into(),
            headers: Vec::new(),
            body: Vec::new(),
            trailers: None,
        }
    }

    pub fn post(to: SocketAddr, path: &str, body: impl Into<Vec<u8>>) -> Self {
        Self { method: "POST", body: body.into(), ..Self::get(to, path) }
    }

    pub fn put(to: SocketAddr, path: &str, body: impl Into<Vec<u8>>) -> Self {
        Self { method: "PUT", body: body.into(), ..Self::get(to, path) }
    }

    pub fn at(mut self, path: &str) -> Self {
        self.path = path.into();
        self
    }

    pub fn over(mut self, http: Http) -> Self {
        self.http = http;
        self
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Ends the body with a trailer.
    pub fn trailer(mut self, name: &'static str, value: &'static str) -> Self {
        let value = hyper::header::HeaderValue::from_static(value);
        self.trailers.get_or_insert_default().insert(hyper::header::HeaderName::from_static(name), value);
        self
    }

    /// Sends it; an error is a connection that ended without an answer.
    pub async fn send(self) -> Result<Seen, String> {
        let started = Instant::now();
        tokio::time::timeout(super::PATIENCE, self.exchange(started)).await.map_err(|_| "no answer in time")?
    }

    async fn exchange(self, started: Instant) -> Result<Seen, String> {
        let stream = tokio::net::TcpStream::connect(self.to).await.map_err(|e| e.to_string())?;
        let io = TokioIo::new(stream);
        let mut request = Request::builder().method(self.method);
        // A `host` among the headers is the authority.
        let named = self.headers.iter().find(|(name, _)| name == "host");
        let host = named.map_or("berth.test", |(_, host)| host.as_str());
        request = match self.http {
            Http::One => request.uri(&self.path).header("host", host),
            Http::Two => request.uri(format!("http://{host}{}", self.path)),
        };
        for (k, v) in self.headers.iter().filter(|(name, _)| name != "host") {
            request = request.header(k, v);
        }
        let body = Full::new(Bytes::from(self.body));
        let body = match self.trailers {
            None => body.boxed(),
            Some(trailers) => body.with_trailers(std::future::ready(Some(Ok(trailers)))).boxed(),
        };
        let request = request.body(body).map_err(|e| e.to_string())?;
        let response = match self.http {
            Http::One => {
                let (mut sender, connection) =
                    hyper::client::conn::http1::handshake(io).await.map_err(|e| e.to_string())?;
                tokio::spawn(connection);
                sender.send_request(request).await
            }
            Http::Two => {
                let (mut sender, connection) =
                    hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.map_err(|e| e.to_string())?;
                tokio::spawn(connection);
                sender.send_request(request).await
            }
        };
        Ok(collect(response.map_err(|e| e.to_string())?, started).await)
    }
}

async fn collect(response: Response<Incoming>, started: Instant) -> Seen {
    let (parts, mut incoming) = response.into_parts();
    let headers = parts
        .headers
        .iter()
        .map(|(k, v)| (k.to_string(), String::from_utf8_lossy(v.as_bytes()).into_owned()))
        .collect();
    let (mut body, mut chunks_at, mut broken) = (Vec::new(), Vec::new(), false);
    while let Some(frame) = incoming.frame().await {
        match frame.map(hyper::body::Frame::into_data) {
            Ok(Ok(data)) => {
                chunks_at.push(started.elapsed());
                body.extend_from_slice(&data);
            }
            Ok(Err(_)) => {}
            Err(_) => {
                broken = true;
                break;
            }
        }
    }
    Seen { status: parts.status.as_u16(), headers, body, chunks_at, broken, took: started.elapsed() }
}

/// A connection that is kept, for many requests one after the other.
#[derive(Debug)]
pub struct Line {
    sender: Sender,
}

#[derive(Debug)]
enum Sender {
    One(hyper::client::conn::http1::SendRequest<Full<Bytes>>),
    Two(hyper::client::conn::http2::SendRequest<Full<Bytes>>),
}

impl Line {
    pub async fn open(to: SocketAddr, http: Http) -> Self {
        let io = TokioIo::new(tokio::net::TcpStream::connect(to).await.unwrap());
        let sender = match http {
            Http::One => {
                let (sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
                tokio::spawn(connection);
                Sender::One(sender)
            }
            Http::Two => {
                let (sender, connection) =
                    hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
                tokio::spawn(connection);
                Sender::Two(sender)
            }
        };
        Self { sender }
    }

    /// Whether the other side has ended it.
    pub fn is_closed(&self) -> bool {
        match &self.sender {
            Sender::One(sender) => sender.is_closed(),
            Sender::Two(sender) => sender.is_closed(),
        }
    }

    /// Sends a request; gives its status and whether the answer came whole. An error: open another one.
    pub async fn post(&mut self, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Result<(u16, bool), String> {
        self.send(path, headers, body).await.map(|seen| (seen.status, !seen.broken))
    }

    /// The same; gives the whole answer.
    pub async fn send(&mut self, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Result<Seen, String> {
        let mut request = Request::builder().method("POST");
        request = match self.sender {
            Sender::One(_) => request.uri(path).header("host", "berth.test"),
            Sender::Two(_) => request.uri(format!("http://berth.test{path}")),
        };
        for (k, v) in headers {
            request = request.header(*k, *v);
        }
        let request = request.body(Full::new(Bytes::from(body))).map_err(|e| e.to_string())?;
        let exchange = async {
            let response = match &mut self.sender {
                Sender::One(sender) => {
                    sender.ready().await.map_err(|e| e.to_string())?;
                    sender.send_request(request).await
                }
                Sender::Two(sender) => {
                    sender.ready().await.map_err(|e| e.to_string())?;
                    sender.send_request(request).await
                }
            };
            Ok(collect(response.map_err(|e| e.to_string())?, Instant::now()).await)
        };
        tokio::time::timeout(super::PATIENCE, exchange).await.map_err(|_| "no answer in time")?
    }
}
