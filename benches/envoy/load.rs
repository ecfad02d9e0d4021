//! The load: a fixed number of requests over connections that are kept, by one thread without an event loop. Each
//! connection in turn gives up its answer and gets the next request, so that all but one are always under way and the
//! order is the same each time.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// How long an answer may take before a run is given up.
const PATIENCE: Duration = Duration::from_secs(20);

/// A request as bytes.
pub(crate) fn request(path: &str, headers: &[(&str, &str)], body: &str) -> Vec<u8> {
    let method = if body.is_empty() { "GET" } else { "POST" };
    let mut out = format!("{method} {path} HTTP/1.1\r\n");
    for (name, value) in headers {
        out.push_str(&format!("{name}: {value}\r\n"));
    }
    if !body.is_empty() {
        out.push_str(&format!("content-type: application/json\r\ncontent-length: {}\r\n", body.len()));
    }
    out.push_str("\r\n");
    out.push_str(body);
    out.into_bytes()
}

/// One kept connection.
#[derive(Debug)]
struct Connection {
    stream: TcpStream,
    bytes: Vec<u8>,
    filled: usize,
}

/// An answer, as far as the benchmark looks at it.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body_bytes: usize,
}

impl Answer {
    /// A header's value.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().filter_map(|line| line.split_once(": ")).find(|(k, _)| *k == name).map(|(_, v)| v)
    }
}

impl Connection {
    fn open(to: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(to)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { stream, bytes: vec![0; 1 << 16], filled: 0 })
    }

    fn more(&mut self) -> io::Result<()> {
        if self.filled == self.bytes.len() {
            self.bytes.resize(self.filled * 2, 0);
        }
        let read = self.stream.read(&mut self.bytes[self.filled..])?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.filled += read;
        Ok(())
    }

    /// Where the head ends.
    fn head(&mut self) -> io::Result<usize> {
        let mut seen = 0;
        loop {
            if let Some(at) = find(&self.bytes[seen..self.filled], b"\r\n\r\n") {
                return Ok(seen + at + 4);
            }
            seen = self.filled.saturating_sub(3);
            self.more()?;
        }
    }

    /// Passes over an answer; its status.
    fn skip(&mut self) -> io::Result<u16> {
        let head = self.head()?;
        let status = std::str::from_utf8(&self.bytes[9..12]).ok().and_then(|s| s.parse().ok()).unwrap_or(0);
        match length(&self.bytes[..head]) {
            Some(body) => self.drop_front(head + body)?,
            None => {
                self.drop_front(head)?;
                self.chunks()?;
            }
        }
        Ok(status)
    }

    /// Passes over so many bytes, some of which may be still to come.
    fn drop_front(&mut self, mut bytes: usize) -> io::Result<()> {
        while self.filled < bytes {
            bytes -= self.filled;
            self.filled = 0;
            self.more()?;
        }
        self.bytes.copy_within(bytes..self.filled, 0);
        self.filled -= bytes;
        Ok(())
    }

    /// Passes over a chunked body; its bytes.
    fn chunks(&mut self) -> io::Result<usize> {
        let mut all = 0;
        loop {
            let line = loop {
                if let Some(at) = find(&self.bytes[..self.filled], b"\r\n") {
                    break at;
                }
                self.more()?;
            };
            let digits = std::str::from_utf8(&self.bytes[..line]).unwrap_or_default();
            let size =
                usize::from_str_radix(digits, 16).map_err(|_| io::Error::other(format!("no chunk: `{digits}`")))?;
            self.drop_front(line + 2 + size + 2)?;
            all += size;
            if size == 0 {
                return Ok(all);
            }
        }
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

/// The content length; `None` where the body is in chunks.
fn length(head: &[u8]) -> Option<usize> {
    let name = b"content-length: ";
    let at = find(head, name)? + name.len();
    let digits = head[at..].iter().take_while(|b| b.is_ascii_digit());
    Some(digits.fold(0, |n, digit| n * 10 + usize::from(digit - b'0')))
}

/// Connections to one listener.
#[derive(Debug)]
pub(crate) struct Load {
    connections: Vec<Connection>,
}

impl Load {
    /// Opens them.
    pub(crate) fn open(to: SocketAddr, connections: usize) -> io::Result<Self> {
        (0..connections)
            .map(|_| Connection::open(to))
            .collect::<io::Result<_>>()
            .map(|connections| Self { connections })
    }

    /// Sends so many requests and awaits every answer; how many were good.
    pub(crate) fn run(&mut self, request: &[u8], count: usize) -> io::Result<usize> {
        let mut good = 0;
        let under_way = self.connections.len().min(count);
        for connection in &mut self.connections[..under_way] {
            connection.stream.write_all(request)?;
        }
        for sent in under_way..count + under_way {
            let connection = &mut self.connections[sent % under_way];
            good += usize::from(connection.skip()? == 200);
            if sent < count {
                connection.stream.write_all(request)?;
            }
        }
        Ok(good)
    }

    /// One request at a time; how long each took.
    pub(crate) fn times(&mut self, request: &[u8], count: usize) -> io::Result<Vec<Duration>> {
        let connection = &mut self.connections[0];
        (0..count)
            .map(|_| {
                let since = Instant::now();
                connection.stream.write_all(request)?;
                match connection.skip()? {
                    200 => Ok(since.elapsed()),
                    status => Err(io::Error::other(format!("answered {status}"))),
                }
            })
            .collect()
    }

    /// So many a second, evenly, for some time; how many were good.
    pub(crate) fn paced(&mut self, request: &[u8], per_second: u32, time: Duration) -> io::Result<usize> {
        let (began, step) = (Instant::now(), Duration::from_secs(1) / per_second);
        let (mut good, mut due) = (0, Duration::ZERO);
        while due < time {
            std::thread::sleep(due.saturating_sub(began.elapsed()));
            let connection = &mut self.connections[0];
            connection.stream.write_all(request)?;
            good += usize::from(connection.skip()? == 200);
            due += step;
        }
        Ok(good)
    }

    /// One answer, looked at.
    pub(crate) fn ask(&mut self, request: &[u8]) -> io::Result<Answer> {
        let connection = &mut self.connections[0];
        connection.stream.write_all(request)?;
        let at = connection.head()?;
        let head = String::from_utf8_lossy(&connection.bytes[..at]).into_owned();
        let status = head.get(9..12).and_then(|s| s.parse().ok()).unwrap_or(0);
        let body_bytes = if let Some(body) = length(head.as_bytes()) {
            connection.drop_front(at + body)?;
            body
        } else {
            connection.drop_front(at)?;
            connection.chunks()?
        };
        Ok(Answer { status, head, body_bytes })
    }
}
