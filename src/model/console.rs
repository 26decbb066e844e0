//! What the agent tells the world through an instance's console, which everybody who may describe the instance can read without
//! reaching it: one JSON object per line, after a fixed prefix, among whatever else the machine prints there.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{BackingName, RepositoryName, ServiceName};

const PREFIX: &str = "adstage-agent ";

/// Lines of output a marker may carry, and characters per line: EC2 keeps 64 KiB of console in all.
const TAIL_LINES: usize = 20;
const TAIL_WIDTH: usize = 300;

/// One marker line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum ConsoleLine {
    /// A builder is through: repositories cloned and built, manifest written.
    Provisioned {
        /// Commit of each repository.
        commits: BTreeMap<RepositoryName, String>,
    },
    /// A builder gave up. Terminal.
    ProvisionFailed {
        /// The repository it failed on, if it came so far.
        #[serde(default)]
        repository: Option<RepositoryName>,
        /// What went wrong, one line.
        what: String,
        /// The last lines of output.
        #[serde(default)]
        tail: Vec<String>,
    },
    /// The agent knows what to be and starts it.
    Booted {
        /// The services it runs.
        services: Vec<ServiceName>,
    },
    /// A worker's instance is there and does not work: its services are held, or were told to finish what they have.
    Held {
        /// The services.
        services: Vec<ServiceName>,
    },
    /// A worker's instance was made active: its services are started.
    Active {
        /// The services.
        services: Vec<ServiceName>,
    },
    /// Every service is up: alive and, with a port, answering its health path.
    Ready {
        /// The services.
        services: Vec<ServiceName>,
    },
    /// A service runs, but for a while now its own health path did not answer as it should; said once per change of the answer.
    Unwell {
        /// Which.
        service: ServiceName,
        /// What its health path answered: `GET /up -> 503 cannot reach the stock`, `no answer on port 8001`.
        answer: String,
        /// The last lines it wrote.
        #[serde(default)]
        tail: Vec<String>,
    },
    /// A service ended; it will be started again.
    Exited {
        /// Which.
        service: ServiceName,
        /// Exit code; 128 + n when signal n ended it, as shells count.
        code: i32,
        /// Starts after the first one, so far.
        restarts: u32,
        /// The last lines it wrote.
        #[serde(default)]
        tail: Vec<String>,
    },
    /// A service ends as soon as it is started, again and again. Terminal evidence, although it is still being restarted.
    CrashLooping {
        /// Which.
        service: ServiceName,
        /// Starts after the first one, so far.
        restarts: u32,
        /// The last lines it wrote.
        #[serde(default)]
        tail: Vec<String>,
    },
    /// The release's own command has run on this instance, or never will.
    ReleaseCommand {
        /// Whose.
        service: ServiceName,
        /// The operation that asked for it.
        operation: String,
        /// Exit code; 128 + n when signal n ended it. None: it was killed at its deadline, or was cut short with the agent.
        code: Option<i32>,
        /// The last lines it wrote.
        #[serde(default)]
        tail: Vec<String>,
    },
    /// The agent cannot run anything here. Terminal.
    BootFailed {
        /// Why, one line.
        what: String,
    },
    /// A review box fetches a repository at another commit than its image's.
    Fetching {
        /// Which.
        repository: RepositoryName,
        /// What was asked for.
        #[serde(rename = "ref")]
        reference: String,
        /// The commit.
        commit: String,
    },
    /// A review box runs a repository's build.
    Building {
        /// Which.
        repository: RepositoryName,
    },
    /// A repository of a review box is at the commit asked for, and built.
    Built {
        /// Which.
        repository: RepositoryName,
        /// The commit.
        commit: String,
    },
    /// Somebody works in a repository of a review box: it is left as it is.
    Kept {
        /// Which.
        repository: RepositoryName,
        /// The commit it is at.
        commit: String,
        /// Files with uncommitted changes, the first of them.
        #[serde(default)]
        files: Vec<String>,
    },
    /// A review box cannot have a repository at the commit asked for, or its build fails. Terminal: nothing is started.
    CheckoutFailed {
        /// Which.
        repository: RepositoryName,
        /// What went wrong, one line.
        what: String,
        /// The last lines of output.
        #[serde(default)]
        tail: Vec<String>,
    },
    /// A backing store takes requests.
    BackingUp {
        /// Which.
        store: BackingName,
    },
    /// A backing store cannot be prepared, or takes no requests for too long. Terminal: what needs it is not started.
    BackingFailed {
        /// Which.
        store: BackingName,
        /// What went wrong, one line.
        what: String,
        /// The last lines of output.
        #[serde(default)]
        tail: Vec<String>,
    },
    /// When a review box's fuse burns down; said again whenever that was changed.
    Expires {
        /// RFC 3339.
        at: String,
    },
    /// A review box's fuse has burnt down: it shuts itself down.
    Expired {
        /// RFC 3339.
        at: String,
    },
}

impl ConsoleLine {
    /// As a line of the console, without its end.
    pub fn render(&self) -> String {
        // A closed enum of texts and numbers always becomes JSON.
        format!("{PREFIX}{}", serde_json::to_string(self).unwrap_or_default())
    }

    /// The marker on one line of a console, if there is one. Consoles put time stamps and unit names in front.
    pub fn parse(line: &str) -> Option<Self> {
        let (_, json) = line.split_once(PREFIX)?;
        serde_json::Deserializer::from_str(json).into_iter().next()?.ok()
    }

    /// Every marker of a console, oldest first.
    pub fn all_of(console: &str) -> Vec<Self> {
        console.lines().filter_map(Self::parse).collect()
    }

    /// The newest marker of a console.
    pub fn last_of(console: &str) -> Option<Self> {
        console.lines().rev().find_map(Self::parse)
    }

    /// What was said before it is of another life of the services.
    pub fn begins_anew(&self) -> bool {
        matches!(self, Self::Ready { .. } | Self::Held { .. } | Self::Active { .. })
    }

    /// True when waiting longer will not help.
    pub fn is_terminal_failure(&self) -> bool {
        matches!(
            self,
            Self::ProvisionFailed { .. }
                | Self::CrashLooping { .. }
                | Self::BootFailed { .. }
                | Self::CheckoutFailed { .. }
                | Self::BackingFailed { .. }
                | Self::Expired { .. }
        )
    }

    /// The last lines of output it carries.
    pub fn tail(&self) -> &[String] {
        match self {
            Self::ProvisionFailed { tail, .. }
            | Self::Unwell { tail, .. }
            | Self::Exited { tail, .. }
            | Self::CrashLooping { tail, .. }
            | Self::ReleaseCommand { tail, .. }
            | Self::CheckoutFailed { tail, .. }
            | Self::BackingFailed { tail, .. } => tail,
            _ => &[],
        }
    }

    /// For people, one line.
    pub fn describe(&self) -> String {
        let listed = |services: &[ServiceName]| services.iter().map(ServiceName::as_str).collect::<Vec<_>>().join(", ");
        match self {
            Self::Provisioned { .. } => "provisioned".into(),
            Self::ProvisionFailed { repository: Some(repository), what, .. } => format!("{repository}: {what}"),
            Self::ProvisionFailed { repository: None, what, .. } => what.clone(),
            Self::Booted { services } => format!("started {}", listed(services)),
            Self::Held { services } => format!("{} held until it is made active", listed(services)),
            Self::Active { services } => format!("{} made active", listed(services)),
            Self::Ready { services } => format!("{} up", listed(services)),
            Self::Unwell { service, answer, .. } => format!("{service} runs but is unwell: {answer}"),
            Self::Exited { service, code, .. } => format!("{service} exited with {code}"),
            Self::CrashLooping { service, restarts, .. } => format!("{service} exits as soon as it starts ({restarts} restarts)"),
            Self::ReleaseCommand { service, code: Some(code), .. } => format!("the release command of {service} exited {code}"),
            Self::ReleaseCommand { service, code: None, .. } => format!("the release command of {service} was cut short"),
            Self::BootFailed { what } => format!("the agent could not start: {what}"),
            Self::Fetching { repository, reference, commit } if reference == commit => format!("fetching {repository} at {commit}"),
            Self::Fetching { repository, reference, commit } => format!("fetching {repository} at {reference} ({commit})"),
            Self::Building { repository } => format!("building {repository}"),
            Self::Built { repository, commit } => format!("{repository} is at {commit}, built"),
            Self::Kept { repository, commit, files } if files.is_empty() => {
                format!("{repository} was moved to {commit} by hand and is left as it is")
            }
            Self::Kept { repository, files, .. } => {
                format!("{repository} has uncommitted changes and is left as it is: {}", files.join(", "))
            }
            Self::CheckoutFailed { repository, what, .. } => format!("{repository}: {what}"),
            Self::BackingUp { store } => format!("{store} up"),
            Self::BackingFailed { store, what, .. } => format!("{store}: {what}"),
            Self::Expires { at } => format!("expires at {at}"),
            Self::Expired { at } => format!("expired at {at}: shutting down"),
        }
    }
}

/// The end of a text, cut to what a marker may carry.
pub fn tail_of(text: &str) -> Vec<String> {
    let clean = |line: &str| line.chars().filter(|c| !c.is_control()).take(TAIL_WIDTH).collect::<String>();
    let mut lines: Vec<String> = text.lines().rev().map(clean).filter(|line| !line.trim().is_empty()).take(TAIL_LINES).collect();
    lines.reverse();
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn web() -> ServiceName {
        ServiceName::new("web").unwrap()
    }

    #[test]
    fn markers_survive_a_real_console() {
        let exited = ConsoleLine::Exited { service: web(), code: 137, restarts: 1, tail: vec!["oh \"no\"".into()] };
        let ready = ConsoleLine::Ready { services: vec![web()] };
        assert_eq!(exited.render(), r#"adstage-agent {"event":"exited","service":"web","code":137,"restarts":1,"tail":["oh \"no\""]}"#);
        let console = format!(
            "gent {{\"event\":\"booted\"\r\n[   12.25] cloud-init[871]: {}\r\n[   13.00] systemd[1]: Reached target\r\n{}\r\nadstage-agent {{\"event\":\"rea",
            ready.render(),
            exited.render()
        );
        assert_eq!(ConsoleLine::all_of(&console), [ready, exited.clone()]);
        assert_eq!(ConsoleLine::last_of(&console), Some(exited));
        assert_eq!(ConsoleLine::last_of("login: "), None);
    }

    #[test]
    fn a_shell_script_may_write_one_with_few_fields() {
        let line = r#"adstage-agent {"event":"provision-failed","what":"setup exited with 2"}"#;
        let failed = ConsoleLine::parse(line).unwrap();
        assert!(failed.is_terminal_failure());
        assert_eq!(failed.describe(), "setup exited with 2");
    }

    #[test]
    fn an_unwell_service_is_told_with_its_answer() {
        let line = r#"adstage-agent {"event":"unwell","service":"web","answer":"GET /up -> 503 no stock"}"#;
        let unwell = ConsoleLine::parse(line).unwrap();
        assert_eq!(unwell, ConsoleLine::Unwell { service: web(), answer: "GET /up -> 503 no stock".into(), tail: vec![] });
        assert!(!unwell.is_terminal_failure(), "it may recover");
        assert_eq!(unwell.describe(), "web runs but is unwell: GET /up -> 503 no stock");
        let with_tail = ConsoleLine::Unwell { service: web(), answer: "no answer on port 8001".into(), tail: vec!["oh".into()] };
        assert_eq!(
            with_tail.render(),
            r#"adstage-agent {"event":"unwell","service":"web","answer":"no answer on port 8001","tail":["oh"]}"#
        );
        assert_eq!(ConsoleLine::parse(&with_tail.render()).unwrap().tail(), ["oh"]);
    }

    #[test]
    fn a_tail_is_short_and_printable() {
        let text: String = (0..100).map(|n| format!("\u{1b}[31mline {n}\n\n")).collect();
        let tail = tail_of(&text);
        assert_eq!((tail.len(), tail[19].as_str()), (20, "[31mline 99"));
        assert_eq!(tail_of(&"x".repeat(5_000))[0].len(), 300);
    }
}
