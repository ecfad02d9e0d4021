//! WebSocket: a request that becomes a connection.

use super::scene::{DEADLINE_MS, Scene, Step, WAYS, counted, counting, say};
use crate::support::TRIES;
use crate::support::calm::Watch;
use crate::support::client::Ask;
use crate::support::eventually;
use berth::manifest::envoy::route::Way;
use serde_json::{Value, json};

const SWITCHED: &str = "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\r\n";

pub fn handshake(path: &str, more: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nhost: x\r\nx-tenant: acme\r\nx-workload: once\r\n{more}connection: Upgrade\r\n\
         upgrade: websocket\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n\r\n"
    )
}

/// As `listen.websocket` is rendered.
pub fn served(manager: &mut Value) {
    manager["upgrade_configs"] = json!([{"upgrade_type": "websocket"}]);
    manager["http2_protocol_options"] = json!({"allow_connect": true});
}

#[tokio::test]
async fn a_handshake_is_placed_tried_again_and_bounded_as_a_request_is() {
    let status = |code: u16| vec![say(&format!("HTTP/1.1 {code} X\r\ncontent-length: 0\r\n\r\n"))];
    let third = DEADLINE_MS / 3;
    // What the home does; what comes of it with one attempt, and with more: a handshake is a GET, which may be repeated.
    let rows = [
        ("switches", vec![say(SWITCHED), say("a"), Step::Echo], (101, "a", 0), (101, "a", 0)),
        ("is full", status(429), (429, "a", 0), (101, "a b", 0)),
        ("fails", status(500), (500, "a", 0), (101, "a b", 0)),
        ("closes", vec![], (503, "a", 0), (101, "a b", 0)),
        ("hangs", vec![Step::Hold], (504, "a", DEADLINE_MS), (101, "a b", third)),
        ("refuses", status(404), (404, "a", 0), (404, "a", 0)),
        ("knows no sockets", status(200), (200, "a", 0), (200, "a", 0)),
    ];
    for way in WAYS {
        let scene = Scene::start_with(way, false, served).await;
        let [a, b, c] = &scene.hosts;
        [b, c].into_iter().for_each(|host| host.does(&[say(SWITCHED), say(host.name), Step::Echo]));
        for (what, steps, alone, others) in &rows {
            a.does(steps);
            let (code, went, from) = if way == Way::Simple { *alone } else { *others };
            for more in ["", "x-stream: true\r\n"] {
                for attempt in 0.. {
                    let path = format!("/{}/{}/{attempt}", what.replace(' ', "-"), more.len());
                    let (watch, mut talk) = (Watch::begin(), scene.talk().await);
                    talk.say(&handshake(&path, more)).await;
                    let (seen, _, ms) = talk.head().await.expect("an answer");
                    let went_to = scene.went(&path);
                    let right = (seen, went_to.as_str()) == (code, went) && ms + 10 >= from;
                    if right && code == 101 {
                        talk.say("hello").await;
                        let at = went.rsplit(' ').next().unwrap();
                        assert!(talk.hears(&format!("{at}hello")).await, "{way:?} {path}: both directions");
                    }
                    if right && ms < from + 100 {
                        break;
                    }
                    let said =
                        format!("{way:?} {path}: {seen} from {went_to} after {ms} ms, expected {code} from {went}");
                    assert!(right || watch.held_up().is_some(), "{said} after {from} ms");
                    assert!(attempt < TRIES, "{said}: late each time");
                }
            }
        }
    }
}

#[tokio::test]
async fn a_socket_lives_as_long_as_it_likes_and_is_one_good_answer_whichever_side_ends_it() {
    let [simple, full, lanes] = WAYS.map(lives);
    tokio::join!(simple, full, lanes);
}

async fn lives(way: Way) {
    let scene = Scene::start_with(way, true, served).await;
    let a = &scene.hosts[0];
    let long = DEADLINE_MS * 2;
    let lives = [say(SWITCHED), say("a"), Step::Wait(long), say("still here")];
    for (who, last) in [("client", Step::Echo), ("substrate", Step::Wait(0)), ("reset", Step::Reset)] {
        a.does(&[&lives[..], &[last]].concat());
        for more in ["", "x-stream: true\r\n"] {
            let path = format!("/{who}/{}", more.len());
            let before = counting(&scene.envoy).await;
            let mut talk = scene.talk().await;
            talk.say(&handshake(&path, more)).await;
            assert_eq!(talk.head().await.unwrap().0, 101);
            if way != Way::Lanes {
                eventually("it counts as long as it lives", || in_flight(&scene, 1)).await;
            }
            assert!(talk.hears("astill here").await && talk.ms() >= long, "{way:?} {path}: {} ms", talk.ms());
            if who == "client" {
                drop(talk);
            } else {
                talk.ends().await;
            }
            let line = scene.envoy.await_log_line(|line| line["path"] == path.as_str()).await;
            assert_eq!((&line["status"], &line["cluster"].is_string()), (&json!(101), &true));
            assert_eq!(counted(&scene.envoy, &before, 1).await, [1, 0, 0, 0, 0], "{way:?} {path}");
            if way != Way::Lanes {
                eventually("its place is free again", || in_flight(&scene, 0)).await;
            }
        }
    }
    // How long sockets lived is no time that work takes; a circuit would have opened after so many failures.
    let health = settled(&scene).await;
    assert!(health["signals"]["total"].is_null(), "{health}");
    assert_eq!(health["circuit"]["state"], "closed");
    // Six good ends, none of which is late or cut, in the account of placed requests too.
    let answers = || async {
        let text = scene.envoy.admin_get("/stats?filter=berth.answers").await.text();
        let some = text.lines().filter_map(|line| line.rsplit_once(": ")).filter(|(_, n)| *n != "0");
        let some: Vec<_> = some.map(|(name, n)| (name.rsplit('.').next().unwrap().to_owned(), n.to_owned())).collect();
        (some == [("good".to_owned(), "6".to_owned())]).then_some(())
    };
    eventually("all are good in the account of placed requests", answers).await;
}

#[tokio::test]
async fn whoever_answers_a_handshake_as_any_request_has_not_failed_unless_it_serves_sockets() {
    for way in WAYS {
        let scene = Scene::start_with(way, true, served).await;
        let a = &scene.hosts[0];
        let asks = async |many: u64| {
            a.does(&[say("HTTP/1.1 200 X\r\ncontent-length: 0\r\n\r\n")]);
            let before = counting(&scene.envoy).await;
            for n in 0..many {
                let mut talk = scene.talk().await;
                talk.say(&handshake(&format!("/{many}/{n}"), "")).await;
                assert_eq!(talk.head().await.unwrap().0, 200);
            }
            counted(&scene.envoy, &before, many).await
        };
        // Or whoever asks for sockets could open every circuit.
        assert_eq!(asks(12).await, [0, 0, 0, 0, 12], "{way:?}");
        assert_eq!(settled(&scene).await["circuit"]["state"], "closed", "{way:?}");
        // Each worker learns for itself who serves sockets; connections land on either.
        eventually("one that serves sockets has failed by such an answer", async || {
            a.does(&[say(SWITCHED)]);
            let mut talk = scene.talk().await;
            talk.say(&handshake("/switches", "")).await;
            assert_eq!(talk.head().await.unwrap().0, 101);
            talk.ends().await;
            (asks(1).await[1] == 1).then_some(())
        })
        .await;
    }
}

async fn snapshot(scene: &Scene) -> Value {
    let seen = Ask::get(scene.envoy.listener("telemetry"), "/snapshot").send().await.unwrap();
    let snapshot: Value = serde_json::from_slice(&seen.body).unwrap_or_default();
    let all = snapshot["substrates"].as_array().cloned().unwrap_or_default();
    all.into_iter().find(|substrate| substrate["name"] == "a").unwrap_or_default()
}

/// The same once all that was counted before is in it: what is counted is taken up at the next ticks.
async fn settled(scene: &Scene) -> Value {
    const EPOCH: &str = "wasmcustom.berth.telemetry.epoch";
    let published = scene.envoy.stat(EPOCH).await;
    scene.envoy.await_stat(EPOCH, |epoch| epoch >= published + 3).await;
    snapshot(scene).await
}

async fn in_flight(scene: &Scene, many: u64) -> Option<()> {
    (snapshot(scene).await["signals"]["in_flight"]["value"] == many).then_some(())
}

#[tokio::test]
async fn where_sockets_are_not_served_nobody_is_asked_for_one() {
    let scene = Scene::start(Way::Full).await;
    let mut talk = scene.talk().await;
    talk.say(&handshake("/none", "")).await;
    assert_eq!(talk.head().await.unwrap().0, 403);
    assert_eq!(scene.went("/none"), "");
}
