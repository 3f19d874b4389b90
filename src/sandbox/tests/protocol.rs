//! The reading, refusing and recording of requests.

use reqwest::StatusCode;

use super::*;

#[tokio::test]
async fn a_missing_job_is_answered_as_appsync_does() {
    let sandbox = start(SandboxOptions::default()).await;
    let response = send(&sandbox, "query {\n  getJob(jobId: \"job-1\") { id }\n}").await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert!(response.headers().contains_key("x-amzn-requestid"));
    let expected = json!({"data": null, "errors": [{
        "path": ["getJob"],
        "data": null,
        "errorType": "MoveNotFoundError",
        "errorInfo": null,
        "locations": [{"line": 2, "column": 3, "sourceName": null}],
        "message": "Resource not found in move-ugc-api.",
    }]});
    assert_eq!(response.json::<Value>().await.unwrap(), expected);
    let unknown_take = ask(&sandbox, CREATE, json!({"take": "take-unknown"})).await;
    assert_eq!(unknown_take["errors"][0]["errorType"], "MoveNotFoundError");
}

#[tokio::test]
async fn a_wrong_key_is_refused_whatever_it_asks_for() {
    let sandbox = start(SandboxOptions::default()).await;
    for key in ["", "wrong", "Bearer sandbox-move-key"] {
        for body in ["{\"query\": \"{ __typename }\"}", "{\"query\": \"{ nothing }\"}", "meow", ""]
        {
            let response = post(&sandbox, key).body(body).send().await.unwrap();
            assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
            assert_eq!(
                response.text().await.unwrap(),
                r#"{"errors":[{"errorType":"UnauthorizedException","message":"You are not authorized to make this call."}]}"#
            );
        }
    }
}

#[tokio::test]
async fn what_is_no_graphql_request_is_a_client_error() {
    let sandbox = start(SandboxOptions::default()).await;
    for body in ["", "meow", "{}", "[]"] {
        let response = post(&sandbox, KEY).body(body).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::BAD_REQUEST);
        let answer: Value = response.json().await.unwrap();
        assert_eq!(answer["errors"][0]["errorType"], "MalformedHttpRequestException");
    }
    let get = reqwest::get(sandbox.url()).await.unwrap();
    assert!(get.status().is_client_error());
    let elsewhere = sandbox.url().join("/graphql").unwrap();
    let elsewhere = reqwest::Client::new().post(elsewhere).send().await.unwrap();
    assert!(elsewhere.status().is_client_error());
}

#[tokio::test]
async fn an_invalid_document_is_refused_with_every_problem_at_its_place() {
    let sandbox = start(SandboxOptions::default()).await;
    let answer = ask(&sandbox, "{ nothing\n neither }", json!({})).await;
    assert_eq!(answer["data"], Value::Null);
    let errors = answer["errors"].as_array().unwrap();
    assert_eq!(errors.len(), 2, "{answer}");
    assert_eq!(errors[1]["errorType"], "ValidationError");
    assert_eq!(errors[1]["locations"], json!([{"line": 2, "column": 2, "sourceName": null}]));
    let message = errors[1]["message"].as_str().unwrap();
    assert!(message.starts_with("Validation error of type FieldUndefined: "), "{message}");
    let missing = ask(&sandbox, GET, json!({})).await;
    assert_eq!(missing["errors"][0]["errorType"], "ValidationError", "{missing}");
}

#[tokio::test]
async fn create_job_is_there_only_if_it_is_wanted() {
    let create = format!("mutation {{ createJob(takeId: \"{SINGLECAM_TAKE}\") {{ state }} }}");
    let fields = "{ __type(name: \"Mutation\") { fields(includeDeprecated: true) { name } } }";
    for create_job in [false, true] {
        let sandbox = start(SandboxOptions { create_job, ..Default::default() }).await;
        let answer = ask(&sandbox, &create, json!({})).await;
        assert_eq!(answer.get("errors").is_none(), create_job, "{answer}");
        assert_eq!(sandbox.job_count(), usize::from(create_job));
        assert_eq!(sandbox.count("createJob"), 1, "recorded in both cases");
        let names = ask(&sandbox, fields, json!({})).await.to_string();
        assert_eq!(names.contains("\"createJob\""), create_job);
        assert!(names.contains("\"createSingleCamJob\""));
    }
}

#[tokio::test]
async fn calls_are_recorded_as_they_came() {
    let sandbox = start(SandboxOptions::default()).await;
    ask(&sandbox, GET, json!({"id": "job-1"})).await;
    let fragment = "query Q { ...F } query R { a: listJobs { first } } fragment F on Query {
        ... on Query { getTake(takeId: \"take-1\") { id } } }";
    ask(&sandbox, fragment, json!({})).await;
    let body = json!({"query": fragment, "operationName": "R"});
    post(&sandbox, KEY).header("x-test", "1").json(&body).send().await.unwrap();
    ask(&sandbox, "fragment F on Query { ...F } { ...F }", json!({})).await;
    let calls = sandbox.calls();
    let fields: Vec<_> = calls.iter().map(|call| call.field.as_str()).collect();
    assert_eq!(fields, ["getJob", "getTake", "listJobs", ""]);
    assert_eq!((calls[0].query.as_str(), &calls[0].variables["id"]), (GET, &json!("job-1")));
    assert_eq!((calls[2].header("x-test"), calls[2].api_key.as_str()), (Some("1"), KEY));
    assert_eq!(sandbox.count("getJob"), 1);
    sandbox.clear_calls();
    assert!(sandbox.calls().is_empty());
}

#[tokio::test]
async fn introspection_is_answered_as_deep_as_clients_ask() {
    let sandbox = start(SandboxOptions::default()).await;
    // As graphql-core, and with it Move's Python client, asks.
    let depth = 13;
    let of_type = format!("{}{}", "ofType { kind name ".repeat(depth), "}".repeat(depth));
    let query = format!(
        "query {{ __schema {{ queryType {{ name }} mutationType {{ name }} types {{ kind name
            fields(includeDeprecated: true) {{ name args {{ name defaultValue type {{ ...T }} }}
                type {{ ...T }} isDeprecated deprecationReason }}
            inputFields {{ name type {{ ...T }} }} interfaces {{ ...T }} possibleTypes {{ ...T }}
            enumValues(includeDeprecated: true) {{ name }} }}
            directives {{ name locations }} }} }}
        fragment T on __Type {{ kind name {of_type} }}"
    );
    let answer = ask(&sandbox, &query, json!({})).await;
    assert!(answer.get("errors").is_none(), "{answer}");
    let schema = &answer["data"]["__schema"];
    assert_eq!(schema["mutationType"]["name"], "Mutation");
    let types = schema["types"].as_array().unwrap();
    let job = types.iter().find(|own| own["name"] == "Job").expect("Job");
    let fields: Vec<_> = job["fields"].as_array().unwrap().iter().map(|f| &f["name"]).collect();
    assert!(!fields.contains(&&json!("percentageComplete")), "only JobProgress has it");
    assert_eq!(sandbox.count("__schema"), 1);
}
