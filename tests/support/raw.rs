//! Requests as bytes: HTTP/1 as it is written, HTTP/2 frame by frame, so that a test can send what no client library
//! would. Only as much of an answer is read as says whether the request was served.

use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A header as bytes, in any form.
pub type Line = (Vec<u8>, Vec<u8>);

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// An answer with this status came.
    Answered(u16),
    /// The stream or the connection was reset or closed.
    Reset,
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const FRAME: usize = 16_384;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
/// The client does not want it any more.
const CANCEL: u32 = 8;

/// How the headers of an HTTP/2 request are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// Each as it is.
    Plain,
    /// The last one twice: put into the table, then by its number in it.
    Indexed,
    /// In frames of so many bytes.
    Pieces(usize),
}

async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(super::PATIENCE, what).await.expect("an answer or an end in time")
}

/// Sends the text of an HTTP/1 request.
pub async fn http1(to: SocketAddr, text: &[u8]) -> Fate {
    let mut stream = TcpStream::connect(to).await.unwrap();
    // The other side may have answered and closed already.
    let _ = stream.write_all(text).await;
    let mut answer = Vec::new();
    let whole = |answer: &[u8]| answer.windows(4).any(|end| end == b"\r\n\r\n");
    while !whole(&answer) && within(stream.read_buf(&mut answer)).await.is_ok_and(|n| n > 0) {}
    let status = answer.strip_prefix(b"HTTP/1.1 ").and_then(|rest| std::str::from_utf8(rest.get(..3)?).ok());
    status.and_then(|s| s.parse().ok()).map_or(Fate::Reset, Fate::Answered)
}

/// Sends one HTTP/2 request without a body, with these headers, pseudo-headers among them.
pub async fn http2(to: SocketAddr, headers: &[Line], coding: Coding) -> Fate {
    let mut stream = TcpStream::connect(to).await.unwrap();
    let mut out = PREFACE.to_vec();
    frame(&mut out, SETTINGS, 0, 0, &[]);
    let block = block(headers, coding == Coding::Indexed);
    let piece = if let Coding::Pieces(bytes) = coding { bytes } else { FRAME };
    let pieces: Vec<&[u8]> = block.chunks(piece).collect();
    for (at, piece) in pieces.iter().enumerate() {
        let (kind, ends) = if at == 0 { (HEADERS, 1) } else { (CONTINUATION, 0) };
        frame(&mut out, kind, ends | if at + 1 == pieces.len() { 4 } else { 0 }, 1, piece);
    }
    let _ = stream.write_all(&out).await;
    within(answer(&mut stream)).await
}

fn frame(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    out.extend_from_slice(&u32::try_from(payload.len()).unwrap().to_be_bytes()[1..]);
    out.extend([kind, flags]);
    out.extend(stream.to_be_bytes());
    out.extend_from_slice(payload);
}

/// The headers without any compression; `indexed`: the last one twice, the second time by its number in the table.
fn block(headers: &[Line], indexed: bool) -> Vec<u8> {
    let mut out = Vec::new();
    for (at, (name, value)) in headers.iter().enumerate() {
        let indexed = indexed && at + 1 == headers.len();
        out.push(if indexed { 0x40 } else { 0x00 });
        for text in [name, value] {
            length(&mut out, text.len());
            out.extend_from_slice(text);
        }
        if indexed {
            // The newest entry of the table: the first after the 61 that everybody knows.
            out.push(0x80 | 62);
        }
    }
    out
}

fn length(out: &mut Vec<u8>, length: usize) {
    let Some(mut rest) = length.checked_sub(127) else { return out.push(u8::try_from(length).unwrap()) };
    out.push(127);
    while rest >= 128 {
        out.push(u8::try_from(rest % 128).unwrap() | 0x80);
        rest /= 128;
    }
    out.push(u8::try_from(rest).unwrap());
}

/// Reads frames until the answer's headers or the end of the stream.
async fn answer(stream: &mut TcpStream) -> Fate {
    loop {
        let mut head = [0; 9];
        if stream.read_exact(&mut head).await.is_err() {
            return Fate::Reset;
        }
        let size = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; size as usize];
        if stream.read_exact(&mut payload).await.is_err() {
            return Fate::Reset;
        }
        match head[3] {
            HEADERS => return Fate::Answered(status(&payload)),
            RST_STREAM | GOAWAY => return Fate::Reset,
            SETTINGS if head[4] & 1 == 0 => {
                let mut out = Vec::new();
                frame(&mut out, SETTINGS, 1, 0, &[]);
                let _ = stream.write_all(&out).await;
            }
            _ => {}
        }
    }
}

/// The status, which servers write first: one of those that everybody knows, or as digits.
fn status(block: &[u8]) -> u16 {
    // A change of the table's size may come before it.
    let from = block.iter().position(|byte| byte & 0xe0 != 0x20).unwrap_or(0);
    match block[from..] {
        [known @ 0x88..=0x8e, ..] => [200, 204, 206, 304, 400, 404, 500][usize::from(known - 0x88)],
        [_, 3, a, b, c, ..] => [a, b, c].iter().fold(0, |sum, d| sum * 10 + u16::from(d - b'0')),
        // Three digits by the code in which each digit has five or six bits.
        [_, packed, a, b, c, ..] if packed & 0x80 != 0 => {
            packed_digits(&[a, b, c][..usize::from(packed & 0x7f).min(3)])
        }
        _ => 0,
    }
}

/// Digits as HPACK packs them: 0, 1 and 2 have five bits, the others six.
fn packed_digits(bytes: &[u8]) -> u16 {
    let bits: Vec<u8> = bytes.iter().flat_map(|byte| (0..8).rev().map(move |at| byte >> at & 1)).collect();
    let (mut at, mut sum) = (0, 0);
    let take = |at: usize, n: usize| bits.iter().skip(at).take(n).fold(0_u16, |sum, bit| sum << 1 | u16::from(*bit));
    for _ in 0..3 {
        let five = take(at, 5);
        let (digit, used) = if five < 3 { (five, 5) } else { (take(at, 6) - 0x19 + 3, 6) };
        (sum, at) = (sum * 10 + digit, at + used);
    }
    sum
}

/// A client over HTTP/2 that opens streams and resets them, as fast as it can write. What is said to it, it reads and forgets.
#[derive(Debug)]
pub struct Resetting {
    out: tokio::net::tcp::OwnedWriteHalf,
    reading: tokio::task::JoinHandle<()>,
    next: u32,
}

/// How far a stream gets that is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opened {
    /// Its request is whole.
    Whole,
    /// Its body is still to come.
    Unfinished,
}

impl Resetting {
    pub async fn open(to: SocketAddr) -> Self {
        let stream = TcpStream::connect(to).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (mut from, out) = stream.into_split();
        let reading = tokio::spawn(async move {
            let mut bytes = vec![0; 1 << 16];
            while from.read(&mut bytes).await.is_ok_and(|n| n > 0) {}
        });
        let mut this = Self { out, reading, next: 1 };
        let mut first = PREFACE.to_vec();
        frame(&mut first, SETTINGS, 0, 0, &[]);
        frame(&mut first, SETTINGS, 1, 0, &[]);
        this.write(&first).await;
        this
    }

    /// The other side may have had enough of it.
    async fn write(&mut self, bytes: &[u8]) {
        let _ = within(self.out.write_all(bytes)).await;
    }

    /// Opens so many streams and lets them be; gives their numbers.
    pub async fn streams(&mut self, headers: &[Line], opened: Opened, many: u32) -> Vec<u32> {
        let (mut out, block) = (Vec::new(), block(headers, false));
        let ids: Vec<u32> = (0..many).map(|n| self.next + 2 * n).collect();
        let flags = if opened == Opened::Whole { 5 } else { 4 };
        ids.iter().for_each(|id| frame(&mut out, HEADERS, flags, *id, &block));
        self.next += 2 * many;
        self.write(&out).await;
        ids
    }

    /// Opens so many and resets each in the same breath.
    pub async fn breath(&mut self, headers: &[Line], many: u32) {
        let (mut out, block) = (Vec::new(), block(headers, false));
        for _ in 0..many {
            frame(&mut out, HEADERS, 5, self.next, &block);
            frame(&mut out, RST_STREAM, 0, self.next, &CANCEL.to_be_bytes());
            self.next += 2;
        }
        self.write(&out).await;
    }

    pub async fn reset(&mut self, streams: &[u32]) {
        let mut out = Vec::new();
        streams.iter().for_each(|id| frame(&mut out, RST_STREAM, 0, *id, &CANCEL.to_be_bytes()));
        self.write(&out).await;
    }

    /// Begins a request's headers and never ends them.
    pub async fn begin(&mut self, headers: &[Line]) {
        let mut out = Vec::new();
        frame(&mut out, HEADERS, 0, self.next, &block(headers, false));
        self.next += 2;
        self.write(&out).await;
    }

    /// Whether the other side has ended the connection.
    pub fn is_over(&self) -> bool {
        self.reading.is_finished()
    }
}

impl Drop for Resetting {
    fn drop(&mut self) {
        self.reading.abort();
    }
}
