//! The decision as a service: Envoy's external processing protocol over gRPC, spoken by hand, on one thread of a process
//! of its own. The few messages are read and written field by field, so nothing is charged for a framework.

use crate::placer::{Answer, Asked, Placer};
use crate::world;
use http_body_util::BodyExt;
use hyper::body::{Body, Bytes, Frame, Incoming};
use hyper::header::HeaderValue;
use hyper::{HeaderMap, Request, Response, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

/// Serves until the process is ended; says its port on standard output.
pub(crate) fn serve(size: usize) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
    runtime.block_on(async move {
        let placer = Arc::new(Placer::new(size));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        println!("{}", listener.local_addr().unwrap());
        while let Ok((stream, _)) = listener.accept().await {
            let _ = stream.set_nodelay(true);
            let placer = placer.clone();
            tokio::spawn(async move {
                let service = service_fn(move |request| answer(request, placer.clone()));
                let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                let _ = connection.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
}

/// The messages of one stream, as they are made.
struct Out(mpsc::Receiver<Frame<Bytes>>);

impl Body for Out {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|frame| frame.map(Ok))
    }
}

async fn answer(request: Request<Incoming>, placer: Arc<Placer>) -> Result<Response<Out>, Infallible> {
    let (tx, rx) = mpsc::channel(2);
    tokio::spawn(async move {
        let mut body = request.into_body();
        let mut buffer = Vec::new();
        while let Some(Ok(frame)) = body.frame().await {
            let Ok(data) = frame.into_data() else { continue };
            buffer.extend_from_slice(&data);
            while let Some(message) = take_message(&mut buffer) {
                if tx.send(Frame::data(Bytes::from(respond(&placer, &message)))).await.is_err() {
                    return;
                }
            }
        }
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        let _ = tx.send(Frame::trailers(trailers)).await;
    });
    let mut response = Response::new(Out(rx));
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    Ok(response)
}

/// One message, once all of it is there: a flag, a length, and so many bytes.
fn take_message(buffer: &mut Vec<u8>) -> Option<Vec<u8>> {
    let length = u32::from_be_bytes(buffer.get(1..5)?.try_into().ok()?);
    let end = 5 + usize::try_from(length).ok()?;
    let message = buffer.get(5..end)?.to_vec();
    buffer.drain(..end);
    Some(message)
}

fn respond(placer: &Placer, message: &[u8]) -> Vec<u8> {
    let mut asked = Asked::default();
    // ProcessingRequest.request_headers, HttpHeaders.headers, HeaderMap.headers, each with a key and a raw value.
    for headers in fields(message, 2).flat_map(|http| fields(http, 1)) {
        for header in fields(headers, 1) {
            let value = fields(header, 3).next().or_else(|| fields(header, 2).next());
            if let (Some(key), Some(value)) = (fields(header, 1).next(), value) {
                asked.take(key, value);
            }
        }
    }
    let mut response = Vec::with_capacity(640);
    if let Some(answer) = placer.place(&asked) {
        write(&answer, &mut response);
    }
    let mut out = vec![0; 5];
    out[1..].copy_from_slice(&u32::try_from(response.len()).unwrap().to_be_bytes());
    out.extend_from_slice(&response);
    out
}

fn write(answer: &Answer<'_>, response: &mut Vec<u8>) {
    let deadline = world::DEADLINE_MS.to_string();
    let attempt = (world::DEADLINE_MS / 3).to_string();
    let mut mutation = Vec::with_capacity(512);
    for (name, value) in [
        ("x-envoy-upstream-rq-timeout-ms", deadline.as_str()),
        ("x-envoy-upstream-rq-per-try-timeout-ms", attempt.as_str()),
        ("x-envoy-max-retries", "2"),
        ("x-placement-cluster", answer.plan[0]),
        ("x-placement-decision", answer.record.as_str()),
    ] {
        let header = message(&[(1, name.as_bytes()), (3, value.as_bytes())]);
        let mut option = message(&[(1, &header)]);
        // append_action: overwrite if it exists, or add.
        option.extend_from_slice(&[3 << 3, 2]);
        put(&mut mutation, 1, &option);
    }
    let mut common = message(&[(2, &mutation)]);
    // clear_route_cache: yes.
    common.extend_from_slice(&[5 << 3, 1]);
    put(response, 1, &message(&[(1, &common)]));
    // dynamic_metadata: by namespace, a Struct each.
    let text = |key: &str, value: &str| entry(key, &message(&[(3, value.as_bytes())]));
    let mut left = Vec::with_capacity(256);
    left.extend(text("decision", &answer.record));
    left.extend(text("second", answer.plan[1]));
    left.extend(text("third", answer.plan[2]));
    put(response, 8, &entry("placement", &message(&[(5, &left)])));
}

/// An entry of a Struct.
fn entry(key: &str, value: &[u8]) -> Vec<u8> {
    message(&[(1, &message(&[(1, key.as_bytes()), (2, value)]))])
}

fn message(fields: &[(u8, &[u8])]) -> Vec<u8> {
    let mut out = Vec::with_capacity(fields.iter().map(|(_, bytes)| bytes.len() + 4).sum());
    for (number, bytes) in fields {
        put(&mut out, *number, bytes);
    }
    out
}

/// A field with a length before it.
fn put(out: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    out.push(number << 3 | 2);
    let mut length = bytes.len();
    while length > 0x7f {
        out.push(0x80 | (length & 0x7f) as u8);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend_from_slice(bytes);
}

/// The fields of a message that have this number and a length; others are passed over.
fn fields(mut message: &[u8], number: u64) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        loop {
            let tag = varint(&mut message)?;
            match tag & 7 {
                0 => drop(varint(&mut message)?),
                1 => message = message.get(8..)?,
                2 => {
                    let length = usize::try_from(varint(&mut message)?).ok()?;
                    let (field, rest) = message.split_at_checked(length)?;
                    message = rest;
                    if tag >> 3 == number {
                        return Some(field);
                    }
                }
                5 => message = message.get(4..)?,
                _ => return None,
            }
        }
    })
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}
