//! What OpenTelemetry's variables say, as far as they are ours to read; the exporter reads its endpoint, headers and timeout itself.
//!
//! | variable | default |
//! |---|---|
//! | `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`, `OTEL_EXPORTER_OTLP_ENDPOINT` | none: tracing is off |
//! | `OTEL_EXPORTER_OTLP_TRACES_PROTOCOL`, `OTEL_EXPORTER_OTLP_PROTOCOL` | `http/protobuf`; or `grpc` |
//! | `OTEL_EXPORTER_OTLP_HEADERS`, `OTEL_EXPORTER_OTLP_TIMEOUT` (and `..._TRACES_...`) | none, 10 s |
//! | `OTEL_TRACES_SAMPLER`, `OTEL_TRACES_SAMPLER_ARG` | `parentbased_always_on` |
//! | `OTEL_BSP_MAX_QUEUE_SIZE`, `OTEL_BSP_MAX_EXPORT_BATCH_SIZE`, `OTEL_BSP_SCHEDULE_DELAY`, `OTEL_BSP_EXPORT_TIMEOUT` | 2048, 512, 5 s, 30 s |
//! | `OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES` | `tidemill` |
//! | `OTEL_SPAN_LINK_COUNT_LIMIT` and the other limits | OpenTelemetry's |
//! | `OTEL_SDK_DISABLED`, `OTEL_TRACES_EXPORTER` | `false`, `otlp`; `true` or `none`: off |
//!
//! Called at the start. Invariant: a value that cannot be used is a reason for no spans, never for no work.

use super::sampler::Linked;
use opentelemetry_sdk::trace::Sampler;
use std::time::Duration;

#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub grpc: bool,
    /// Host and port: what may stand in the log.
    pub place: String,
    pub sampler: Linked,
    pub queue: usize,
    pub batch: usize,
    pub delay: Duration,
    pub timeout: Duration,
}

type Variables<'a> = &'a dyn Fn(&str) -> Option<String>;

impl Settings {
    /// `None`: off.
    ///
    /// # Errors
    /// Which variable cannot be used, and what to write.
    pub fn read(variables: Variables<'_>) -> Result<Option<Settings>, String> {
        let get = |name: &str| variables(name).map(|v| v.trim().to_owned()).filter(|v| !v.is_empty());
        let either = |name: &str| {
            get(&format!("OTEL_EXPORTER_OTLP_TRACES_{name}")).or_else(|| get(&format!("OTEL_EXPORTER_OTLP_{name}")))
        };
        let Some(endpoint) = either("ENDPOINT") else { return Ok(None) };
        let disabled = get("OTEL_SDK_DISABLED").is_some_and(|v| v.eq_ignore_ascii_case("true"));
        match get("OTEL_TRACES_EXPORTER").as_deref() {
            _ if disabled => return Ok(None),
            Some("none") => return Ok(None),
            None | Some("otlp") => {}
            Some(other) => return Err(format!("OTEL_TRACES_EXPORTER is '{other}'; otlp is the one there is")),
        }
        let grpc = match either("PROTOCOL").as_deref() {
            None | Some("http/protobuf") => false,
            Some("grpc") => true,
            Some(other) => return Err(format!("the OTLP protocol '{other}' is none of http/protobuf and grpc")),
        };
        let place = place_of(&endpoint)?;
        let Some(sampler) = sampler(get("OTEL_TRACES_SAMPLER").as_deref(), get("OTEL_TRACES_SAMPLER_ARG").as_deref())?
        else {
            return Ok(None);
        };
        let number = |name: &str, default: u64| match get(name) {
            None => Ok(default),
            Some(text) => {
                let number = text.parse::<u64>().ok().filter(|n| *n > 0);
                number.ok_or_else(|| format!("{name} is '{text}'; write a number above 0"))
            }
        };
        let ms = |name: &str, default| number(name, default).map(Duration::from_millis);
        let queue = number("OTEL_BSP_MAX_QUEUE_SIZE", 2_048)? as usize;
        Ok(Some(Settings {
            grpc,
            place,
            sampler,
            queue,
            batch: (number("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 512)? as usize).min(queue),
            delay: ms("OTEL_BSP_SCHEDULE_DELAY", 5_000)?,
            timeout: ms("OTEL_BSP_EXPORT_TIMEOUT", 30_000)?,
        }))
    }
}

/// Without user, password and path: those may be secret.
fn place_of(endpoint: &str) -> Result<String, String> {
    let wrong = "the OTLP endpoint is no http://HOST:PORT";
    let (scheme, rest) = endpoint.split_once("://").ok_or(wrong)?;
    match scheme.to_ascii_lowercase().as_str() {
        "http" => {}
        "https" => return Err(
            "the OTLP endpoint is https, and there is no TLS here: name a collector on this host, and let it send on"
                .to_owned(),
        ),
        _ => return Err(wrong.to_owned()),
    }
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let place = authority.rsplit('@').next().unwrap_or_default();
    if place.is_empty() { Err(wrong.to_owned()) } else { Ok(place.to_owned()) }
}

/// `None`: nothing is to be sampled, whatever comes.
fn sampler(name: Option<&str>, argument: Option<&str>) -> Result<Option<Linked>, String> {
    let ratio = || {
        let text = argument.unwrap_or("1");
        let ratio = text.parse::<f64>().ok().filter(|r| (0.0..=1.0).contains(r));
        ratio.ok_or_else(|| format!("OTEL_TRACES_SAMPLER_ARG is '{text}'; write a ratio from 0 to 1"))
    };
    let by_parent = |root| Linked { inner: Sampler::ParentBased(Box::new(root)), by_parent: true };
    let alone = |inner| Linked { inner, by_parent: false };
    Ok(Some(match name.unwrap_or("parentbased_always_on") {
        "always_off" => return Ok(None),
        "always_on" => alone(Sampler::AlwaysOn),
        "traceidratio" => alone(Sampler::TraceIdRatioBased(ratio()?)),
        "parentbased_always_on" => by_parent(Sampler::AlwaysOn),
        "parentbased_always_off" => by_parent(Sampler::AlwaysOff),
        "parentbased_traceidratio" => by_parent(Sampler::TraceIdRatioBased(ratio()?)),
        other => {
            let known = "always_on, always_off, traceidratio, and parentbased_ with one of them";
            return Err(format!("OTEL_TRACES_SAMPLER is '{other}'; it is one of {known}"));
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Option<Settings>, String> {
        Settings::read(&|name| pairs.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned()))
    }

    const ON: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://user:secret@collector:4317/path");

    #[test]
    fn off_until_an_endpoint_is_named_and_off_again_by_any_switch() {
        assert!(read(&[]).unwrap().is_none());
        assert!(read(&[("OTEL_EXPORTER_OTLP_ENDPOINT", " ")]).unwrap().is_none());
        for switch in
            [("OTEL_SDK_DISABLED", "TRUE"), ("OTEL_TRACES_EXPORTER", "none"), ("OTEL_TRACES_SAMPLER", "always_off")]
        {
            assert!(read(&[ON, switch]).unwrap().is_none(), "{switch:?}");
        }
    }

    #[test]
    fn what_is_not_said_is_as_opentelemetry_has_it_and_secrets_are_not_said_on() {
        let settings = read(&[ON]).unwrap().unwrap();
        assert_eq!((settings.queue, settings.batch, settings.grpc), (2_048, 512, false));
        assert_eq!((settings.delay, settings.timeout), (Duration::from_secs(5), Duration::from_secs(30)));
        assert_eq!((settings.place.as_str(), settings.sampler.by_parent), ("collector:4317", true));
        let own = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "grpc");
        assert!(read(&[ON, ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"), own]).unwrap().unwrap().grpc);
        assert_eq!(read(&[ON, ("OTEL_BSP_MAX_QUEUE_SIZE", "100")]).unwrap().unwrap().batch, 100);
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        for (name, value, says) in [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://collector:4318", "TLS"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318", "http://HOST:PORT"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json", "http/json"),
            ("OTEL_TRACES_SAMPLER", "xray", "xray"),
            ("OTEL_BSP_SCHEDULE_DELAY", "5s", "OTEL_BSP_SCHEDULE_DELAY"),
            ("OTEL_TRACES_EXPORTER", "zipkin", "zipkin"),
        ] {
            let pairs = if name == ON.0 { vec![(name, value)] } else { vec![ON, (name, value)] };
            assert!(read(&pairs).is_err_and(|e| e.contains(says)), "{name}={value}");
        }
        let ratio = [ON, ("OTEL_TRACES_SAMPLER", "traceidratio"), ("OTEL_TRACES_SAMPLER_ARG", "2")];
        assert!(read(&ratio).is_err_and(|e| e.contains("from 0 to 1")));
    }
}
