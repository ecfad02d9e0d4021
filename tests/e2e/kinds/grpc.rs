//! gRPC: calls with one answer and calls that go on in both directions, and what their trailers say.

use super::scene::{DEADLINE_MS, Talk, WAYS, between, counted, counting};
use super::socket::{handshake, served};
use crate::support::bootstrap::INGRESS;
use crate::support::calm::calmly;
use crate::support::envoy::Envoy;
use berth::manifest::envoy::route::Way;
use http_body_util::BodyExt;
use hyper::body::{Body, Bytes, Frame, Incoming};
use hyper::header::HeaderValue;
use hyper::{HeaderMap, Request, Response, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::json;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc};

type Part = Result<Frame<Bytes>, Infallible>;

/// A body that is fed as it goes.
#[derive(Debug)]
struct Pipe(mpsc::Receiver<Part>);

impl Pipe {
    fn open() -> (mpsc::Sender<Part>, Self) {
        let (sender, receiver) = mpsc::channel(8);
        (sender, Self(receiver))
    }
}

impl Body for Pipe {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Part>> {
        self.0.poll_recv(cx)
    }
}

/// What a server does with a call.
#[derive(Clone, Copy, Debug)]
enum Does {
    /// Says this status with its headers, which are all there is.
    Only(&'static str),
    /// Sends headers, then this status.
    Bare(&'static str),
    /// Sends its name, then this status, once the request has ended.
    Said(&'static str),
    /// Sends its name and all that it hears, and ends well when the request does.
    Echo,
    /// Nothing.
    Hang,
    /// As `Echo`, and says on its connection that it takes no other call (GOAWAY).
    Leave,
}

/// A gRPC server.
#[derive(Debug)]
struct Server {
    name: &'static str,
    address: SocketAddr,
    what: Arc<What>,
    accepting: tokio::task::JoinHandle<()>,
}

#[derive(Debug)]
struct What {
    does: Mutex<Does>,
    calls: Mutex<Vec<String>>,
    leaves: Notify,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Server {
    async fn start(name: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let what = What { does: Mutex::new(Does::Said("0")), calls: Mutex::default(), leaves: Notify::new() };
        let what = Arc::new(what);
        let accepting = tokio::spawn(accept(listener, what.clone(), name));
        Self { name, address, what, accepting }
    }

    fn does(&self, does: Does) {
        *self.what.does.lock().unwrap() = does;
    }

    fn calls(&self, path: &str) -> usize {
        self.what.calls.lock().unwrap().iter().filter(|call| *call == path).count()
    }
}

async fn accept(listener: TcpListener, what: Arc<What>, name: &'static str) {
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let what = what.clone();
        connections.spawn(async move {
            let served = what.clone();
            let service = service_fn(move |request| serve(request, served.clone(), name));
            let http2 = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            let mut connection = std::pin::pin!(http2.serve_connection(TokioIo::new(stream), service));
            tokio::select! {
                _ = connection.as_mut() => return,
                () = what.leaves.notified() => connection.as_mut().graceful_shutdown(),
            }
            let _ = connection.await;
        });
    }
}

fn trailers(status: &'static str) -> Part {
    Ok(Frame::trailers(HeaderMap::from_iter([("grpc-status".parse().unwrap(), HeaderValue::from_static(status))])))
}

async fn serve(request: Request<Incoming>, what: Arc<What>, name: &'static str) -> Result<Response<Pipe>, Infallible> {
    let (parts, mut hears) = request.into_parts();
    what.calls.lock().unwrap().push(parts.uri.path().into());
    let does = *what.does.lock().unwrap();
    let (says, body) = Pipe::open();
    let mut answer = Response::new(body);
    answer.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    if let Does::Only(status) = does {
        answer.headers_mut().insert("grpc-status", HeaderValue::from_static(status));
        return Ok(answer);
    }
    if let Does::Hang = does {
        std::future::pending::<()>().await;
    }
    tokio::spawn(async move {
        let named = || Ok(Frame::data(Bytes::from(name)));
        let status = match does {
            Does::Bare(status) => status,
            Does::Said(status) => {
                while hears.frame().await.is_some_and(|part| part.is_ok()) {}
                let _ = says.send(named()).await;
                status
            }
            _ => {
                let _ = says.send(named()).await;
                if let Does::Leave = does {
                    what.leaves.notify_one();
                }
                while let Some(Ok(part)) = hears.frame().await {
                    let _ = says.send(Ok(part)).await;
                }
                "0"
            }
        };
        let _ = says.send(trailers(status)).await;
    });
    Ok(answer)
}

/// What came of a call.
#[derive(Debug, Default)]
struct Came {
    code: u16,
    /// The status, and where it stood.
    status: String,
    text: String,
    ms: u64,
}

/// Calls; `open`: says "hello", goes on after it was heard for so long, says "bye" and ends. Nothing if no answer begins within `patience_ms`.
async fn call(
    to: SocketAddr,
    path: &str,
    headers: &[(&str, &str)],
    open: Option<u64>,
    patience_ms: u64,
) -> Option<Came> {
    let began = Instant::now();
    let io = TokioIo::new(TcpStream::connect(to).await.unwrap());
    let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
    tokio::spawn(connection);
    let (says, body) = Pipe::open();
    let mut request = Request::post(format!("http://x{path}")).header("content-type", "application/grpc");
    for (name, value) in [("te", "trailers"), ("x-tenant", "acme")].iter().chain(headers) {
        request = request.header(*name, *value);
    }
    says.send(Ok(Frame::data(Bytes::from("hello")))).await.unwrap();
    let mut says = open.and(Some(says));
    let answer = sender.send_request(request.body(body).unwrap());
    let answer = tokio::time::timeout(Duration::from_millis(patience_ms), answer).await.ok()?.expect("an answer");
    let mut came = Came { code: answer.status().as_u16(), ms: began.elapsed().as_millis() as u64, ..Came::default() };
    let status = |map: &HeaderMap| map.get("grpc-status").map(|v| v.to_str().unwrap().to_owned());
    came.status = status(answer.headers()).map_or(String::new(), |status| format!("headers {status}"));
    let mut hears = answer.into_body();
    while let Some(part) = hears.frame().await {
        let Ok(part) = part else {
            came.status = "cut".into();
            break;
        };
        if let Some(trailers) = part.trailers_ref() {
            came.status = format!("trailers {}", status(trailers).unwrap_or_default());
        } else if let Ok(data) = part.into_data() {
            came.text += &String::from_utf8_lossy(&data);
        }
        if came.text.ends_with("hello")
            && let Some(says) = says.take()
        {
            tokio::time::sleep(Duration::from_millis(open.unwrap_or_default())).await;
            says.send(Ok(Frame::data(Bytes::from("bye")))).await.unwrap();
        }
    }
    Some(came)
}

/// Three servers and an Envoy, whose listener's manager may be changed.
async fn start(way: Way, change: impl FnOnce(&mut serde_json::Value)) -> (Envoy, [Server; 3]) {
    let servers = [Server::start("a").await, Server::start("b").await, Server::start("c").await];
    let addresses = [&servers[0], &servers[1], &servers[2]].map(|server| server.address);
    let mut bootstrap = between(way, &addresses, true, false);
    change(&mut bootstrap["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]);
    (Envoy::start(&bootstrap).await, servers)
}

fn went(servers: &[Server], path: &str) -> String {
    servers.iter().filter(|server| server.calls(path) > 0).map(|server| server.name).collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn a_call_is_placed_tried_again_and_counted_by_what_it_came_to_wherever_that_stands() {
    for way in WAYS {
        let (envoy, servers) = start(way, |_| {}).await;
        // Only what stands in headers can be tried again; good, failed, overloaded, refused.
        let again = |status, mut is: [u64; 4]| {
            let alone = way == Way::Simple;
            is[0] += u64::from(!alone);
            (if alone { status } else { "trailers 0" }, if alone { "a" } else { "a b" }, is)
        };
        for (what, does, (status, to, is)) in [
            ("good", Does::Said("0"), ("trailers 0", "a", [1, 0, 0, 0])),
            ("unavailable", Does::Only("14"), again("headers 14", [0, 1, 0, 0])),
            ("exhausted", Does::Only("8"), again("headers 8", [0, 0, 1, 0])),
            ("internal", Does::Only("13"), ("headers 13", "a", [0, 1, 0, 0])),
            ("invalid", Does::Only("3"), ("headers 3", "a", [0, 0, 0, 1])),
            ("later-unavailable", Does::Bare("14"), ("trailers 14", "a", [0, 1, 0, 0])),
            ("later-exhausted", Does::Bare("8"), ("trailers 8", "a", [0, 0, 1, 0])),
            ("later-invalid", Does::Bare("3"), ("trailers 3", "a", [0, 0, 0, 1])),
            ("last-unavailable", Does::Said("14"), ("trailers 14", "a", [1, 1, 0, 0])),
            ("last-exhausted", Does::Said("8"), ("trailers 8", "a", [1, 0, 1, 0])),
        ] {
            servers[0].does(does);
            for (class, open) in [("once", None), ("again", None), ("once", Some(0))] {
                // Who answers once the request has ended never does where it goes on.
                if open.is_some() && matches!(does, Does::Said(_)) {
                    continue;
                }
                servers[1].does(if open.is_some() { Does::Echo } else { Does::Said("0") });
                let path = format!("/berth.Test/{what}/{class}/{}", open.is_some());
                let before = counting(&envoy).await;
                let came = call(envoy.listener(INGRESS), &path, &[("x-workload", class)], open, 10_000).await.unwrap();
                assert_eq!(
                    (came.status.as_str(), went(&servers, &path).as_str()),
                    (status, to),
                    "{way:?} {path} {came:?}"
                );
                let seen = counted(&envoy, &before, is.iter().sum()).await;
                assert_eq!(seen[..4], is, "{way:?} {path}");
            }
        }
    }
}

#[tokio::test]
async fn a_call_in_both_directions_is_bounded_by_the_time_for_requests_until_its_answer_begins() {
    // As `listen.request_ms: 1500` is rendered.
    let bounded = |manager: &mut serde_json::Value| manager["request_timeout"] = json!("1.500s");
    let mut all = Vec::new();
    // All are there before one is measured: what a proxy does to start takes every core.
    for way in WAYS {
        all.push((way, start(way, |_| {}).await, start(way, bounded).await));
    }
    let each = all.into_iter().map(|(way, free, bounded)| in_both_directions(way, free, bounded));
    let [simple, full, lanes] = <[_; 3]>::try_from(each.collect::<Vec<_>>()).ok().unwrap();
    tokio::join!(simple, full, lanes);
}

async fn in_both_directions(way: Way, free: (Envoy, [Server; 3]), bounded: (Envoy, [Server; 3])) {
    let hurry = ("grpc-timeout", "300m");
    let (envoy, servers) = free;
    servers[0].does(Does::Hang);
    let to = envoy.listener(INGRESS);
    // A deadline begins when the request has ended, so a call that goes on has none that the proxy would hold it to.
    let came = call(to, "/berth.Test/unbounded", &[hurry], Some(0), DEADLINE_MS * 3).await;
    assert!(came.is_none(), "{way:?} {came:?}");
    calmly(async || {
        let came = call(to, "/berth.Test/ended", &[hurry], None, 10_000).await.unwrap();
        let right = came.status == "headers 14" && came.ms + 10 >= 300 && came.ms < DEADLINE_MS;
        if right { Ok(()) } else { Err(format!("{way:?} {came:?}")) }
    })
    .await;

    let (envoy, servers) = bounded;
    servers[0].does(Does::Hang);
    let before = counting(&envoy).await;
    let came = call(envoy.listener(INGRESS), "/berth.Test/bounded", &[], Some(0), 10_000).await.unwrap();
    assert!(came.status == "headers 2" && came.ms + 10 >= 1_500, "{way:?} {came:?}");
    assert_eq!(counted(&envoy, &before, 1).await, [0, 0, 0, 0, 1], "{way:?}");
    servers[0].does(Does::Echo);
    let came = call(envoy.listener(INGRESS), "/berth.Test/long", &[], Some(2_000), 10_000).await.unwrap();
    assert_eq!((came.status.as_str(), came.text.as_str()), ("trailers 0", "ahellobye"), "{way:?}: it came whole");
}

#[tokio::test]
async fn a_substrate_that_takes_no_other_call_finishes_what_it_has_and_the_next_gets_another_connection() {
    for way in WAYS {
        let (envoy, servers) = start(way, |_| {}).await;
        servers[0].does(Does::Leave);
        let before = counting(&envoy).await;
        for n in 0..3 {
            let path = format!("/berth.Test/leaves/{n}");
            let came = call(envoy.listener(INGRESS), &path, &[], Some(300), 10_000).await.unwrap();
            assert_eq!((came.status.as_str(), came.text.as_str()), ("trailers 0", "ahellobye"), "{way:?} {n}");
            assert_eq!((came.code, went(&servers, &path).as_str()), (200, "a"));
        }
        assert_eq!(counted(&envoy, &before, 3).await, [3, 0, 0, 0, 0], "{way:?}");
    }
}

#[tokio::test]
async fn a_socket_to_a_substrate_over_http2_that_serves_none_is_nobodys_failure() {
    for way in WAYS {
        let (envoy, servers) = start(way, served).await;
        let before = counting(&envoy).await;
        let mut talk = Talk::open(envoy.listener(INGRESS)).await;
        talk.say(&handshake("/socket", "")).await;
        assert_eq!((talk.head().await.unwrap().0, went(&servers, "/socket").as_str()), (502, ""), "{way:?}");
        let attempts = if way == Way::Simple { 1 } else { 3 };
        assert_eq!(counted(&envoy, &before, attempts).await, [0, 0, 0, 0, attempts], "{way:?}");
    }
}
