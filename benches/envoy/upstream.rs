//! What is behind the proxy: a server that costs next to nothing, a thread a connection. It answers chats with a few
//! bytes and says by which cluster they came, streams events, and gives health.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

/// How many events a stream has.
pub(crate) const EVENTS: usize = 1_000;

/// Starts it; it ends with the process.
pub(crate) fn start() -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || serve(stream));
        }
    });
    Ok(address)
}

fn serve(stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut out = stream.try_clone()?;
    let mut from = BufReader::with_capacity(1 << 16, stream);
    let (mut line, mut body) = (String::new(), Vec::new());
    loop {
        line.clear();
        if from.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let path = line.split(' ').nth(1).unwrap_or_default().to_string();
        let (mut length, mut chunked, mut cluster) = (0, false, String::new());
        loop {
            line.clear();
            from.read_line(&mut line)?;
            match line.trim_end().split_once(": ") {
                Some(("content-length", value)) => length = value.parse().map_err(io::Error::other)?,
                Some(("transfer-encoding", _)) => chunked = true,
                Some(("x-placement-cluster", value)) => cluster = value.into(),
                Some(_) => {}
                None => break,
            }
        }
        if chunked {
            pass_chunks(&mut from, &mut line, &mut body)?;
        } else {
            body.resize(length, 0);
            from.read_exact(&mut body)?;
        }
        answer(&mut out, &path, &cluster)?;
    }
}

fn pass_chunks(from: &mut BufReader<TcpStream>, line: &mut String, body: &mut Vec<u8>) -> io::Result<()> {
    loop {
        line.clear();
        from.read_line(line)?;
        let size = usize::from_str_radix(line.trim_end(), 16).map_err(io::Error::other)?;
        body.resize(size + 2, 0);
        from.read_exact(body)?;
        if size == 0 {
            return Ok(());
        }
    }
}

fn answer(out: &mut TcpStream, path: &str, cluster: &str) -> io::Result<()> {
    let json = "content-type: application/json\r\n";
    if path.starts_with("/stream") {
        return stream(out);
    }
    let (body, more) = match path.strip_prefix("/health/") {
        Some(name) => (
            format!(r#"{{"substrate":"{name}","signals":{{"queue_depth":1,"in_flight":3,"memory_pressure":0.4}}}}"#),
            String::new(),
        ),
        None => (r#"{"choices":[]}"#.to_string(), format!("x-got: {cluster}\r\n")),
    };
    let text = format!("HTTP/1.1 200 OK\r\n{json}{more}content-length: {}\r\n\r\n{body}", body.len());
    out.write_all(text.as_bytes())
}

/// Every event in a segment of its own.
fn stream(out: &mut TcpStream) -> io::Result<()> {
    out.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")?;
    for event in 0..EVENTS {
        let data = format!(r#"data: {{"choices":[{{"delta":{{"content":"word {event:04}"}}}}]}}"#);
        out.write_all(format!("{:x}\r\n{data}\n\n\r\n", data.len() + 2).as_bytes())?;
        // Gives the proxy time to take it before the next one: else they arrive in heaps.
        thread::yield_now();
    }
    out.write_all(b"0\r\n\r\n")
}
