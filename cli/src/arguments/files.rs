//! That a command does not write over what it writes or reads itself.

use crate::failure::{Failure, Result};
use crate::output;
use crate::run::RunFolder;
use clap::ArgMatches;
use std::path::{Path, PathBuf};

/// The options that name files to be written.
const WRITTEN: [&str; 4] = ["json", "out", "checkpoint", "picture"];

/// The options, and the places, that name files to be read.
const READ: [&str; 6] = ["model", "data", "state", "file", "teacher", "initial"];

/// The commands that may put their `--out` in the place of a model that they read.
const IN_PLACE: [(&str, &str); 3] = [("finetune", "model"), ("train", "initial"), ("train", "teacher")];

/// Checks that all files that a command line names are written once, and that results do not take the place of what is read.
///
/// # Errors
/// One sentence naming the file and the options.
pub(crate) fn check(matches: &ArgMatches) -> Result<()> {
    let Some((command, own)) = matches.subcommand() else { return Ok(()) };
    let mut written: Vec<(&str, PathBuf)> = WRITTEN.into_iter().filter_map(|name| Some((name, path(own, name)?))).collect();
    if let Some(folder) = path(own, "run") {
        let folder = RunFolder::new(&folder);
        written.extend([("run", folder.model()), ("run", folder.checkpoint()), ("run", folder.log()), ("run", folder.config())]);
    }
    let refuse = |path: &Path, what: String| Err(Failure::input(format!("{}: {what}", path.display())));
    for (k, (name, path)) in written.iter().enumerate() {
        if let Some((other, _)) = written[..k].iter().find(|(_, other)| output::are_one(path, other)) {
            return refuse(path, format!("it is to be written by --{other} and by --{name}, and can be only one of both"));
        }
    }
    let mut read: Vec<(&str, PathBuf)> = READ.into_iter().filter_map(|name| Some((name, path(own, name)?))).collect();
    // A reward may name files among its parts.
    if let Some(reward) = path(own, "reward") {
        read.extend(reward.to_string_lossy().split([':', '@', ',']).map(|part| ("reward", PathBuf::from(part))));
    }
    for (name, path) in &written {
        let is_replaced = |(other, _): &&(&str, PathBuf)| *name == "out" && IN_PLACE.contains(&(command, other));
        if let Some((other, _)) = read.iter().filter(|read| !is_replaced(read)).find(|(_, other)| output::are_one(path, other)) {
            return refuse(path, format!("--{name} would write over what is read there, the {other}"));
        }
    }
    Ok(())
}

/// The file that an option names, if the command has this option and it is given.
fn path(matches: &ArgMatches, name: &str) -> Option<PathBuf> {
    let is_known = matches.ids().any(|id| id == name);
    let raw = is_known.then(|| matches.get_raw(name)).flatten()?.next()?;
    (raw != "-").then(|| PathBuf::from(raw))
}
