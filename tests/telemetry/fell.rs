//! Why attempts were followed by others: what is counted of it, what it costs, and what is left in the request's own word.

use crate::fake_host::FakeHost;
use berth::filter::observing::{ObserveConfig, Observing};
use berth::filter::{Attempt, MapKind, Vm};
use berth::model::contract::{EXPECTED, FELL_STATE};
use berth::model::metric::MOST_SERIES;

/// What becomes of an attempt.
#[derive(Clone, Copy)]
enum Ends {
    Answered(&'static str),
    /// With `grpc-status`.
    Called(&'static str),
    Refused,
    /// After so many milliseconds.
    Silent(u64),
}

struct Proxy {
    host: FakeHost,
    /// Filters inside two clusters that do not share their configuration.
    filters: [Observing; 2],
}

impl Proxy {
    fn start() -> Self {
        let (host, vm) = (FakeHost::new(), Vm::default());
        let filter = || Observing::configure(&host, ObserveConfig { tick_ms: 100, histograms: false }, &vm).unwrap();
        let filters = [filter(), filter()];
        Self { host, filters }
    }

    fn begin(&mut self, cluster: &str) -> Attempt {
        self.host.set_property(&["xds", "cluster_name"], cluster.as_bytes());
        self.filters[cluster.len() % 2].on_attempt(&self.host)
    }

    /// One attempt; each cluster's length says which filter sees it.
    fn attempt(&mut self, cluster: &str, ends: Ends) {
        let mut attempt = self.begin(cluster);
        let connected: &[u8] = if matches!(ends, Ends::Refused) { b"" } else { b"127.0.0.1:1" };
        self.host.set_property(&["upstream", "local_address"], connected);
        let filter = &mut self.filters[cluster.len() % 2];
        match ends {
            Ends::Answered(status) => self.host.set_headers(MapKind::ResponseHeaders, &[(":status", status)]),
            Ends::Called(grpc) => {
                self.host.set_headers(MapKind::ResponseHeaders, &[(":status", "200"), ("grpc-status", grpc)]);
            }
            Ends::Refused => {}
            Ends::Silent(ms) => self.host.advance_ms(ms),
        }
        if matches!(ends, Ends::Answered(_) | Ends::Called(_)) {
            filter.on_answer(&self.host, &mut attempt);
            attempt.on_part(0, true);
        }
        filter.on_end(&self.host, &mut attempt);
    }

    /// The next request: nothing is left of the one before.
    fn another(&self) {
        self.host.forget_filter_state();
    }

    fn said(&self) -> Option<String> {
        self.host.filter_state(FELL_STATE).map(|text| String::from_utf8(text).unwrap())
    }

    fn counted(&self, from: &str, to: &str, cause: &str) -> i64 {
        self.host.metric_value(&format!("berth.fallbacks.from.{from}.to.{to}.cause.{cause}"))
    }

    fn series(&self) -> usize {
        self.host.metric_names().iter().filter(|name| name.starts_with("berth.fallbacks.")).count()
    }
}

#[test]
fn an_attempt_that_follows_another_one_is_counted_by_where_from_where_to_and_why() {
    let mut proxy = Proxy::start();
    proxy.host.set_property(&["request", "headers", EXPECTED], b"2500");
    for (ends, cause) in [
        (Ends::Answered("429"), "429"),
        (Ends::Answered("503"), "503"),
        (Ends::Answered("500"), "5xx"),
        (Ends::Answered("529"), "5xx"),
        (Ends::Called("14"), "grpc"),
        (Ends::Refused, "refused"),
        (Ends::Silent(0), "reset"),
        (Ends::Silent(2_338), "reset"),
        // A timer may be early by another clock, the more the longer it runs.
        (Ends::Silent(2_339), "slow"),
        (Ends::Silent(2_499), "slow"),
        (Ends::Silent(2_510), "slow"),
    ] {
        let before = proxy.counted("metal-fr", "onprem-de", cause);
        proxy.attempt("metal-fr", ends);
        proxy.attempt("onprem-de", Ends::Answered("200"));
        assert_eq!(proxy.counted("metal-fr", "onprem-de", cause), before + 1, "{cause}");
        assert_eq!(proxy.said().unwrap(), format!("metal-fr={cause}>"));
        proxy.another();
    }
    assert_eq!(proxy.series(), 7);
}

#[test]
fn the_requests_own_word_names_every_attempt_that_came_to_nothing_and_the_last_stays_open() {
    let mut proxy = Proxy::start();
    proxy.host.set_property(&["request", "headers", EXPECTED], b"900");
    proxy.attempt("metal-fr", Ends::Answered("429"));
    proxy.attempt("onprem-de", Ends::Silent(900));
    proxy.attempt("a.b|c", Ends::Silent(7));
    assert_eq!(proxy.said().unwrap(), "metal-fr=429>onprem-de=slow>a_b_c=none@7");
    assert_eq!(proxy.counted("metal-fr", "onprem-de", "429"), 1);
    assert_eq!(proxy.counted("onprem-de", "a_b_c", "slow"), 1);
    assert_eq!(proxy.series(), 2);
}

#[test]
fn what_ends_a_request_is_no_fallback() {
    let mut proxy = Proxy::start();
    for ends in [Ends::Answered("200"), Ends::Answered("404"), Ends::Called("3"), Ends::Answered("503")] {
        proxy.attempt("metal-fr", ends);
        proxy.another();
    }
    // The client has gone.
    proxy.host.set_property(&["response", "flags"], &(1_u64 << 14).to_le_bytes());
    proxy.attempt("metal-fr", Ends::Silent(10));
    assert_eq!(proxy.said(), None);
    proxy.attempt("onprem-de", Ends::Answered("200"));
    assert_eq!(proxy.series(), 0);
}

/// A hedge: the second attempt begins while the first is under way, and what fails later is gone on with by nobody.
#[test]
fn an_attempt_beside_another_one_is_no_fallback() {
    let mut proxy = Proxy::start();
    proxy.host.set_property(&["upstream", "local_address"], b"127.0.0.1:1");
    let mut first = proxy.begin("metal-fr");
    proxy.attempt("onprem-de", Ends::Answered("200"));
    proxy.filters[0].on_end(&proxy.host, &mut first);
    assert_eq!((proxy.series(), proxy.said().unwrap().as_str()), (0, "metal-fr=none@0"));
}

#[test]
fn as_long_as_nothing_fails_nothing_is_asked() {
    let mut proxy = Proxy::start();
    let bill = |proxy: &mut Proxy| {
        proxy.attempt("onprem-de", Ends::Answered("200"));
        proxy.another();
        proxy.host.reset_counts();
        proxy.attempt("onprem-de", Ends::Answered("200"));
        proxy.host.counts()
    };
    let well = bill(&mut proxy);
    assert_eq!((well["property"], well.get("set_filter_state")), (2, None), "the pull header and the cluster");
    proxy.attempt("metal-fr", Ends::Answered("503"));
    proxy.another();
    let lately = bill(&mut proxy);
    assert_eq!((lately["property"], lately.get("set_filter_state")), (3, None));
    proxy.host.advance_ms(5_001);
    assert_eq!(bill(&mut proxy), well);
}

#[test]
fn what_is_told_of_a_request_that_is_tried_very_often_is_bounded() {
    let mut proxy = Proxy::start();
    for n in 0..60 {
        proxy.attempt(["metal-fr", "onprem-de"][n % 2], Ends::Answered("503"));
    }
    // And the sign that another attempt followed the last one that is told.
    let said = proxy.said().unwrap();
    assert!((490..=513).contains(&said.len()), "{} bytes", said.len());
    assert!(said.starts_with("metal-fr=503>onprem-de=503>") && said.ends_with("=503>"), "{said}");
}

#[test]
fn what_nobody_of_ours_left_there_breaks_nothing_and_the_series_are_bounded() {
    let mut proxy = Proxy::start();
    for text in [&b""[..], b">", b"=", b"=>", b"none@", b"a=none@x", &[0xff, 0xfe], &[b'='; 4_096]] {
        proxy.attempt("metal-fr", Ends::Answered("503"));
        proxy.host.leave_filter_state(FELL_STATE, text);
        proxy.attempt("onprem-de", Ends::Answered("503"));
        proxy.another();
    }
    for n in 0..2 * MOST_SERIES {
        proxy.attempt("metal-fr", Ends::Answered("503"));
        proxy.host.leave_filter_state(FELL_STATE, format!("c{n}=503").as_bytes());
        proxy.attempt("onprem-de", Ends::Answered("200"));
        proxy.another();
    }
    // Each of the causes may have one more, for all clusters.
    assert!(proxy.series() <= MOST_SERIES + 1, "{}", proxy.series());
    assert!(proxy.counted("all", "all", "503") > 1_000);
    // A request that is tried again and again says so much and no more.
    proxy.another();
    for _ in 0..100 {
        proxy.attempt("metal-fr", Ends::Answered("503"));
    }
    assert!(proxy.said().unwrap().len() <= 513);
}
