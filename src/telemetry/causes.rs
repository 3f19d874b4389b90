//! Errors as the log tells them: with their causes, without secrets.

use std::error::Error;

/// Returns an error and its causes as one text, outermost first.
#[must_use]
pub fn causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let words = cause.to_string();
        // Many errors repeat what caused them.
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        next = cause.source();
    }
    text
}

/// Returns why an HTTP exchange failed, as [`causes`] does. Its URL is left out: tokens stand in URLs.
#[must_use]
pub fn http_causes(error: reqwest::Error) -> String {
    causes(&error.without_url())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_http_failure_tells_its_cause_and_not_its_url() {
        let http = reqwest::Client::builder().no_proxy().build().expect("a client");
        let error = http.get("http://127.0.0.1:9/keys?token=SECRET").send().await;
        let text = http_causes(error.expect_err("nobody listens there"));
        assert!(text.contains("refused"), "{text}");
        assert!(!text.contains("SECRET") && !text.contains("127.0.0.1"), "{text}");
    }
}
