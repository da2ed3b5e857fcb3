//! That a command does not write over what it writes or reads itself.

use crate::failure::{Failure, Result};
use crate::output;
use crate::reward::Specification;
use crate::run::RunFolder;
use clap::{ArgMatches, ValueHint};
use std::path::{Path, PathBuf};

/// The options that name files to be written.
const WRITTEN: [&str; 4] = ["json", "out", "checkpoint", "picture"];

/// The commands that may put their `--out` in the place of a model that they read.
const IN_PLACE: [(&str, &str); 3] = [("finetune", "model"), ("train", "initial"), ("train", "teacher")];

/// Checks that all files that a command line names are written once, and that results do not take the place of what is read.
///
/// # Errors
/// One sentence naming the file and the options.
pub(crate) fn check(matches: &ArgMatches) -> Result<()> {
    let Some((_, own)) = matches.subcommand() else { return Ok(()) };
    let written = written(own);
    for (k, (name, path)) in written.iter().enumerate() {
        if let Some((other, _)) = written[..k].iter().find(|(_, other)| output::are_one(path, other)) {
            return refuse(path, format!("it is to be written by --{other} and by --{name}, and can be only one of both"));
        }
    }
    check_read(matches, matches)
}

/// Checks that what one command line writes does not take the place of what one reads: the same, or that of the run that it goes on with.
///
/// # Errors
/// One sentence naming the file and the options.
pub(crate) fn check_read(writing: &ArgMatches, reading: &ArgMatches) -> Result<()> {
    let (Some((command, writing)), Some((_, reading))) = (writing.subcommand(), reading.subcommand()) else { return Ok(()) };
    let names = to_be_read(command);
    let mut read: Vec<(&str, PathBuf)> = names.iter().filter_map(|name| Some((name.as_str(), path(reading, name)?))).collect();
    if let Some(reward) = path(reading, "reward") {
        read.extend(Specification::files(&reward.to_string_lossy()).into_iter().map(|file| ("reward", file.to_owned())));
    }
    for (name, path) in written(writing) {
        let is_replaced = |(other, _): &&(&str, PathBuf)| name == "out" && IN_PLACE.contains(&(command, other));
        if let Some((other, _)) = read.iter().filter(|read| !is_replaced(read)).find(|(_, other)| output::are_one(&path, other)) {
            return refuse(&path, format!("--{name} would write over what is read there, the {other}"));
        }
    }
    Ok(())
}

/// The options, and the places, of a command that name files to be read: all that take a path and are not of those written.
fn to_be_read(command: &str) -> Vec<String> {
    let whole = super::command();
    let all = whole.find_subcommand(command).into_iter().flat_map(clap::Command::get_arguments);
    let paths = all.filter(|argument| argument.get_value_hint() == ValueHint::AnyPath).map(|argument| argument.get_id().to_string());
    paths.filter(|name| name != "run" && !WRITTEN.contains(&name.as_str())).collect()
}

/// The files that are written, with the options that say so.
fn written(matches: &ArgMatches) -> Vec<(&'static str, PathBuf)> {
    let mut written: Vec<_> = WRITTEN.into_iter().filter_map(|name| Some((name, path(matches, name)?))).collect();
    if let Some(folder) = path(matches, "run") {
        written.extend(RunFolder::new(&folder).files().map(|file| ("run", file)));
    }
    written
}

fn refuse(path: &Path, what: String) -> Result<()> {
    Err(Failure::input(format!("{}: {what}", path.display())))
}

/// The file that an option names, if the command has this option and it is given.
fn path(matches: &ArgMatches, name: &str) -> Option<PathBuf> {
    let is_known = matches.ids().any(|id| id == name);
    let raw = is_known.then(|| matches.get_raw(name)).flatten()?.next()?;
    (raw != "-").then(|| PathBuf::from(raw))
}
