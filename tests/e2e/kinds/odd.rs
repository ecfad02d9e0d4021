//! Methods, statuses and hints that are seldom met.

use super::scene::{Scene, Step, WAYS, counted, counting, say};
use berth::manifest::envoy::route::Way;

#[tokio::test]
async fn methods_and_answers_without_a_body_are_placed_and_counted_as_others() {
    for way in WAYS {
        let scene = Scene::start(way).await;
        let [a, b, c] = &scene.hosts;
        [b, c]
            .into_iter()
            .for_each(|host| host.does(&[say("HTTP/1.1 200 X\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")]));
        for method in ["HEAD", "OPTIONS", "GET"] {
            for (answer, code) in [
                ("HTTP/1.1 200 X\r\nconnection: close\r\ncontent-length: 0\r\n\r\n", 200),
                ("HTTP/1.1 204 X\r\nconnection: close\r\n\r\n", 204),
                ("HTTP/1.1 304 X\r\nconnection: close\r\netag: \"x\"\r\n\r\n", 304),
                (
                    "HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\nHTTP/1.1 200 X\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
                    200,
                ),
                ("HTTP/1.1 500 X\r\nconnection: close\r\ncontent-length: 0\r\n\r\n", 500),
            ] {
                a.does(&[say(answer)]);
                let path = format!("/{method}/{code}/{}", answer.len());
                let before = counting(&scene.envoy).await;
                let mut talk = scene.talk().await;
                talk.say(&format!("{method} {path} HTTP/1.1\r\nhost: x\r\nx-tenant: acme\r\nx-workload: once\r\n\r\n"))
                    .await;
                let seen = talk.head().await.unwrap().0;
                // These methods may be repeated, whatever the class says; hints are not handed on.
                let (code, went, is) = match (code, way) {
                    (500, Way::Simple) => (500, "a", [0, 1, 0, 0]),
                    (500, _) => (200, "a b", [1, 1, 0, 0]),
                    _ => (code, "a", [1, 0, 0, 0]),
                };
                assert_eq!((seen, scene.went(&path).as_str()), (code, went), "{way:?} {path}");
                assert_eq!(counted(&scene.envoy, &before, is.iter().sum()).await[..4], is, "{way:?} {path}");
            }
        }
    }
}

#[tokio::test]
async fn who_asks_whether_to_go_on_is_told_so_by_the_proxy_and_then_placed() {
    for way in WAYS {
        let scene = Scene::start(way).await;
        scene.hosts[0].does(&[Step::Take(3), say("HTTP/1.1 200 X\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")]);
        for (tenant, code, went) in [("acme", 200, "a"), ("nobody", 403, "")] {
            let path = format!("/{tenant}");
            let mut talk = scene.talk().await;
            let head = format!(
                "POST {path} HTTP/1.1\r\nhost: x\r\nx-tenant: {tenant}\r\nx-workload: once\r\nexpect: 100-continue\r\n\
                 content-length: 3\r\n\r\n"
            );
            talk.say(&head).await;
            assert_eq!(talk.head().await.unwrap().0, 100, "{way:?} {path}: also who is refused then");
            talk.say("abc").await;
            assert_eq!(talk.head().await.unwrap().0, code, "{way:?} {path}");
            assert_eq!(scene.went(&path), went, "{way:?} {path}");
            assert!(scene.hosts[0].heads(&path).iter().all(|head| !head.contains("expect: ")), "it was answered");
        }
    }
}
