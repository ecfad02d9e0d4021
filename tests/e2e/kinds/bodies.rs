//! Requests whose body is slow or never ends, and answers that come before it has.

use super::scene::{DEADLINE_MS, Scene, Step, WAYS, counted, counting, say};
use crate::support::eventually;
use berth::manifest::envoy::route::Way;
use serde_json::json;
use std::time::Duration;

/// As `listen.request_ms: 1500` is rendered.
const REQUEST_MS: u64 = 1_500;

fn chunked(path: &str, class: &str, more: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\nx-tenant: acme\r\nx-workload: {class}\r\n{more}transfer-encoding: chunked\r\n\r\n\
         3\r\nabc\r\n"
    )
}

const OK: &str = "HTTP/1.1 200 X\r\ncontent-length: 1\r\n\r\n";

#[tokio::test]
async fn a_deadline_counts_from_the_end_of_the_request() {
    for way in WAYS {
        let scene = Scene::start(way).await;
        scene.hosts[0].does(&[Step::Hold]);
        for (class, more) in [("once", ""), ("once", "x-stream: true\r\n")] {
            let path = format!("/stalls/{}", more.len());
            let mut talk = scene.talk().await;
            talk.say(&chunked(&path, class, more)).await;
            let stall = Duration::from_millis(DEADLINE_MS * 2);
            assert!(tokio::time::timeout(stall, talk.head()).await.is_err(), "{way:?} {path}: nothing bounds it yet");
            // Before it is said: whoever is held up after it would have the proxy answer too early.
            let ended = talk.ms();
            talk.say("0\r\n\r\n").await;
            let (status, _, ms) = talk.head().await.unwrap();
            let part = if way == Way::Simple || more.is_empty() { DEADLINE_MS } else { DEADLINE_MS / 3 };
            assert!(status == 504 && ms + 10 >= ended + part, "{way:?} {path}: {status} after {ms}, ended {ended}");
        }
    }
}

#[tokio::test]
async fn the_time_for_requests_bounds_what_does_not_end_and_nothing_that_is_answered() {
    let bounded = |manager: &mut serde_json::Value| manager["request_timeout"] = json!("1.500s");
    let scene = Scene::start_with(Way::Full, false, bounded).await;
    let a = &scene.hosts[0];
    a.does(&[Step::Hold]);
    let before = counting(&scene.envoy).await;
    let mut talk = scene.talk().await;
    talk.say(&chunked("/never", "once", "")).await;
    let (status, _, ms) = talk.head().await.unwrap();
    assert!(status == 408 && ms + 10 >= REQUEST_MS && scene.went("/never") == "a", "{status} after {ms}");
    // Nobody has failed but the client, whose stalls would otherwise open circuits.
    assert_eq!(counted(&scene.envoy, &before, 1).await, [0, 0, 0, 0, 1]);
    // Answered while the request is under way: neither is cut short.
    let part = |text: &str| say(&format!("{:x}\r\n{text}\r\n", text.len()));
    let begun = "HTTP/1.1 200 X\r\ntransfer-encoding: chunked\r\n\r\n";
    a.does(&[say(begun), part("first"), Step::Wait(REQUEST_MS * 2), part("last"), say("0\r\n\r\n"), Step::Hold]);
    let mut talk = scene.talk().await;
    talk.say(&chunked("/answered", "once", "x-stream: true\r\n")).await;
    assert_eq!(talk.head().await.unwrap().0, 200);
    assert!(talk.hears("5\r\nfirst\r\n4\r\nlast\r\n0\r\n\r\n").await, "it came whole");
    assert!(talk.ms() >= REQUEST_MS * 2);
}

#[tokio::test]
async fn a_client_that_stalls_is_given_up_and_no_substrate_has_failed() {
    // Five minutes, where nobody says otherwise.
    for way in WAYS {
        let idle = |manager: &mut serde_json::Value| manager["stream_idle_timeout"] = json!("0.500s");
        let scene = Scene::start_with(way, false, idle).await;
        scene.hosts[0].does(&[Step::Hold]);
        let before = counting(&scene.envoy).await;
        let mut talk = scene.talk().await;
        talk.say(&chunked("/stalls", "again", "")).await;
        assert_eq!((talk.head().await.unwrap().0, scene.went("/stalls").as_str()), (408, "a"), "{way:?}");
        assert_eq!(counted(&scene.envoy, &before, 1).await, [0, 0, 0, 0, 1], "{way:?}");
    }
}

#[tokio::test]
async fn an_answer_may_come_before_the_request_has_ended() {
    let status = |code: u16| vec![say(&format!("HTTP/1.1 {code} X\r\ncontent-length: 0\r\n\r\n")), Step::Hold];
    for way in WAYS {
        let scene = Scene::start(way).await;
        let [a, b, c] = &scene.hosts;
        // They take what was sent until then, framed as it came.
        [b, c].into_iter().for_each(|host| host.does(&[Step::Take(8), say(OK), say(host.name), Step::Hold]));
        let again = |alone| if way == Way::Simple { (alone, "a") } else { (200, "a b") };
        for (what, steps, class, (code, went), is) in [
            ("good", status(200), "once", (200, "a"), [1, 0, 0, 0, 0]),
            ("too large", status(413), "once", (413, "a"), [0, 0, 0, 1, 0]),
            ("full", status(429), "once", again(429), [1, 0, 1, 0, 0]),
            ("reset", vec![Step::Reset], "once", (503, "a"), [0, 1, 0, 0, 0]),
            ("reset", vec![Step::Reset], "again", again(503), [1, 1, 0, 0, 0]),
        ] {
            a.does(&steps);
            let path = format!("/{}/{class}", what.replace(' ', "-"));
            let before = counting(&scene.envoy).await;
            let mut talk = scene.talk().await;
            talk.say(&chunked(&path, class, "")).await;
            assert_eq!((talk.head().await.unwrap().0, scene.went(&path).as_str()), (code, went), "{way:?} {path}");
            let one = way == Way::Simple && went == "a";
            let is = if one && is[0] == 1 && code != 200 { [0, is[1], is[2], is[3], 0] } else { is };
            // Whoever has answered is not waited for: what else was under way there is given up.
            let mut seen = counted(&scene.envoy, &before, is.iter().sum()).await;
            seen[4] = 0;
            assert_eq!(seen, is, "{way:?} {path}");
        }
    }
}

#[tokio::test]
async fn a_body_beyond_what_is_kept_is_tried_once_also_after_a_part_of_it_was_sent() {
    for way in [Way::Full, Way::Lanes] {
        let scene = Scene::start(way).await;
        let [a, b, c] = &scene.hosts;
        // Fails once it has so much; of a class that may be begun twice.
        for (bytes, fails_at, code, went) in [(500_000, 100_000, 200, "a b"), (3_000_000, 2_000_000, 503, "a")] {
            a.does(&[Step::Take(fails_at), Step::Reset]);
            [b, c].into_iter().for_each(|host| host.does(&[Step::Take(bytes), say(OK), say(host.name), Step::Hold]));
            let path = format!("/{bytes}");
            let mut talk = scene.talk().await;
            let head = format!(
                "POST {path} HTTP/1.1\r\nhost: x\r\nx-tenant: acme\r\nx-workload: again\r\ncontent-length: {bytes}\r\n\r\n"
            );
            talk.say(&head).await;
            talk.pours(bytes).await;
            assert_eq!((talk.head().await.unwrap().0, scene.went(&path).as_str()), (code, went), "{way:?} {path}");
        }
        eventually("nothing is under way any more", || async {
            (scene.envoy.stat("http.ingress.downstream_rq_active").await == 0).then_some(())
        })
        .await;
    }
}
