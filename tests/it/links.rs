//! Links that give a file away: they are in their answer and nowhere else.

use jobs_gateway::sandbox::Fault;
use serde_json::{Value, json};

use crate::entities::{FILE, filled, keyed};
use crate::support::Setup;

#[tokio::test]
async fn an_upload_url_is_given_once_and_kept_nowhere() {
    let config = "server: { listen: 127.0.0.1:0, drain_delay: 0 }\n\
        audit: { sinks: [{ file: ./audit/audit.jsonl }] }\n";
    let world = Setup::new().config(config).start().await;
    let made = keyed(&world, "k-1", FILE, json!({"m": "{}"})).await;
    let (id, url) = (made.data("/createFile/id"), made.data("/createFile/presignedUrl"));
    let url = url.as_str().unwrap();
    // Asked for anew: nothing can be read of it yet, and nothing more written.
    let replayed = keyed(&world, "k-1", FILE, json!({"m": "{}"})).await;
    assert_eq!(replayed.json()["data"]["createFile"]["id"], id);
    assert!(!replayed.text.contains("X-Amz-Signature"), "{replayed:?}");
    assert_eq!(world.sandbox.count("createFile"), 1);
    assert_eq!(world.http.put(url).body("the film").send().await.unwrap().status(), 200);
    let replayed = keyed(&world, "k-1", FILE, json!({"m": "{}"})).await;
    let read = replayed.data("/createFile/presignedUrl");
    assert_ne!(read, json!(url));
    let bytes = world.http.get(read.as_str().unwrap()).send().await.unwrap().text().await.unwrap();
    assert_eq!(bytes, "the film");
    // Two tries may have made two: nobody can tell, and one that is not used lies idle.
    world.sandbox.fail_next(Some("createFile"), Fault::LoseAnswer);
    assert_eq!(keyed(&world, "k-2", FILE, json!({"m": "{}"})).await.code(), "OUTCOME_UNKNOWN");
    assert!(
        keyed(&world, "k-2", FILE, json!({"m": "{}"})).await.data("/createFile/id").is_string()
    );
    let signature = url.split("X-Amz-Signature=").nth(1).unwrap().split('&').next().unwrap();
    // Nothing is written or replaced while it is read.
    let folder = world.stop().await;
    for entry in walk(folder.path()) {
        let bytes = std::fs::read(&entry).unwrap();
        let holds = bytes.windows(signature.len()).any(|part| part == signature.as_bytes());
        assert!(!holds, "{}", entry.display());
    }
}

#[tokio::test]
async fn a_share_code_is_recorded_by_its_file_and_end_and_never_by_itself() {
    let config = "audit: { sinks: [{ file: ./audit/audit.jsonl }] }\n".to_owned();
    let world =
        Setup::new().tenant("acme", "operations: [\"*\", sharing]\n").config(config).start().await;
    let file = filled(&world, "acme").await;
    let share = "mutation($id: String!) { generateShareCode(fileId: $id) { code expires } }";
    let made = world.ask("acme", share, json!({"id": file})).await.data("/generateShareCode");
    // Move says the code where the end of the link belongs.
    world.sandbox.fail_next(
        Some("generateShareCode"),
        Fault::edit(|answer| {
            answer["data"]["generateShareCode"]["expires"] = "THE-CODE".into();
        }),
    );
    world.ask("acme", share, json!({"id": file})).await;
    let records = crate::support::audit::records(&world, 6).await;
    let of_codes = |record: &&Value| record["api"]["operation"] == "generateShareCode";
    let records: Vec<_> = records.iter().filter(of_codes).collect();
    let told = |record: &&&Value| record["unmapped"]["expires"].is_string();
    let told: Vec<_> = records.iter().filter(told).collect();
    assert_eq!((records.len(), told.len()), (4, 1), "{records:#?}");
    assert_eq!(told[0]["unmapped"]["expires"], made["expires"]);
    for record in records {
        let text = record.to_string();
        assert!(text.contains(&file), "{text}");
        assert!(!text.contains("THE-CODE"), "{text}");
        assert!(!text.contains(made["code"].as_str().unwrap()), "{text}");
    }
}

fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}
