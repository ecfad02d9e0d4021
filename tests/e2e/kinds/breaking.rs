//! What clients send that substrates do not take: where their answer comes it is the client's own, and where they break
//! off instead it is a failure, which cannot be told from another.

use super::scene::{Scene, Step, Talk, counted, counting, say};
use crate::support::bootstrap::INGRESS;
use crate::support::envoy::Envoy;
use crate::support::upstream::Upstream;
use berth::manifest::envoy::route::Way;

#[tokio::test]
async fn a_request_too_large_is_its_client_s_where_the_answer_says_so_and_a_failure_where_nothing_is_said() {
    const BYTES: usize = 2_000_000;
    let scene = Scene::start(Way::Full).await;
    let status = |code: u16| say(&format!("HTTP/1.1 {code} X\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"));
    for (what, steps, header, bytes, codes) in [
        ("large-headers", vec![status(431)], 30_000, 0, &[431][..]),
        ("large-body", vec![Step::Take(BYTES), status(413)], 0, BYTES, &[413]),
        // What was not read of the body resets the connection, and the answer with it or behind it.
        ("closed-early", vec![Step::Take(100_000), status(413)], 0, BYTES, &[413, 503]),
        ("closed", vec![Step::Take(100_000)], 0, BYTES, &[503]),
    ] {
        scene.hosts[0].does(&steps);
        let path = format!("/{what}");
        let before = counting(&scene.envoy).await;
        let mut talk = scene.talk().await;
        let head = format!("POST {path} HTTP/1.1\r\nhost: x\r\nx-tenant: acme\r\nx-workload: once\r\n");
        talk.say(&format!("{head}x-large: {}\r\ncontent-length: {bytes}\r\n\r\n", "a".repeat(header))).await;
        talk.pours(bytes).await;
        let code = talk.head().await.unwrap().0;
        assert!(codes.contains(&code) && scene.went(&path) == "a", "{what}: {code}");
        let is = if code == 503 { [0, 1, 0, 0, 0] } else { [0, 0, 0, 1, 0] };
        assert_eq!(counted(&scene.envoy, &before, 1).await, is, "{what}: {code}");
    }
}

#[tokio::test]
async fn a_host_that_is_none_passes_the_proxy_and_fails_where_http2_is_read_strictly() {
    let host = Upstream::start("a").await;
    // Over which version, and whether the substrate has an authority of its own, which takes the place of the client's.
    for (http2, named) in [(false, false), (true, false), (true, true)] {
        let mut bootstrap = super::scene::between(Way::Simple, &[host.address; 3], http2, false);
        if named {
            for cluster in bootstrap["static_resources"]["clusters"].as_array_mut().unwrap() {
                cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]["hostname"] = "a.test".into();
            }
        }
        let envoy = Envoy::start(&bootstrap).await;
        let good = (200, [1, 0, 0, 0, 0]);
        for (what, name, more, strict, rewritten) in [
            ("usual", "x", String::new(), good, good),
            ("no host", "", String::new(), (502, [0, 1, 0, 0, 0]), good),
            ("no address", "[::::", String::new(), (502, [0, 1, 0, 0, 0]), good),
            (
                "large headers",
                "x",
                format!("x-large: {}\r\n", "a".repeat(30_000)),
                (431, [0, 0, 0, 1, 0]),
                (431, [0, 0, 0, 1, 0]),
            ),
        ] {
            let before = counting(&envoy).await;
            let mut talk = Talk::open(envoy.listener(INGRESS)).await;
            let head = format!("GET / HTTP/1.1\r\nhost: {name}\r\nx-tenant: acme\r\nx-workload: once\r\n{more}\r\n");
            talk.say(&head).await;
            let expected = match (http2, named) {
                (false, _) => good,
                (true, false) => strict,
                (true, true) => rewritten,
            };
            let seen = (talk.head().await.unwrap().0, counted(&envoy, &before, 1).await);
            assert_eq!(seen, expected, "{what} {http2} {named}");
        }
    }
}
