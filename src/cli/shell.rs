//! The way onto a review box: the command of `[review]`'s `shell` or `run`, filled in as a list of arguments and run on this machine.
//!
//! Nothing here is given to a local shell, and nothing secret is in an argument: the AWS command line finds its login by the profile.

mod marks;

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt};

use super::Global;
use super::access::Access;
use crate::failure::{End, Failure};
use crate::model::{BoxInstance, Review, ReviewBox, Seconds};
use marks::Marks;

/// How many lines of what a failing way there said are shown.
const TOLD: usize = 10;

/// What a command on a box printed, and how it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Its exit code.
    pub code: u8,
    /// What it printed.
    pub stdout: String,
    /// What it complained of; together with what the way there said.
    pub stderr: String,
}

/// Opens a shell on a box, in this terminal. This process becomes that shell, so this returns only if it cannot be opened.
pub fn open(global: &Global, review: &Review, access: &Access, on: &ReviewBox) -> Result<(), Failure> {
    let way = Way::to(global, review, access, on)?;
    let mut command = way.command(&way.shell, None)?;
    global.report.close();
    let error = command.exec();
    Err(way.cannot_run(&command, "shell", error))
}

/// Runs one command on a box and waits for it, at most so long. The words reach it as they are, whatever characters they hold.
pub async fn run(
    global: &Global,
    review: &Review,
    access: &Access,
    on: &ReviewBox,
    command: &[&str],
    within: Duration,
) -> Result<Output, Failure> {
    let way = Way::to(global, review, access, on)?;
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let ended = tokio::select! {
        ended = way.run(command, Stdio::null(), |piece| stdout.extend(piece), |piece| stderr.extend(piece)) => ended,
        () = global.clock.sleep(within) => {
            let what = format!("{} did not end on {} within {}", command.join(" "), on.name, Seconds(within.as_secs()));
            Err(Failure::new(End::TimedOut, what))
        }
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match ended {
        Ok(code) => Ok(Output { code, stdout: text(&stdout), stderr: text(&stderr) }),
        Err(failure) if stderr.is_empty() => Err(failure),
        Err(failure) => Err(last_lines(&text(&stderr)).into_iter().fold(failure, Failure::evidence)),
    }
}

/// Runs one command on a box for as long as it takes: with this terminal's input and errors, and what it prints given to `print` as it
/// comes. Returns its exit code.
pub async fn stream(
    global: &Global,
    review: &Review,
    access: &Access,
    on: &ReviewBox,
    command: &[&str],
    print: impl FnMut(&[u8]),
) -> Result<u8, Failure> {
    let way = Way::to(global, review, access, on)?;
    way.run(command, Stdio::inherit(), print, |piece| global.report.pass_error(piece)).await
}

/// The way onto one box.
struct Way<'w> {
    on: &'w ReviewBox,
    instance: &'w BoxInstance,
    region: &'w str,
    profile: Option<String>,
    shell: Vec<String>,
    run: Vec<String>,
}

impl<'w> Way<'w> {
    fn to(global: &Global, review: &Review, access: &'w Access, on: &'w ReviewBox) -> Result<Self, Failure> {
        let Some(instance) = &on.instance else {
            let what = format!("the box {} has no machine any more", on.name);
            return Err(Failure::new(End::Refused, what));
        };
        let region = access.environment.region.as_str();
        if !global.options.sandbox {
            let profile = global.profile(&access.environment);
            return Ok(Self { on, instance, region, profile, shell: review.shell.clone(), run: review.run.clone() });
        }
        let program = std::env::current_exe().map_err(anyhow::Error::from)?;
        let shell = [&program.to_string_lossy(), "sandbox", "shell", "{instance}"].map(str::to_string).to_vec();
        let run = [&shell[..], &["--", "sh", "-c", "{command}"].map(str::to_string)].concat();
        Ok(Self { on, instance, region, profile: None, shell, run })
    }

    /// A template with everything filled in.
    fn command(&self, template: &[String], text: Option<&str>) -> Result<Command, Failure> {
        let filled: Result<Vec<String>, String> = template.iter().map(|argument| fill(argument, |name| self.value(name, text))).collect();
        let arguments = filled.map_err(|missing| Failure::new(End::Refused, format!("the box {} has no {missing} yet", self.on.name)))?;
        let (program, arguments) = arguments.split_first().ok_or_else(|| Failure::new(End::Config, "the command in [review] is empty"))?;
        let mut command = Command::new(program);
        command.args(arguments).env("AWS_REGION", self.region);
        if let Some(profile) = &self.profile {
            command.env("AWS_PROFILE", profile);
        }
        Ok(command)
    }

    /// What a placeholder stands for; the inner `None`: nothing yet.
    fn value(&self, name: &str, text: Option<&str>) -> Option<Option<String>> {
        Some(match name {
            "instance" => Some(self.instance.id.clone()),
            "address" => self.instance.address.clone(),
            "region" => Some(self.region.to_string()),
            "box" => Some(self.on.name.to_string()),
            "command" => text.map(str::to_string),
            "command-json" => text.map(|text| json!({ "command": [text] }).to_string()),
            _ => return None,
        })
    }

    /// Runs `review.run` with this command; returns the command's exit code.
    async fn run(
        &self,
        command: &[&str],
        stdin: Stdio,
        mut print: impl FnMut(&[u8]),
        mut complain: impl FnMut(&[u8]),
    ) -> Result<u8, Failure> {
        let mut marks = Marks::new(fastrand::u64(..));
        let mut ready = self.command(&self.run, Some(&marks.script(command)))?;
        ready.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut asynchronous = tokio::process::Command::from(ready);
        let mut child = match asynchronous.kill_on_drop(true).spawn() {
            Ok(child) => child,
            Err(error) => return Err(self.cannot_run(asynchronous.as_std(), "run", error)),
        };
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        tokio::join!(each_piece(stdout, |piece| print(&marks.take(piece))), each_piece(stderr, &mut complain));
        let status = child.wait().await.map_err(anyhow::Error::from)?;
        marks.code().ok_or_else(|| self.lost(status, marks.greeting()))
    }

    /// The way there ended before the command did.
    fn lost(&self, status: ExitStatus, greeting: Option<String>) -> Failure {
        let (name, program) = (&self.on.name, self.run.first().map(String::as_str).unwrap_or_default());
        let what = match greeting {
            Some(_) => format!("{name} cannot be reached: `{program}` ended with {status}"),
            None => format!("the connection to {name} was lost while the command ran: `{program}` ended with {status}"),
        };
        let failure = Failure::new(End::Unexpected, what).next(format!("adstage review show {name}"));
        last_lines(&greeting.unwrap_or_default()).into_iter().fold(failure, Failure::evidence)
    }

    fn cannot_run(&self, command: &Command, setting: &str, error: io::Error) -> Failure {
        let program = command.get_program().to_string_lossy();
        let failure = Failure::new(End::Refused, format!("`{program}`, the way onto {}, cannot be run", self.on.name)).because(error);
        match program.as_ref() {
            "aws" => failure.because("install the AWS command line and its session-manager-plugin, or set `review.shell` and `review.run`"),
            _ => failure.because(format!("`review.{setting}` in adstage.toml names it")),
        }
    }
}

/// Reads to the end; a read that fails is an end.
async fn each_piece(from: Option<impl AsyncRead + Unpin>, mut take: impl FnMut(&[u8])) {
    let Some(mut from) = from else { return };
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        take(&buffer[..count]);
    }
}

fn last_lines(text: &str) -> Vec<&str> {
    let lines: Vec<&str> = text.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    lines[lines.len().saturating_sub(TOLD)..].to_vec()
}

/// Fills in `{name}`s in one pass: what is filled in is never looked at again. `value` is `None` for what is no placeholder; the error names
/// one that has no value.
fn fill(template: &str, value: impl Fn(&str) -> Option<Option<String>>) -> Result<String, String> {
    let (mut filled, mut rest) = (String::new(), template);
    while let Some(at) = rest.find('{') {
        filled.push_str(&rest[..at]);
        rest = &rest[at..];
        let name = rest.find('}').map(|end| &rest[1..end]);
        match name.and_then(|name| Some((name, value(name)?))) {
            Some((name, Some(value))) => {
                filled.push_str(&value);
                rest = &rest[name.len() + 2..];
            }
            Some((name, None)) => return Err(name.to_string()),
            None => {
                filled.push('{');
                rest = &rest[1..];
            }
        }
    }
    filled.push_str(rest);
    Ok(filled)
}

/// One word of a POSIX shell that stands for exactly this text.
pub fn quote(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-./:=@%+,".contains(&byte);
    match !word.is_empty() && word.bytes().all(plain) {
        true => word.to_string(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests;
