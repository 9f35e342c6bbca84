//! The control socket: actions, what is refused, and peers that mean no good.

mod machine;

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use machine::{Folder, read_answer};
use serde_json::{Value, json};

#[test]
fn actions_are_done_and_answered() {
    let folder = Folder::new();
    let mut vm = folder.start("one", &["--harts", "2"]);
    vm.wait_until_ready();
    let (status, answer) = vm.act(r#"{"action":"status"}"#);
    assert_eq!(status, 200);
    for (field, value) in [
        ("answer", json!("status")),
        ("name", json!("one")),
        ("pid", json!(vm.child.id())),
        ("guest", json!("demo")),
        ("state", json!("running")),
        ("ready", json!(true)),
        ("harts", json!(2)),
        ("memory", json!(128 << 20)),
    ] {
        assert_eq!(answer[field], value, "{field}");
    }
    let (_, answer) = vm.act(r#"{"action":"stats"}"#);
    assert!(answer["instructions"].as_u64().unwrap() > 1000);
    let group = |name: &str| {
        let groups = answer["groups"].as_array().unwrap();
        groups.iter().find(|group| group["name"] == name).cloned()
    };
    assert!(group("address translation").is_some());
    let (_, answer) = vm.act(r#"{"action":"harts"}"#);
    assert_eq!(answer["harts"].as_array().unwrap().len(), 2);
    let (_, answer) = vm.act(r#"{"action":"registers","hart":1}"#);
    assert_eq!(answer["x"].as_array().unwrap().len(), 32);
    let (_, answer) = vm.act(r#"{"action":"memory","address":"0x80200000","count":3}"#);
    assert_eq!(answer["words"][2]["address"], "0x80200010");
    let (_, answer) = vm.act(r#"{"action":"walk","address":2149580800}"#);
    assert_eq!(answer["physical"], "0x80200000");

    assert_eq!(vm.act(r#"{"action":"pause"}"#).0, 200);
    assert_eq!(vm.act(r#"{"action":"status"}"#).1["state"], "paused");
    let count = |vm: &machine::Machine| vm.act(r#"{"action":"stats"}"#).1["instructions"].clone();
    assert_eq!(count(&vm), count(&vm));
    assert_eq!(vm.act(r#"{"action":"stop"}"#).0, 409);
    assert_eq!(vm.act(r#"{"action":"resume"}"#).0, 200);
    let (_, answer) = vm.act(r#"{"action":"prompt","line":"engine interpret"}"#);
    assert_eq!(answer["answer"], "done");
    let (_, answer) = vm.act(r#"{"action":"engine"}"#);
    assert_eq!(answer["engine"], "interpret");

    assert_eq!(vm.act(r#"{"action":"reset"}"#).0, 200);
    assert_eq!(vm.act(r#"{"action":"status"}"#).1["resets"], 1);
    vm.wait_until_ready();
    assert_eq!(vm.act(r#"{"action":"stop","force":true}"#).0, 200);
    assert_eq!(vm.status(), 104);
    assert!(!vm.socket.parent().unwrap().exists());
}

#[test]
fn nonsense_is_refused_with_a_reason() {
    let folder = Folder::new();
    let vm = folder.start("one", &[]);
    for (body, status) in [
        ("", 400),
        ("{", 400),
        ("[]", 400),
        ("\u{0}", 400),
        (r#"{"action":"dance"}"#, 400),
        (r#"{"action":"walk"}"#, 400),
        (r#"{"action":"walk","address":"high"}"#, 400),
        (r#"{"action":"registers","hart":-1}"#, 400),
        (r#"{"action":"registers","hart":7}"#, 409),
        (r#"{"action":"save"}"#, 409),
        (r#"{"action":"prompt","line":"dance"}"#, 409),
    ] {
        let (got, answer) = vm.act(body);
        assert_eq!(got, status, "{body}: {answer}");
        assert!(answer["error"].as_str().is_some_and(|why| !why.is_empty()));
    }
    assert_eq!(vm.act(&" ".repeat(100_000)).0, 413);
    assert_eq!(vm.get("/actions").0, 404);
    assert_eq!(vm.get("/console").0, 426);
    assert_eq!(vm.get("/../../etc/passwd").0, 404);
}

#[test]
fn the_description_lists_every_action() {
    let folder = Folder::new();
    let vm = folder.start("one", &[]);
    let (status, document) = vm.get("/openapi.json");
    assert_eq!(status, 200);
    assert!(document["openapi"].as_str().unwrap().starts_with("3."));
    assert!(document["paths"]["/actions"]["post"].is_object());
    // Serde's complaint about an unknown action lists all there are.
    let (_, answer) = vm.act(r#"{"action":"dance"}"#);
    let complaint = answer["error"].as_str().unwrap();
    let known: Vec<&str> = complaint.split('`').skip(3).step_by(2).collect();
    assert!(known.len() > 10, "{complaint}");
    let variants = document["components"]["schemas"]["Action"]["oneOf"].clone();
    let described: Vec<Value> = variants
        .as_array()
        .unwrap()
        .iter()
        .map(|variant| variant["properties"]["action"]["enum"][0].clone())
        .collect();
    assert_eq!(described, known);
    // Whatever is referred to is there.
    let text = document.to_string();
    for reference in text.split("\"#/components/schemas/").skip(1) {
        let name = reference.split('"').next().unwrap();
        assert!(
            document["components"]["schemas"][name].is_object(),
            "{name}"
        );
    }
}

#[test]
fn hostile_peers_are_shown_out_and_others_served() {
    let folder = Folder::new();
    let mut vm = folder.start("one", &[]);
    vm.wait_until_ready();
    // Many that say nothing, or only the beginning of something.
    let silent: Vec<_> = (0..40).map(|_| vm.connect()).collect();
    let mut slow: Vec<_> = (0..10).map(|_| vm.connect()).collect();
    for stream in &mut slow {
        stream.write_all(b"POST /actions HTT").unwrap();
    }
    let mut slow_body = vm.connect();
    slow_body
        .write_all(b"POST /actions HTTP/1.1\r\nHost: vm\r\nConnection: close\r\nContent-Length: 20\r\n\r\n{")
        .unwrap();
    // One that says a lot and listens to nothing.
    let mut deaf = vm.connect();
    deaf.set_write_timeout(Some(Duration::from_millis(500)))
        .unwrap();
    let request = b"GET /openapi.json HTTP/1.1\r\nHost: vm\r\n\r\n".repeat(1000);
    let _ = deaf.write_all(&request);
    // Garbage.
    for garbage in [
        &b"\x00\x01\x02\xff\r\n\r\n"[..],
        b"GET /healthz HTTP/9.9\r\n\r\n",
        b"POST /actions HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
        b"POST /actions HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n",
        b"POST /actions HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        let mut stream = vm.connect();
        stream.write_all(garbage).unwrap();
        let mut answer = Vec::new();
        // Shown out, with or without a word.
        let _ = stream.read_to_end(&mut answer);
    }
    let mut long_head = vm.connect();
    let _ = long_head.write_all(&b"GET /healthz HTTP/1.1\r\nX: y"[..]);
    let _ = long_head.write_all(&vec![b'z'; 1 << 20]);
    // Others are served meanwhile: there is room for some more, and the slow are shown out.
    assert_eq!(vm.act(r#"{"action":"status"}"#).0, 200);
    assert_eq!(read_answer(slow_body).0, 408);
    for mut stream in silent.into_iter().chain(slow) {
        let mut answer = Vec::new();
        let start = Instant::now();
        let _ = stream.read_to_end(&mut answer);
        assert!(start.elapsed() < machine::PATIENCE);
    }
    assert_eq!(vm.act(r#"{"action":"stop","force":true}"#).0, 200);
    assert_eq!(vm.status(), 104);
}
