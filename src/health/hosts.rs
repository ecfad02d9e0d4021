//! Which clusters a proxy has and how many hosts of each can be used, read from its admin interface
//! (`/clusters?format=json`) as it streams by: megabytes for hundreds of clusters, of which a few bytes matter.

/// The longest answer that is read.
pub const MOST_ANSWER: usize = 16 << 20;
/// The longest name that is compared; a longer one is nobody's.
const MOST_NAME: usize = 256;
/// How deep an answer may nest.
const MOST_DEEP: u32 = 32;

/// A key that matters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Key {
    #[default]
    Other,
    Clusters,
    Name,
    Hosts,
    Health,
    /// Not to be used while this is true.
    Unfit,
    /// What the control plane says.
    Told,
}

impl Key {
    fn of(text: &[u8]) -> Self {
        match text {
            b"cluster_statuses" => Self::Clusters,
            b"name" => Self::Name,
            b"host_statuses" => Self::Hosts,
            b"health_status" => Self::Health,
            b"failed_active_health_check"
            | b"failed_outlier_check"
            | b"pending_active_hc"
            | b"excluded_via_immediate_hc_fail" => Self::Unfit,
            b"eds_health_status" => Self::Told,
            _ => Self::Other,
        }
    }
}

/// Where in a text the next byte is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// Between values.
    Gap,
    Text,
    /// Behind a backslash.
    Escape,
    /// In a number or a bare word.
    Word,
    /// Behind the end.
    End,
    /// This is no such answer.
    Wrong,
}

/// An answer being read. What it keeps is bounded, whatever comes.
#[derive(Debug)]
pub struct Clusters {
    at: At,
    depth: u32,
    /// Which of the open brackets are braces, by depth.
    braces: u64,
    /// In a brace: the next text is a key.
    wants_key: bool,
    keys: [Key; MOST_DEEP as usize + 1],
    text: Vec<u8>,
    name: Vec<u8>,
    hosts: u32,
    fit: bool,
    found: bool,
}

impl Default for Clusters {
    fn default() -> Self {
        Self {
            at: At::Gap,
            depth: 0,
            braces: 0,
            wants_key: false,
            keys: [Key::Other; MOST_DEEP as usize + 1],
            text: Vec::with_capacity(MOST_NAME),
            name: Vec::with_capacity(MOST_NAME),
            hosts: 0,
            fit: true,
            found: false,
        }
    }
}

/// The depths at which things stand: the list of clusters in the root, a cluster in the list, its list of hosts, a host.
const ROOT: u32 = 1;
const CLUSTER: u32 = 3;
const HOST: u32 = 5;
const HEALTH: u32 = 6;

impl Clusters {
    /// Reads on; `each` gets the name of each cluster that ends, and how many of its hosts can be used.
    pub fn feed(&mut self, piece: &[u8], each: &mut impl FnMut(&[u8], u32)) {
        for &byte in piece {
            match self.at {
                At::Gap => self.gap(byte, each),
                At::Text if byte == b'"' => self.text_ends(),
                At::Text if byte == b'\\' => self.at = At::Escape,
                At::Text => self.keep(byte),
                At::Escape => {
                    self.keep(byte);
                    self.at = At::Text;
                }
                At::Word if byte.is_ascii_alphanumeric() || b"+-.".contains(&byte) => self.keep(byte),
                At::Word => {
                    self.value(true);
                    self.at = At::Gap;
                    self.gap(byte, each);
                }
                At::End if byte.is_ascii_whitespace() => {}
                At::End => self.at = At::Wrong,
                At::Wrong => return,
            }
        }
    }

    /// Whether all of it was there, and it was such an answer. If not, nothing follows from what was missing.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.at == At::End && self.found
    }

    fn keep(&mut self, byte: u8) {
        // One more than is compared, so that what is too long equals nothing.
        if self.text.len() <= MOST_NAME {
            self.text.push(byte);
        }
    }

    fn gap(&mut self, byte: u8, each: &mut impl FnMut(&[u8], u32)) {
        match byte {
            b'{' | b'[' => self.open(byte == b'{'),
            b'}' | b']' => self.close(byte == b'}', each),
            b',' => self.wants_key = self.in_brace(),
            b'"' => {
                self.text.clear();
                self.at = At::Text;
            }
            b':' => {}
            _ if byte.is_ascii_whitespace() => {}
            _ if byte.is_ascii_alphanumeric() || byte == b'-' => {
                self.text.clear();
                self.keep(byte);
                self.at = At::Word;
            }
            _ => self.at = At::Wrong,
        }
    }

    const fn in_brace(&self) -> bool {
        self.depth > 0 && self.braces & (1 << self.depth) != 0
    }

    fn key_at(&self, depth: u32) -> Key {
        usize::try_from(depth).ok().and_then(|at| self.keys.get(at)).copied().unwrap_or_default()
    }

    /// Whether the path down to a depth is that of clusters and their hosts.
    fn leads(&self, depth: u32) -> bool {
        let shape: [bool; 7] = [false, true, false, true, false, true, true];
        let fits = (ROOT..=depth).zip(shape.into_iter().skip(1)).all(|(d, brace)| (self.braces >> d & 1 == 1) == brace);
        let keys = [(ROOT, Key::Clusters), (CLUSTER, Key::Hosts), (HOST, Key::Health)];
        fits && keys.into_iter().all(|(at, key)| at >= depth || self.key_at(at) == key)
    }

    fn open(&mut self, brace: bool) {
        if self.depth >= MOST_DEEP || (self.depth == 0 && !brace) || self.wants_key {
            self.at = At::Wrong;
            return;
        }
        self.depth += 1;
        self.braces = self.braces & !(1 << self.depth) | u64::from(brace) << self.depth;
        self.wants_key = brace;
        match self.depth {
            CLUSTER if self.leads(CLUSTER) => {
                self.name.clear();
                self.hosts = 0;
            }
            HOST if self.leads(HOST) => self.fit = true,
            _ => {}
        }
    }

    fn close(&mut self, brace: bool, each: &mut impl FnMut(&[u8], u32)) {
        if self.depth == 0 || self.in_brace() != brace {
            self.at = At::Wrong;
            return;
        }
        match self.depth {
            HOST if self.leads(HOST) => self.hosts = self.hosts.saturating_add(u32::from(self.fit)),
            CLUSTER if self.leads(CLUSTER) => each(&self.name, self.hosts),
            _ => {}
        }
        self.depth -= 1;
        self.wants_key = false;
        if self.depth == 0 {
            self.at = At::End;
        }
    }

    fn text_ends(&mut self) {
        self.at = At::Gap;
        if !core::mem::take(&mut self.wants_key) {
            return self.value(false);
        }
        let key = Key::of(&self.text);
        self.found |= self.depth == ROOT && key == Key::Clusters;
        if let Some(slot) = usize::try_from(self.depth).ok().and_then(|at| self.keys.get_mut(at)) {
            *slot = key;
        }
    }

    /// A value has been read whole.
    fn value(&mut self, bare: bool) {
        if self.depth == 0 || self.wants_key {
            self.at = At::Wrong;
            return;
        }
        match (self.depth, self.key_at(self.depth)) {
            (CLUSTER, Key::Name) if !bare && self.leads(CLUSTER) => self.name.clone_from(&self.text),
            (HEALTH, Key::Unfit) if bare && self.text == b"true" && self.leads(HEALTH) => self.fit = false,
            (HEALTH, Key::Told) if !bare && self.leads(HEALTH) => {
                self.fit &= !matches!(self.text.as_slice(), b"UNHEALTHY" | b"DRAINING" | b"TIMEOUT");
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Clusters, MOST_NAME};

    /// As Envoy 1.40 writes it, shortened.
    const ANSWER: &str = r#"{"cluster_statuses": [
        {"name": "metal-fr", "host_statuses": [
            {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 1}},
             "stats": [{"name": "cx_total", "value": "3"}, {"name": "rq_error"}],
             "health_status": {"eds_health_status": "HEALTHY"}, "weight": 1, "locality": {}},
            {"health_status": {"eds_health_status": "DRAINING"}},
            {"health_status": {"failed_outlier_check": true, "eds_health_status": "HEALTHY"}},
            {"health_status": {"failed_active_health_check": false, "eds_health_status": "DEGRADED"}}],
         "circuit_breakers": {"thresholds": [{"max_connections": 1024}]}, "observability_name": "other"},
        {"name": "empty", "circuit_breakers": {"name": "not me"}},
        {"host_statuses": [{}], "name": "late \"quoted\" \\"}]}"#;

    fn read(pieces: &[&[u8]]) -> (Vec<(String, u32)>, bool) {
        let (mut clusters, mut found) = (Clusters::default(), Vec::new());
        for piece in pieces {
            clusters.feed(piece, &mut |name, hosts| found.push((String::from_utf8_lossy(name).into_owned(), hosts)));
        }
        (found, clusters.is_whole())
    }

    #[test]
    fn hosts_that_can_be_used_are_counted_by_cluster() {
        let expected = [("metal-fr", 2), ("empty", 0), (r#"late "quoted" \"#, 1)].map(|(n, h)| (n.to_string(), h));
        assert_eq!(read(&[ANSWER.as_bytes()]), (expected.to_vec(), true));
    }

    #[test]
    fn the_pieces_in_which_it_comes_do_not_matter() {
        let whole = read(&[ANSWER.as_bytes()]);
        for cut in 0..ANSWER.len() {
            let (head, tail) = ANSWER.as_bytes().split_at(cut);
            assert_eq!(read(&[head, tail]), whole, "cut at {cut}");
            assert!(!read(&[head]).1, "nothing follows from the first {cut} bytes");
        }
    }

    #[test]
    fn what_is_something_else_is_no_answer() {
        let deep = "[".repeat(1_000);
        let deep = format!("{{\"cluster_statuses\":{deep}");
        let others =
            ["", "{}", "[]", "7", "<html>", r#"{"a": {"cluster_statuses": []}}"#, r#"{"cluster_statuses": [}"#];
        for text in
            others.into_iter().chain([r#"{"cluster_statuses": []}}"#, r#"{"cluster_statuses"}]"#, deep.as_str()])
        {
            assert!(!read(&[text.as_bytes()]).1, "{text:.60}");
        }
        assert_eq!(read(&[br#"{"cluster_statuses": []}"#]), (Vec::new(), true));
    }

    #[test]
    fn memory_stays_bounded_whatever_comes_and_nothing_panics() {
        let long = format!(r#"{{"cluster_statuses": [{{"name": "{}"}}]}}"#, "x".repeat(100_000));
        let (found, whole) = read(&[long.as_bytes()]);
        assert!(whole && found[0].0.len() == MOST_NAME + 1);
        for at in 0..ANSWER.len() {
            for byte in [b'{', b'}', b'[', b']', b'"', b',', b':', b'\\', 0, 0xff] {
                let mut bent = ANSWER.as_bytes().to_vec();
                bent[at] = byte;
                let _ = read(&[&bent]);
            }
        }
    }
}
