//! Who we are in an account, and what an AWS error means to the person at the keyboard.

use std::process::Command;
use std::sync::Arc;

use serde::Deserialize;

use super::Global;
use crate::aws::{Aws, Caller, Connection, Error, ErrorKind};
use crate::clock::Clock;
use crate::failure::{End, Failure};
use crate::lock::Identity;
use crate::model::Environment;
use crate::steps::Errands;

/// One environment, reached.
#[derive(Clone)]
pub struct Access {
    /// Where.
    pub environment: Arc<Environment>,
    /// Its account and Region.
    pub aws: Aws,
    /// Who we are there.
    pub caller: Caller,
    /// Where steps send commands that have to be run on a machine; nowhere unless the command listens.
    pub errands: Errands,
}

/// The part of the sandbox's state file that leads to it.
#[derive(Deserialize)]
struct SandboxFile {
    endpoint: String,
}

impl Global {
    /// Reaches an environment: its account must be the caller's.
    pub async fn connect(&self, environment: &Environment) -> Result<Access, Failure> {
        let endpoint = if self.options.sandbox { Some(self.sandbox_endpoint()?) } else { None };
        let profile = if self.options.sandbox { None } else { self.profile(environment) };
        let connection = Connection {
            region: environment.region.clone(),
            profile: profile.clone(),
            account_keys: endpoint.is_some().then(|| environment.account.clone()),
            endpoint,
            http: None,
            clock: self.clock.clone(),
            seed: fastrand::u64(..),
        };
        let aws = Aws::connect(connection).await;
        let caller = match aws.sts.caller().await {
            Ok(caller) => caller,
            Err(error) if self.options.sandbox && error.kind == ErrorKind::Network => return Err(no_sandbox().because(error)),
            Err(error) => return Err(refused(error, environment)),
        };
        if caller.account != environment.account {
            return Err(wrong_account(&caller, environment, profile.as_deref()));
        }
        Ok(Access { environment: Arc::new(environment.clone()), aws, caller, errands: Errands::default() })
    }

    /// `--profile`, then the variables, then the environment's own, which credentials given to this very process overrule.
    pub(super) fn profile(&self, environment: &Environment) -> Option<String> {
        let asked = self.options.profile.clone().or_else(|| self.surroundings.profile.clone());
        let own = environment.profile.clone().filter(|_| !self.surroundings.ambient_credentials);
        asked.or(own)
    }

    fn sandbox_endpoint(&self) -> Result<String, Failure> {
        let file = self.surroundings.sandbox_home.as_ref().map(|home| home.join("sandbox.json")).ok_or_else(no_sandbox)?;
        let text = std::fs::read_to_string(&file).map_err(|_| no_sandbox())?;
        let unreadable = |error| Failure::new(End::Access, format!("{} cannot be read", file.display())).because(error);
        let file: SandboxFile = serde_json::from_str(&text).map_err(unreadable)?;
        Ok(file.endpoint)
    }

    /// Who acts, for the lock and the journal.
    pub fn identity(&self, caller: &Caller) -> Identity {
        let via = match (&self.surroundings.run_url, self.surroundings.ci) {
            (Some(url), _) => url.clone(),
            (None, true) => "CI".into(),
            (None, false) => "laptop".into(),
        };
        Identity {
            owner: new_id(&self.clock),
            who: self.who(caller),
            host: host(),
            via,
            arn: caller.arn.clone(),
            cli: env!("CARGO_PKG_VERSION").into(),
        }
    }

    /// The name people know the caller by: the session's or user's; in the sandbox, where everybody is the same caller, the login name.
    pub fn who(&self, caller: &Caller) -> String {
        let session = caller.arn.rsplit(['/', ':']).next().unwrap_or_default();
        match &self.surroundings.user {
            Some(user) if self.options.sandbox || session.is_empty() => user.clone(),
            _ => session.to_string(),
        }
    }
}

/// A new ULID.
pub fn new_id(clock: &Clock) -> String {
    ulid::Ulid::from_parts(clock.wall().as_millisecond().max(0).cast_unsigned(), fastrand::u128(..)).to_string()
}

fn no_sandbox() -> Failure {
    Failure::new(End::Access, "no sandbox is running here").next("adstage sandbox start --detach")
}

fn wrong_account(caller: &Caller, environment: &Environment, profile: Option<&str>) -> Failure {
    let what = format!("{} is in account {}, but you are in {}", environment.name, environment.account, caller.account);
    let profile = profile.map_or_else(|| "no profile is named".to_string(), |name| format!("the profile is \"{name}\""));
    Failure::new(End::Access, what).because(format!("the caller is {}; {profile}", caller.arn)).next("aws configure list-profiles")
}

/// The name of the machine.
fn host() -> String {
    let from_file = || std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let from_tool = || Command::new("uname").arg("-n").output().ok().and_then(|output| String::from_utf8(output.stdout).ok());
    let name = from_file().or_else(from_tool).map(|name| name.trim().to_string());
    name.filter(|name| !name.is_empty()).unwrap_or_else(|| "unknown".into())
}

/// What an AWS error means for a command about this environment.
pub fn refused(error: Error, environment: &Environment) -> Failure {
    let place = format!("{} (account {}, {})", environment.name, environment.account, environment.region);
    match error.kind {
        ErrorKind::NotLoggedIn => {
            let login = environment.profile.as_ref().map(|profile| format!(" --profile {profile}")).unwrap_or_default();
            let failure = Failure::new(End::Access, format!("not logged in to AWS for {place}")).because(error.message);
            failure.next(format!("aws sso login{login}"))
        }
        ErrorKind::Denied => {
            let what = format!("missing permission for {} in {place}", error.action);
            Failure::new(End::Access, what).because(format!("{}: {}", error.code, error.message))
        }
        ErrorKind::Network => {
            Failure::new(End::Unexpected, format!("AWS did not answer {} for {place}", error.action)).because(error.message)
        }
        // Our own word for a row that a newer adstage wrote.
        ErrorKind::Invalid if error.code == "NewerFormat" => {
            Failure::new(End::Unexpected, format!("this adstage is too old for {place}")).because(error.message)
        }
        // DynamoDB's own code for a table that is not there.
        ErrorKind::NotFound if error.code == "ResourceNotFoundException" => no_table(environment),
        _ => Failure::new(End::Unexpected, format!("AWS refused {} for {place}", error.action)).because(error),
    }
}

fn no_table(environment: &Environment) -> Failure {
    let what = format!("there is no state table `{}` in account {}, {}", environment.state_table, environment.account, environment.region);
    Failure::new(End::Refused, what).next(format!("adstage setup {}", environment.name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    fn production() -> Environment {
        let config = config::parse(include_str!("../../examples/adstage.toml"), std::path::Path::new("/adstage.toml"));
        let config = config.expect("the example is valid");
        Environment { profile: Some("shop-prod".into()), ..config.environment("production").expect("it defines production").clone() }
    }

    #[test]
    fn the_operator_is_told_what_an_error_means_and_what_to_type() {
        let ended = Error::new("GetCallerIdentity", ErrorKind::NotLoggedIn, "", "the SSO session has expired");
        let failure = refused(ended, &production());
        assert_eq!(failure.what, "not logged in to AWS for production (account 444455556666, eu-central-1)");
        assert_eq!((failure.end, failure.next), (End::Access, vec!["aws sso login --profile shop-prod".to_string()]));
        let table = Error::new("Query", ErrorKind::NotFound, "ResourceNotFoundException", "not found");
        assert_eq!(refused(table, &production()).next, ["adstage setup production"]);
        let newer =
            Error::new("Query", ErrorKind::Invalid, "NewerFormat", "row LOCK has a format this adstage does not know: it needs 0.9");
        assert_eq!((refused(newer.clone(), &production()).end.code(), refused(newer, &production()).because.len()), (1, 1));
        let denied = Error::new("ModifyRule", ErrorKind::Denied, "AccessDenied", "no");
        assert_eq!(refused(denied, &production()).end, End::Access);
    }

    #[test]
    fn m11_that_aws_does_not_answer_is_an_error_with_its_cause_and_never_a_free_lock() {
        let failure = refused(Error::new("Query", ErrorKind::Network, "", "AWS cannot be reached: no route to host"), &production());
        assert_eq!((failure.end.code(), failure.because), (1, vec!["AWS cannot be reached: no route to host".to_string()]));
    }

    #[test]
    fn both_accounts_are_named_when_they_differ() {
        let caller = Caller { account: "111122223333".into(), arn: "arn:aws:sts::111122223333:assumed-role/deploy/ana".into() };
        let failure = wrong_account(&caller, &production(), Some("staging"));
        assert_eq!(failure.what, "production is in account 444455556666, but you are in 111122223333");
        assert_eq!(failure.end.code(), 4);
    }
}
