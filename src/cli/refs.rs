//! Branches and tags to commits, with `git ls-remote` on the operator's machine, before anything is paid for.

use std::collections::BTreeMap;

use tokio::process::Command;

use crate::failure::{End, Failure};
use crate::model::{Builder, Repository, RepositoryName, Source, nearest};
use crate::plan::Wanted;

/// `--ref storefront=main`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    repository: String,
    reference: String,
}

impl std::str::FromStr for Asked {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((repository, reference)) if !repository.is_empty() && !reference.is_empty() && !reference.starts_with('-') => {
                Ok(Self { repository: repository.into(), reference: reference.into() })
            }
            _ => Err("looks like REPOSITORY=BRANCH, REPOSITORY=TAG or REPOSITORY=COMMIT".into()),
        }
    }
}

/// The commit of every repository that is asked for, and the reference it was asked by.
pub async fn wanted(builder: &Builder, asked: &[Asked]) -> Result<BTreeMap<RepositoryName, Wanted>, Failure> {
    known(builder, asked)?;
    let reference = |name: &RepositoryName| asked.iter().rev().find(|one| one.repository == name.as_str()).map(|one| one.reference.clone());
    let repositories = builder.repositories.iter().filter(|(name, _)| reference(name).is_some());
    let repositories = repositories.map(|(name, repository)| (name.clone(), repository.clone())).collect();
    let commits = resolve(&Builder { repositories, ..builder.clone() }, asked).await?;
    Ok(commits.into_iter().filter_map(|(name, commit)| Some((name.clone(), Wanted { reference: reference(&name)?, commit }))).collect())
}

/// Every repository asked for is one of the image's.
fn known(builder: &Builder, asked: &[Asked]) -> Result<(), Failure> {
    let names = builder.repositories.keys().map(RepositoryName::as_str);
    if let Some(one) = asked.iter().find(|one| !builder.repositories.keys().any(|name| name.as_str() == one.repository)) {
        let failure = Failure::new(End::Usage, format!("there is no repository `{}` in [image.repositories]", one.repository));
        return Err(match nearest(&one.repository, names.clone()) {
            Some(near) => failure.because(format!("did you mean `{near}`?")),
            None => failure.because(format!("it defines {}", names.collect::<Vec<_>>().join(", "))),
        });
    }
    Ok(())
}

/// The commit of every repository.
pub async fn resolve(builder: &Builder, asked: &[Asked]) -> Result<BTreeMap<RepositoryName, String>, Failure> {
    known(builder, asked)?;
    let one = |(name, repository): (&RepositoryName, &Repository)| {
        let reference = asked.iter().rev().find(|one| one.repository == name.as_str()).map(|one| &one.reference);
        let (name, repository) = (name.clone(), repository.clone());
        let reference = reference.unwrap_or(&repository.reference).clone();
        tokio::spawn(async move { commit(&name, &repository, &reference).await.map(|commit| (name, commit)) })
    };
    let lookups: Vec<_> = builder.repositories.iter().map(one).collect();
    let mut commits = BTreeMap::new();
    let mut failures = Vec::new();
    for lookup in lookups {
        match lookup.await.map_err(anyhow::Error::from)? {
            Ok((name, commit)) => drop(commits.insert(name, commit)),
            Err(failure) => failures.push(failure),
        }
    }
    match failures.len() {
        0 => Ok(commits),
        1 => Err(failures.remove(0)),
        count => {
            let all = Failure::new(End::Refused, format!("{count} repositories have no such commit; nothing was begun"));
            Err(failures.iter().fold(all, |all, one| one.because.iter().fold(all.because(&one.what), |all, cause| all.evidence(cause))))
        }
    }
}

/// A full commit is taken as it is: a remote need not list it.
fn is_commit(reference: &str) -> bool {
    reference.len() == 40 && reference.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

async fn commit(name: &RepositoryName, repository: &Repository, reference: &str) -> Result<String, Failure> {
    if is_commit(reference) {
        return Ok(reference.to_string());
    }
    let source = match &repository.source {
        Source::Url(url) => url,
        Source::Path(path) => path,
    };
    let what = format!("{name}: `{reference}` cannot be found in {source}");
    // The peeled form of an annotated tag is its commit. `--` keeps a source from being read as an option.
    let patterns = [format!("refs/heads/{reference}"), format!("refs/tags/{reference}"), format!("refs/tags/{reference}^{{}}")];
    let git = Command::new("git").args(["ls-remote", "--", source]).args(&patterns).arg(reference).env("GIT_TERMINAL_PROMPT", "0").output();
    let output = match git.await {
        Ok(output) => output,
        Err(error) => return Err(Failure::new(End::Refused, "git cannot be run").because(error)),
    };
    if !output.status.success() {
        return Err(Failure::new(End::Refused, what).because(String::from_utf8_lossy(&output.stderr).trim()));
    }
    let listed = String::from_utf8_lossy(&output.stdout);
    let ids: BTreeMap<&str, &str> = listed.lines().filter_map(|line| line.split_once('\t')).map(|(id, name)| (name, id)).collect();
    let [branch, tag, peeled] = &patterns;
    let found = [peeled, branch, tag].into_iter().map(String::as_str).chain([reference]).find_map(|name| ids.get(name));
    let found = found.ok_or_else(|| {
        Failure::new(End::Refused, what).because("it has no such branch or tag; a commit must be given in full (40 digits)")
    })?;
    Ok((*found).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn builder(folder: &std::path::Path) -> Builder {
        let repository = Repository { source: Source::Path(folder.display().to_string()), reference: "main".into(), build: None };
        Builder {
            base: "ami-1".into(),
            instance_type: "m7i.large".into(),
            setup: None,
            time_limit: crate::model::Seconds(60),
            environment: "staging".parse().expect("a name"),
            repositories: BTreeMap::from([("web".parse().expect("a name"), repository)]),
        }
    }

    fn git(folder: &std::path::Path, arguments: &[&str]) -> String {
        let identity = ["-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "commit.gpgsign=false", "-c", "tag.gpgsign=false"];
        let output = std::process::Command::new("git").current_dir(folder).args(identity).args(arguments).output().expect("git runs");
        assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_string()
    }

    #[tokio::test]
    async fn branches_tags_and_commits_become_commits() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path();
        git(path, &["init", "-q", "-b", "main"]);
        git(path, &["commit", "-q", "--allow-empty", "-m", "one"]);
        git(path, &["tag", "-a", "v1", "-m", "v1"]);
        let first = git(path, &["rev-parse", "HEAD"]);
        git(path, &["commit", "-q", "--allow-empty", "-m", "two"]);
        let second = git(path, &["rev-parse", "HEAD"]);
        let of = async |reference: &str| {
            let asked: Vec<Asked> =
                if reference.is_empty() { vec![] } else { vec![format!("web={reference}").parse().expect("a reference")] };
            resolve(&builder(path), &asked).await.map(|commits| commits.into_values().next().unwrap_or_default())
        };
        assert_eq!(of("").await, Ok(second.clone()));
        assert_eq!(of("v1").await, Ok(first));
        assert_eq!(of(&"a".repeat(40)).await, Ok("a".repeat(40)));
        let failure = of("no-such-branch").await.unwrap_err();
        assert_eq!((failure.end, failure.what), (End::Refused, format!("web: `no-such-branch` cannot be found in {}", path.display())));
        let wrong = resolve(&builder(path), &["wbe=main".parse().expect("a reference")]).await.unwrap_err();
        assert_eq!(wrong.because, ["did you mean `web`?"]);
        assert!("web".parse::<Asked>().is_err() && "web=--upload-pack=x".parse::<Asked>().is_err());
    }
}
