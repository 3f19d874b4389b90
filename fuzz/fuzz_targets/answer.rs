#![no_main]
//! Any answer of Move's is read, or refused, without a panic and without running out of stack.

use jobs_gateway::upstream::{Entity, EntityPage, read};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    // As it is, and as a job, an item of a page and an error's path, so that each is reached at once.
    for (field, answer) in [
        ("getJob", text.to_owned()),
        ("getJob", format!(r#"{{"data":{{"getJob":{text}}}}}"#)),
        ("listJobs", format!(r#"{{"data":{{"listJobs":{{"items":[{text}],"first":1}}}}}}"#)),
        ("getJob", format!(r#"{{"data":null,"errors":[{{"message":"m","path":{text}}}]}}"#)),
    ] {
        let _ = read::<Entity>(field, answer.as_bytes());
        let _ = read::<EntityPage>(field, answer.as_bytes());
    }
});
