//! Presigned URLs of S3, in both of its signature styles. The signatures are no signatures.

use std::time::Duration;

use jiff::Timestamp;

/// How S3 signs a URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Version 2: `Expires=<seconds since 1970>`.
    SignatureV2,
    /// Version 4: `X-Amz-Date` and `X-Amz-Expires=<seconds>`.
    SignatureV4,
}

/// A URL for a file, signed now.
#[must_use]
pub fn url(style: Style, file: &str, extension: &str, now: Timestamp, life: Duration) -> String {
    let base = format!("https://move-sandbox.s3.amazonaws.com/{file}.{extension}");
    let query = match style {
        Style::SignatureV2 => {
            let expires = now.as_second().saturating_add_unsigned(life.as_secs());
            format!("AWSAccessKeyId=SANDBOX&Signature=c2FuZGJveA%3D%3D&Expires={expires}")
        }
        Style::SignatureV4 => format!(
            "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=SANDBOX&X-Amz-Date={}\
             &X-Amz-Expires={}&X-Amz-SignedHeaders=host&X-Amz-Signature=73616e64626f78",
            now.strftime("%Y%m%dT%H%M%SZ"),
            life.as_secs()
        ),
    };
    format!("{base}?{query}")
}
