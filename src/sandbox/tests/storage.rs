//! Uploads and downloads by presigned URLs.

use reqwest::{Method, StatusCode};

use super::*;

async fn at(method: Method, url: &str, headers: &[(&str, &str)], body: &[u8]) -> (u16, String) {
    let request = CLIENT.request(method, url).body(body.to_vec());
    let request =
        headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    let response = request.send().await.expect("an answer");
    let status = response.status().as_u16();
    (status, response.text().await.expect("a text"))
}

async fn get(url: &str) -> (u16, String) {
    at(Method::GET, url, &[], b"").await
}

/// The answer's error code, as S3 writes it.
fn code(text: &str) -> &str {
    let (_, rest) = text.split_once("<Code>").unwrap_or_else(|| panic!("no error: {text}"));
    rest.split_once('<').expect("an end").0
}

#[tokio::test]
async fn bytes_that_are_put_at_an_upload_url_come_back_from_the_files_url() {
    for url_style in [Style::SignatureV2, Style::SignatureV4] {
        let sandbox = start(SandboxOptions { url_style, ..Default::default() }).await;
        let (id, url) = create_file(&sandbox, "mp4").await;
        let early = ask(&sandbox, GET_FILE, json!({"id": id})).await;
        assert_eq!(early["errors"][0]["message"], "File object does not exist");
        assert_eq!(early["data"]["getFile"]["thumbnailUrl"], Value::Null);
        assert_eq!(at(Method::PUT, &url, &[], b"a film").await, (200, String::new()));
        let file = ask(&sandbox, GET_FILE, json!({"id": id})).await["data"]["getFile"].take();
        let read = file["presignedUrl"].as_str().expect("a URL");
        assert_eq!(get(read).await, (200, "a film".to_owned()));
        let (status, thumbnail) = get(file["thumbnailUrl"].as_str().expect("a URL")).await;
        assert!(status == 200 && thumbnail.contains(&id), "{thumbnail}");
        assert_eq!(at(Method::PUT, &url, &[], b"a better one").await.0, 200);
        assert_eq!(get(read).await.1, "a better one");
    }
}

#[tokio::test]
async fn a_header_that_was_not_signed_breaks_the_signature() {
    for url_style in [Style::SignatureV2, Style::SignatureV4] {
        let sandbox = start(SandboxOptions { url_style, ..Default::default() }).await;
        let (id, url) = create_file(&sandbox, "mov").await;
        for header in [
            ("content-type", "video/quicktime"),
            ("x-amz-acl", "public-read"),
            ("content-md5", "1B2M2Y8AsgTpgAmY7PhCfg=="),
        ] {
            let (status, text) = at(Method::PUT, &url, &[header], b"a film").await;
            assert_eq!((status, code(&text)), (403, "SignatureDoesNotMatch"), "{header:?}");
            assert!(text.contains(header.1), "it says what it would have signed: {text}");
        }
        assert!(matches!(sandbox.file(&id).expect("a file").content, Content::Awaited));
        let harmless = [("user-agent", "curl/8"), ("accept", "*/*"), ("expect", "100-continue")];
        assert_eq!(at(Method::PUT, &url, &harmless, b"a film").await.0, 200);
    }
}

#[tokio::test]
async fn a_url_does_only_what_it_was_signed_for() {
    let sandbox = start(SandboxOptions::default()).await;
    let (id, put) = create_file(&sandbox, "mp4").await;
    let (other, _) = create_file(&sandbox, "mp4").await;
    at(Method::PUT, &put, &[], b"a film").await;
    let file = ask(&sandbox, GET_FILE, json!({"id": id})).await;
    let read = file["data"]["getFile"]["presignedUrl"].as_str().expect("a URL").to_owned();
    let later = read.replace("X-Amz-Expires=3600", "X-Amz-Expires=360000");
    for (method, url) in [
        (Method::GET, put.as_str()),
        (Method::PUT, read.as_str()),
        (Method::HEAD, read.as_str()),
        (Method::DELETE, put.as_str()),
        (Method::GET, later.as_str()),
        (Method::GET, read.replace(&id, &other).as_str()),
        (Method::GET, format!("{read}0").as_str()),
    ] {
        let (status, text) = at(method.clone(), url, &[], b"").await;
        assert_eq!(status, 403, "{method} {url}: {text}");
    }
    let (bare, _) = read.split_once('?').expect("a query");
    let (status, text) = get(bare).await;
    assert_eq!((status, code(&text)), (403, "AccessDenied"));
    assert_eq!(get(&read).await, (200, "a film".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_url_is_over_in_its_time() {
    for url_style in [Style::SignatureV2, Style::SignatureV4] {
        let url_lifetime = Duration::from_mins(15);
        let sandbox = start(SandboxOptions { url_lifetime, url_style, ..Default::default() }).await;
        let (_, url) = create_file(&sandbox, "mp4").await;
        tokio::time::advance(Duration::from_mins(14)).await;
        assert_eq!(at(Method::PUT, &url, &[], b"a film").await.0, 200);
        tokio::time::advance(Duration::from_mins(1)).await;
        let (status, text) = at(Method::PUT, &url, &[], b"a film").await;
        assert_eq!((status, code(&text)), (403, "AccessDenied"));
        assert!(text.contains("Request has expired"), "{text}");
    }
}

#[tokio::test]
async fn uploads_without_a_length_or_too_long_ones_are_refused() {
    let sandbox = start(SandboxOptions::default()).await;
    let (_, url) = create_file(&sandbox, "mp4").await;
    let chunks = futures_util::stream::iter([Ok::<_, std::io::Error>("a film")]);
    let streamed = CLIENT.put(&url).body(reqwest::Body::wrap(http_body_util::StreamBody::new(
        futures_util::StreamExt::map(chunks, |chunk| {
            chunk.map(|text| hyper::body::Frame::data(bytes::Bytes::from(text)))
        }),
    )));
    let response = streamed.send().await.expect("an answer");
    assert_eq!(response.status(), StatusCode::NOT_IMPLEMENTED);
    assert_eq!(code(&response.text().await.expect("a text")), "NotImplemented");
    let length = (store::file::MAX_UPLOADS + 1).to_string();
    let (status, text) = at(Method::PUT, &url, &[("content-length", &length)], b"").await;
    assert_eq!((status, code(&text)), (400, "EntityTooLarge"));
}

#[test]
fn the_oldest_uploads_go_when_there_are_too_many_bytes() {
    let mut uploads = store::file::Uploads::default();
    let half = store::file::MAX_UPLOADS / 2;
    assert!(uploads.add("first", half).is_empty());
    assert!(uploads.add("second", half).is_empty());
    assert!(uploads.add("first", half).is_empty(), "it takes the place of its older self");
    assert_eq!(uploads.add("third", half), ["second"]);
    assert_eq!(uploads.add("whole", store::file::MAX_UPLOADS), ["first", "third"]);
}

#[tokio::test]
async fn the_outputs_of_a_finished_job_can_be_downloaded() {
    let sandbox = start(SandboxOptions::default()).await;
    let id = create(&sandbox, json!("{}")).await;
    sandbox.set_state(&id, State::Running);
    let outputs = "query($id: ID!) { getJob(jobId: $id) { outputs { file { id } } } }";
    let running = ask(&sandbox, outputs, json!({"id": id})).await;
    let file = &running["data"]["getJob"]["outputs"][0]["file"]["id"];
    let early = ask(&sandbox, GET_FILE, json!({"id": file})).await;
    assert_eq!(early["errors"][0]["message"], "File object does not exist");
    sandbox.set_state(&id, State::Finished);
    let late = ask(&sandbox, GET_FILE, json!({"id": file})).await;
    let url = late["data"]["getFile"]["presignedUrl"].as_str().expect("a URL");
    let (status, text) = get(url).await;
    assert!(status == 200 && text.contains(file.as_str().expect("an id")), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_share_code_leads_to_its_file_for_a_day() {
    let sandbox = start(SandboxOptions::default()).await;
    let share = "mutation($id: String!) { generateShareCode(fileId: $id) {
        code created expires url file { id presignedUrl } } }";
    let (empty, _) = create_file(&sandbox, "mp4").await;
    let answer = ask(&sandbox, share, json!({"id": empty})).await;
    assert_eq!(answer["errors"][0]["message"], "File object does not exist");
    let id = upload(&sandbox, b"a film").await;
    let code = ask(&sandbox, share, json!({"id": id})).await["data"]["generateShareCode"].take();
    assert_eq!(code["file"]["id"], id);
    let url = code["url"].as_str().expect("a URL");
    assert_eq!(get(url).await, (200, "a film".to_owned()), "it redirects");
    assert_eq!(get(&format!("{url}0")).await.0, 404);
    tokio::time::advance(Duration::from_hours(24)).await;
    assert_eq!(get(url).await.0, 404);
}
