//! Units as text, quoted as *systemd.service(5)* and *systemd.exec(5)* want it.

use super::service::Service;
use crate::model::ServiceName;

/// The agent itself, started at every boot of an image.
pub(super) const AGENT: &str = "\
[Unit]
Description=adstage agent
After=network-online.target
Wants=network-online.target
StartLimitIntervalSec=0

[Service]
ExecStart=/opt/adstage/bin/adstage agent boot
Restart=on-failure
RestartSec=2

[Install]
WantedBy=multi-user.target
";

/// Name of a service's unit.
pub(super) fn name(service: &ServiceName) -> String {
    format!("adstage-{service}.service")
}

/// A service as a unit.
pub(super) fn render(service: &Service) -> String {
    let environment: String = service
        .variables
        .iter()
        .map(|(name, value)| format!("Environment={}\n", quoted(&format!("{name}={}", value.to_string_lossy()), false)))
        .collect();
    // Both may be starting already; at shutdown it means the reverse.
    let after: String = service.needs.iter().map(|need| format!(" {}", name(need))).collect();
    let user = service.store.as_ref().and_then(|store| store.user.as_ref()).map(|user| format!("User={user}\n")).unwrap_or_default();
    // Secrets must not be in a file: the agent reads them at every start, and becomes the service.
    let secrets = service.secrets.iter().map(|(name, reference)| format!("--secret {name}={reference} "));
    let through = match service.secrets.is_empty() {
        true => String::new(),
        false => format!("/opt/adstage/bin/adstage agent exec {}-- ", secrets.collect::<String>()),
    };
    format!(
        "[Unit]\n\
         Description=adstage service {}\n\
         After=network-online.target{after}\n\
         Wants=network-online.target\n\
         StartLimitIntervalSec=0\n\
         \n\
         [Service]\n\
         ExecStart={through}/bin/sh -c {}\n\
         {user}WorkingDirectory={}\n\
         {environment}\
         Restart=always\n\
         RestartSec=1\n\
         RestartSteps=6\n\
         RestartMaxDelaySec=30\n\
         TimeoutStopSec={}\n\
         StandardOutput=journal\n\
         StandardError=journal\n",
        service.name,
        quoted(&service.run, true),
        service.folder.to_string_lossy().replace('%', "%%"),
        service.grace.as_secs(),
    )
}

/// One word. `%` introduces specifiers everywhere; `$` variables in commands only.
fn quoted(text: &str, command: bool) -> String {
    let mut word = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => word.extend(['\\', c]),
            '%' => word.push_str("%%"),
            '$' if command => word.push_str("$$"),
            '\n' => word.push_str("\\n"),
            '\t' => word.push_str("\\t"),
            '\r' => word.push_str("\\r"),
            c if c.is_control() && c.is_ascii() => word.push_str(&format!("\\x{:02x}", u32::from(c))),
            c => word.push(c),
        }
    }
    word.push('"');
    word
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::service::Store;
    use super::*;
    use crate::model::BackingName;

    #[test]
    fn nothing_in_a_command_or_a_variable_means_anything_to_systemd() {
        let service = Service {
            name: ServiceName::new("web").unwrap(),
            run: "exec bin/web --name \"$NAME\" \\\n  --rate 50%".into(),
            folder: "/opt/adstage/repositories/storefront".into(),
            port: Some(8001),
            health_path: "/up".into(),
            variables: [("GREETING", "a \"b\" $c 5% \\d"), ("PORT", "8001")].map(|(name, value)| (name.to_string(), value.into())).into(),
            secrets: std::collections::BTreeMap::new(),
            needs: vec![ServiceName::new("redis").unwrap()],
            store: None,
            grace: std::time::Duration::from_secs(20),
        };
        insta::assert_snapshot!(render(&service), @r#"
        [Unit]
        Description=adstage service web
        After=network-online.target adstage-redis.service
        Wants=network-online.target
        StartLimitIntervalSec=0

        [Service]
        ExecStart=/bin/sh -c "exec bin/web --name \"$$NAME\" \\\n  --rate 50%%"
        WorkingDirectory=/opt/adstage/repositories/storefront
        Environment="GREETING=a \"b\" $c 5%% \\d"
        Environment="PORT=8001"
        Restart=always
        RestartSec=1
        RestartSteps=6
        RestartMaxDelaySec=30
        TimeoutStopSec=20
        StandardOutput=journal
        StandardError=journal
        "#);
        let (name, user) = (BackingName::new("postgres").unwrap(), Some("postgres".into()));
        let store = Store { name, ready: "true".into(), prepare: None, user, ready_within: Duration::ZERO };
        let unit = render(&Service { store: Some(store), ..service });
        assert!(unit.contains("50%%\"\nUser=postgres\nWorkingDirectory=/opt/"), "{unit}");
    }
}
