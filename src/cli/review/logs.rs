//! `adstage review logs`: what the services and backing stores of a box print.

use std::time::Duration;

use serde_json::json;

use super::super::{Global, shell};
use super::{Reached, reach};
use crate::failure::{End, Failure};
use crate::model::{BoxName, Review, nearest};

/// Reading the ends of some files takes no longer.
const READ_WITHIN: Duration = Duration::from_secs(60);

/// Run on the box, with the number of lines, `yes` or `no` (to follow), and names. The agent's services write to the journal where systemd
/// keeps them, else to files; either way each part comes after `tail`'s heading.
const SCRIPT: &str = r#"
lines=$1 follow=$2; shift 2
if [ -z "${ADSTAGE_ROOT:-}" ] && [ -d /run/systemd/system ]; then
  journal=journalctl
  [ "$(id -u)" = 0 ] || ! sudo -n true 2>/dev/null || journal="sudo -n journalctl"
  if [ "$follow" = yes ]; then
    for name; do set -- "$@" -u "adstage-$name.service"; shift; done
    exec $journal --follow --lines "$lines" --no-hostname "$@"
  fi
  for name; do
    echo "==> $name.log <=="
    $journal --unit "adstage-$name.service" --lines "$lines" --output cat --no-pager --quiet
  done
  exit
fi
cd "${ADSTAGE_ROOT:-}/var/log/adstage" || exit
for name; do
  if [ -e "$name.log" ] || [ "$follow" = yes ]; then set -- "$@" "$name.log"; fi
  shift
done
[ $# -gt 0 ] || exit 0
if [ "$follow" = yes ]; then exec tail -v -n "$lines" -F "$@" 2>/dev/null; fi
exec tail -v -n "$lines" "$@"
"#;

/// Show what the services and backing stores of a box have printed
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The box
    name: BoxName,
    /// One service or backing store [default: all, each line after its name]
    service: Option<String>,
    /// Go on showing what they print, until Ctrl-C
    #[arg(short, long)]
    follow: bool,
    /// So many lines of each, the last ones
    #[arg(short = 'n', long, value_name = "N", default_value_t = 50)]
    lines: u32,
}

pub(super) async fn run(args: &Args, global: &Global) -> Result<(), Failure> {
    if args.follow && global.report.json() {
        return Err(Failure::new(End::Usage, "--follow never ends, so it has no JSON result"));
    }
    let names = names(global.config()?.review()?, args.service.as_deref())?;
    let Reached { review, access, found } = reach(&args.name, global).await?;
    let lines = args.lines.to_string();
    let mut command = vec!["sh", "-c", SCRIPT, "logs", &lines, if args.follow { "yes" } else { "no" }];
    command.extend(names.iter().map(String::as_str));
    let mut parts = Parts::default();
    if args.follow {
        let one = args.service.is_some();
        let show = |text: Vec<(String, String)>| text.iter().for_each(|line| global.report.pass(shown(line, one).as_bytes()));
        let code = shell::stream(global, review, &access, &found, &command, |piece| show(parts.take(piece, &names))).await?;
        show(parts.rest(&names));
        global.pass_on(code);
        return Ok(());
    }
    let output = shell::run(global, review, &access, &found, &command, READ_WITHIN).await?;
    if output.code != 0 {
        let failure = Failure::new(End::Unexpected, format!("the logs of {} cannot be read", args.name));
        return Err(output.stderr.lines().fold(failure, Failure::evidence));
    }
    let mut read = parts.take(output.stdout.as_bytes(), &names);
    read.extend(parts.rest(&names));
    let of = |name: &String| read.iter().filter(|(part, _)| part == name).map(|(_, line)| line.clone()).collect::<Vec<_>>();
    let logs: serde_json::Map<_, _> = names.iter().map(|name| (name.clone(), json!(of(name)))).collect();
    let value = json!({ "box": args.name, "logs": logs });
    global.report.result(&value, || read.iter().map(|line| shown(line, args.service.is_some())).collect())
}

/// Whose logs: the services first.
fn names(review: &Review, asked: Option<&str>) -> Result<Vec<String>, Failure> {
    let services = review.environment.services.iter().map(|service| service.name.to_string());
    let all: Vec<String> = services.chain(review.backing.keys().map(ToString::to_string)).collect();
    match asked {
        None => Ok(all),
        Some(name) if all.iter().any(|known| known == name) => Ok(vec![name.to_string()]),
        Some(name) => {
            let failure = Failure::new(End::Usage, format!("boxes have no service and no backing store `{name}`"));
            Err(match nearest(name, all.iter().map(String::as_str)) {
                Some(near) => failure.because(format!("did you mean `{near}`?")),
                None => failure.because(format!("they have {}", all.join(", "))),
            })
        }
    }
}

/// A line as it is shown: with its service's name, unless only that was asked for.
fn shown((name, line): &(String, String), alone: bool) -> String {
    if alone || name.is_empty() { format!("{line}\n") } else { format!("{name} | {line}\n") }
}

/// Cuts what `tail -v` prints into lines of each file.
#[derive(Debug, Default)]
struct Parts {
    held: Vec<u8>,
    name: String,
    /// An empty line that may belong to the next heading.
    gap: bool,
}

impl Parts {
    /// The lines that are whole by now, each with its file's name.
    fn take(&mut self, printed: &[u8], names: &[String]) -> Vec<(String, String)> {
        self.held.extend_from_slice(printed);
        let whole = self.held.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let whole: Vec<u8> = self.held.drain(..whole).collect();
        let text = String::from_utf8_lossy(&whole).into_owned();
        let mut lines = Vec::new();
        for line in text.lines() {
            let heading = line.strip_prefix("==> ").and_then(|rest| rest.strip_suffix(".log <=="));
            if let Some(name) = heading.filter(|heading| names.iter().any(|name| name == heading)) {
                (self.name, self.gap) = (name.to_string(), false);
                continue;
            }
            if std::mem::replace(&mut self.gap, line.is_empty()) {
                lines.push((self.name.clone(), String::new()));
            }
            if !line.is_empty() {
                lines.push((self.name.clone(), line.to_string()));
            }
        }
        lines
    }

    /// What is left at the end.
    fn rest(&mut self, names: &[String]) -> Vec<(String, String)> {
        if self.held.is_empty() { Vec::new() } else { self.take(b"\n", names) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headings_become_names_however_the_text_arrives() {
        let text = "==> web.log <==\none\n\n==> not-a-service.log <==\n\n\n==> redis.log <==\nready\nhalf";
        let names = ["web".to_string(), "redis".to_string()];
        let expected = "web | one\nweb | \nweb | ==> not-a-service.log <==\nweb | \nredis | ready\nredis | half\n";
        for piece in [1, 4, 1000] {
            let mut parts = Parts::default();
            let mut lines: Vec<_> = text.as_bytes().chunks(piece).flat_map(|piece| parts.take(piece, &names)).collect();
            lines.extend(parts.rest(&names));
            assert_eq!(lines.iter().map(|line| shown(line, false)).collect::<String>(), expected);
        }
    }
}
