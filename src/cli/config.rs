//! `adstage config check` and `adstage config show`

use clap::Subcommand;
use serde_json::json;

use super::Global;
use crate::failure::Failure;

/// Check the configuration, or print what is in force
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    act: Act,
}

#[derive(Debug, Subcommand)]
enum Act {
    /// Report every mistake in adstage.toml at once
    ///
    ///   adstage config check
    #[command(verbatim_doc_comment)]
    Check,
    /// Print every setting in force and the line it comes from
    ///
    ///   adstage config show
    ///   adstage config show production
    #[command(verbatim_doc_comment)]
    Show {
        /// Only this environment's settings, with the defaults merged in
        environment: Option<String>,
    },
}

pub async fn run(args: Args, global: &Global) -> Result<(), Failure> {
    let config = global.config()?;
    match args.act {
        Act::Check => {
            let environments: Vec<&str> = config.environments.keys().map(|name| name.as_str()).collect();
            let value = json!({ "valid": true, "file": config.path, "app": config.app, "environments": environments });
            let text = || format!("{} is valid: {} in {}", config.path.display(), config.app, environments.join(", "));
            global.report.result(&value, text)
        }
        Act::Show { environment } => show(environment.as_deref(), global),
    }
}

fn show(environment: Option<&str>, global: &Global) -> Result<(), Failure> {
    let config = global.config()?;
    let prefix = match environment {
        Some(name) => format!("env.{}.", config.environment(name)?.name),
        None => String::new(),
    };
    let settings: Vec<_> = config.settings.iter().filter(|setting| setting.path.starts_with(&prefix)).collect();
    let longest = settings.iter().map(|setting| setting.path.len() - prefix.len() + setting.value.len() + 3).max().unwrap_or_default();
    global.report.result(&settings, || {
        let line = |setting: &&crate::config::Setting| {
            let said = format!("{} = {}", &setting.path[prefix.len()..], setting.value);
            let origin = setting.line.map_or_else(|| "built in".to_string(), |line| format!("line {line}"));
            format!("{said:<width$}  # {origin}\n", width = longest.min(80))
        };
        settings.iter().map(line).collect()
    })
}
