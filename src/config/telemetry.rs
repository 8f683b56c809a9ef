//! Settings of traces that leave the node, `[telemetry]`.

use serde::Deserialize;
use url::Url;

/// `[telemetry]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TelemetryOptions {
    /// Where an OpenTelemetry collector takes spans by OTLP over HTTP: `http://collector:4318`; `/v1/traces` comes behind it. Without
    /// it no spans are made.
    pub otlp_endpoint: Option<String>,
}

impl TelemetryOptions {
    /// Where spans go.
    ///
    /// # Errors
    /// What the setting must be.
    pub fn traces(&self) -> Result<Option<Url>, String> {
        let Some(text) = &self.otlp_endpoint else { return Ok(None) };
        let url = Url::parse(text).ok().filter(|url| ["http", "https"].contains(&url.scheme()) && url.has_host());
        let mut url = url.ok_or_else(|| "must be an address as in http://collector:4318".to_owned())?;
        url.set_path(&format!("{}/v1/traces", url.path().trim_end_matches('/')));
        Ok(Some(url))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_gets_its_path_and_nothing_else_is_taken() {
        let of = |text: &str| TelemetryOptions { otlp_endpoint: Some(text.to_owned()) }.traces();
        for text in ["http://collector:4318", "http://collector:4318/"] {
            assert_eq!(of(text).unwrap().unwrap().as_str(), "http://collector:4318/v1/traces");
        }
        assert_eq!(
            of("https://traces.example/otlp").unwrap().unwrap().as_str(),
            "https://traces.example/otlp/v1/traces"
        );
        for text in ["", "collector:4318", "grpc://collector:4317", "http://"] {
            assert!(of(text).is_err(), "{text}");
        }
        assert_eq!(TelemetryOptions::default().traces(), Ok(None));
    }
}
