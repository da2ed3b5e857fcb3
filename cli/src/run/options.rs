//! The options of a run as its folder keeps them, and a command line that goes on with them.

use super::{Options, RunFolder};
use crate::arguments::{Arguments, Command, check_files, check_read, command as whole, sentence};
use crate::commands::train::{Kind, Loss};
use crate::failure::{Failure, Result};
use clap::parser::ValueSource;
use clap::{ArgMatches, FromArgMatches, ValueHint};
use serde_json::Value;
use std::ffi::OsString;
use std::path::PathBuf;

/// The commands whose runs have a folder.
const COMMANDS: [&str; 2] = ["train", "finetune"];

/// The name under which a run keeps which of them it is of.
const COMMAND: &str = "command";

/// The command whose run these options are of.
pub fn command_of(options: &Options) -> &str {
    options.get(COMMAND).and_then(Value::as_str).unwrap_or(COMMANDS[0])
}

/// What names the place of the run itself, or makes no difference to it.
const APART: [&str; 10] = ["run", "resume", "out", "checkpoint", "threads", "json", "quiet", "verbose", "help", "version"];

/// What a command line says, completed: `mfm train --run DIR --resume` takes all options that DIR keeps, and so does `mfm finetune`.
///
/// # Errors
/// If the folder's options cannot be read, or one that is given differs from them.
pub(crate) fn complete(matches: &ArgMatches) -> Result<Arguments> {
    let mut arguments = parsed(matches)?;
    check_files(matches)?;
    let Some((command, own)) = matches.subcommand().filter(|(name, _)| COMMANDS.contains(name)) else { return Ok(arguments) };
    are_of_use(command, own)?;
    let kept = match own.get_one::<PathBuf>("run") {
        Some(path) if own.get_flag("resume") => RunFolder::new(path).options()?.map(|kept| (path, kept)),
        _ => None,
    };
    let Some((path, kept)) = kept else {
        if let Some(run) = run_of(&mut arguments.command) {
            *run.options = options(command, own, false)?;
        }
        return Ok(arguments);
    };
    let of = command_of(&kept);
    if of != command {
        return Err(Failure::input(format!("--run {}: the run that it holds is of mfm {of}, not of mfm {command}", path.display())));
    }
    for (name, value) in options(command, own, true)? {
        let before = kept.get(&name);
        if before != Some(&value) {
            let before = before.map_or_else(|| "without it".into(), |before| format!("with {}", shown(before)));
            let given = if value.is_boolean() { String::new() } else { format!(" {}", shown(&value)) };
            let sentence =
                format!("--{name}{given}: the run in {} was started {before}; a run goes on with its own options", path.display());
            return Err(Failure::input(sentence));
        }
    }
    let config = format!("the options in {}", path.display());
    let line = line(command, &kept).map_err(|failure| failure.at(&config))?;
    let kept_matches = whole().try_get_matches_from(line).map_err(|error| Failure::input(sentence(&error)).at(&config))?;
    check_read(matches, &kept_matches)?;
    let mut place = std::mem::replace(&mut arguments, parsed(&kept_matches).map_err(|failure| failure.at(&config))?);
    if let (Some(run), Some(given)) = (run_of(&mut arguments.command), run_of(&mut place.command)) {
        (*run.folder, *run.resume, *run.options) = (given.folder.take(), true, kept);
    }
    let Arguments { threads, json, quiet, verbose, .. } = place;
    Ok(Arguments { threads, json, quiet, verbose, ..arguments })
}

/// Checks that how often a run is saved or logged is said where it is saved or logged at all.
fn are_of_use(command: &str, matches: &ArgMatches) -> Result<()> {
    let is_given = |name: &str| matches.ids().any(|id| id == name) && matches.value_source(name) == Some(ValueSource::CommandLine);
    // A run that goes on has most of its options from its folder.
    if command == "train" && !is_given("resume") {
        fit_the_network(&is_given, matches)?;
    }
    if is_given("run") {
        return Ok(());
    }
    if is_given("log_every") {
        return Err(Failure::input("--log-every: the log is kept in the run's folder, which --run names"));
    }
    if is_given("checkpoint_every") && !is_given("checkpoint") {
        let places = if command == "train" { "--run or --checkpoint" } else { "--run" };
        return Err(Failure::input(format!("--checkpoint-every: {places} names the place of checkpoints, and is not given")));
    }
    Ok(())
}

/// Checks that no option of another kind of network, or of labels, jumps or states that are not trained on, is given.
fn fit_the_network(is_given: &impl Fn(&str) -> bool, matches: &ArgMatches) -> Result<()> {
    let given = |names: &[&'static str]| names.iter().copied().find(|name| is_given(name)).map(|name| name.replace('_', "-"));
    let refuse = |name: &str, what: &str| Err(Failure::input(format!("--{name}: {what}")));
    let is_dit = matches.get_one("network") == Some(&Kind::Dit);
    match given(if is_dit { &["width", "depth", "frequencies"] } else { &["size", "patch", "channels", "recompute"] }) {
        Some(name) if is_dit => return refuse(&name, "it is for --network mlp"),
        Some(name) => return refuse(&name, "it is for --network dit"),
        None => {}
    }
    match given(&["label_dropout"]) {
        Some(name) if !matches.get_flag("labels") => return refuse(&name, "it is for --labels"),
        _ => {}
    }
    let loss = matches.get_one("consistency");
    match (given(&["longest_jump"]), given(&["at_zero", "state_power"])) {
        (Some(name), _) if matches!(loss, Some(Loss::None | Loss::Flow)) => refuse(&name, "there are no jumps without a consistency loss"),
        (_, Some(name)) if loss == Some(&Loss::Flow) => refuse(&name, "a flow model knows no states but those at t = 0"),
        _ => Ok(()),
    }
}

/// What the arguments of such a command say about its run.
struct Run<'a> {
    folder: &'a mut Option<PathBuf>,
    resume: &'a mut bool,
    options: &'a mut Options,
}

fn run_of(command: &mut Command) -> Option<Run<'_>> {
    match command {
        Command::Train(own) => Some(Run { folder: &mut own.run, resume: &mut own.resume, options: &mut own.options }),
        Command::Finetune(own) => Some(Run { folder: &mut own.run, resume: &mut own.resume, options: &mut own.options }),
        _ => None,
    }
}

fn parsed(matches: &ArgMatches) -> Result<Arguments> {
    Arguments::from_arg_matches(matches).map_err(|error| Failure::input(sentence(&error)))
}

/// The options of a command by their names: all that have a value, with the command's own name, or those `given` on the command line.
fn options(name: &str, matches: &ArgMatches, given: bool) -> Result<Options> {
    let command = whole();
    let own = command.find_subcommand(name).into_iter().flat_map(|command| command.get_arguments());
    let everywhere = command.get_arguments().filter(|argument| argument.is_global_set());
    let mut options = Options::new();
    if !given {
        options.insert(COMMAND.into(), name.into());
    }
    for argument in own.chain(everywhere) {
        let id = argument.get_id().as_str();
        let is_given = matches.value_source(id) == Some(ValueSource::CommandLine);
        if APART.contains(&id) || (given && !is_given) {
            continue;
        }
        if !argument.get_action().takes_values() {
            if matches.get_flag(id) {
                options.insert(id.replace('_', "-"), Value::Bool(true));
            }
        } else if let Some(raw) = matches.get_raw(id).and_then(|mut values| values.next()) {
            let text =
                raw.to_str().ok_or_else(|| Failure::input(format!("--{id}: a run's folder cannot keep {raw:?}, which is no UTF-8")))?;
            // A path stays as it is: 007 is no 7.
            let kept = if argument.get_value_hint() == ValueHint::AnyPath { text.into() } else { value(text) };
            options.insert(id.replace('_', "-"), kept);
        }
    }
    Ok(options)
}

/// A number as such, so that 1e-3 is 0.001, else text.
fn value(text: &str) -> Value {
    match (text.parse::<u64>(), text.parse::<f64>()) {
        (Ok(whole), _) => whole.into(),
        (_, Ok(number)) if number.is_finite() && number.fract() == 0.0 && (0.0..1e15).contains(&number) => (number as u64).into(),
        (_, Ok(number)) => serde_json::Number::from_f64(number).map_or_else(|| text.into(), Value::Number),
        _ => text.into(),
    }
}

fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The command line of a command's options.
///
/// # Errors
/// If a value is neither text, nor a number, nor a flag.
fn line(command: &str, options: &Options) -> Result<Vec<OsString>> {
    let all = whole();
    let is_positional = |name: &str| {
        all.find_subcommand(command).is_some_and(|own| own.get_positionals().any(|argument| argument.get_id().as_str() == name))
    };
    let mut line: Vec<OsString> = ["mfm", command, "--run", "."].map(Into::into).to_vec();
    let (placed, named): (Vec<_>, Vec<_>) = options.iter().filter(|(name, _)| *name != COMMAND).partition(|(name, _)| is_positional(name));
    for (name, value) in named {
        match value {
            Value::Bool(true) => line.push(format!("--{name}").into()),
            Value::Bool(false) => {}
            Value::Number(_) | Value::String(_) => line.push(format!("--{name}={}", shown(value)).into()),
            _ => return Err(Failure::input(format!("{name} is {value}, but must be text, a number, true or false"))),
        }
    }
    line.push("--".into());
    line.extend(placed.into_iter().map(|(_, value)| shown(value).into()));
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &[&str]) -> Result<Arguments> {
        Arguments::of(line)
    }

    fn train(arguments: &Arguments) -> &crate::commands::train::Arguments {
        match &arguments.command {
            Command::Train(train) => train,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_path_is_no_number() {
        let kept = |path: &str| train(&parse(&["mfm", "train", path, "--run", "there-is-none"]).unwrap()).options["data"].clone();
        assert_eq!((kept("007"), kept("1.10")), ("007".into(), "1.10".into()));
    }

    #[test]
    fn a_run_goes_on_with_its_own_options() {
        let folder = tempfile::tempdir().unwrap();
        let run = folder.path().join("run");
        let run = run.to_str().unwrap();
        let started = [
            "mfm",
            "train",
            "-1.csv",
            "--run",
            run,
            "--steps",
            "70",
            "--learning-rate",
            "1e-3",
            "--labels",
            "--network",
            "dit",
            "--size",
            "16x1x2",
            "--seed",
            "5",
        ];
        // A file's name may begin with a dash after --.
        let started = [&started[..2], &started[3..], &["--", "-1.csv"]].concat();
        let first = parse(&started).unwrap();
        RunFolder::new(std::path::Path::new(run)).create(&train(&first).options).unwrap();
        let kept = RunFolder::new(std::path::Path::new(run)).options().unwrap().unwrap();
        assert_eq!((&kept["data"], &kept["steps"], &kept["labels"]), (&"-1.csv".into(), &70.into(), &true.into()));
        assert!(!kept.contains_key("threads") && !kept.contains_key("recompute") && kept["consistency"] == "semigroup");

        let resumed = parse(&["mfm", "train", "--run", run, "--resume", "--threads", "2", "-q"]).unwrap();
        assert_eq!((resumed.seed, resumed.threads, resumed.quiet), (5, Some(2), true));
        let (old, new) = (train(&first), train(&resumed));
        assert_eq!(format!("{old:?}"), format!("{:?}", crate::commands::train::Arguments { resume: false, ..new.clone() }));
        // What agrees may be said again; what does not is refused by its name.
        assert!(parse(&[&started[..], &[]].concat()).is_ok());
        assert!(parse(&["mfm", "train", "--run", run, "--resume", "--learning-rate", "0.001"]).is_ok());
        let complaint = |option: &[&str]| parse(&[&["mfm", "train", "--run", run, "--resume"], option].concat()).unwrap_err().to_string();
        assert!(
            complaint(&["--steps", "71"]).contains("--steps 71: the run in")
                && complaint(&["--steps", "71"]).contains("was started with 70")
        );
        // Also what is a default.
        assert!(
            complaint(&["--steps", "3000"]).contains("was started with 70") && complaint(&["--seed", "0"]).contains("was started with 5")
        );
        assert!(complaint(&["--recompute"]).contains("was started without it"));
        let config = folder.path().join("run/config.json");
        // Numbers come back to the last bit, paths as they were, and a flag that is false is none.
        let text = std::fs::read_to_string(&config).unwrap();
        let edited = text
            .replace("\"labels\": true", "\"labels\": false")
            .replace("\"-1.csv\"", "\"007\"")
            .replace("0.001", "0.0051248178375505404");
        assert_ne!(edited, text);
        std::fs::write(&config, edited).unwrap();
        let resumed = parse(&["mfm", "train", "--run", run, "--resume", "--learning-rate", "0.0051248178375505404"]).unwrap();
        assert_eq!(train(&resumed).learning_rate, "0.0051248178375505404".parse::<f64>().unwrap());
        assert!(!train(&resumed).labels && train(&resumed).data.as_deref() == Some(std::path::Path::new("007")));
        std::fs::write(&config, text.replace("\"labels\": true", "\"labels\": [1]")).unwrap();
        assert!(complaint(&[]).contains("labels is [1], but must be text"), "{}", complaint(&[]));
        std::fs::write(config, "{").unwrap();
        assert!(complaint(&[]).contains("config.json"));
    }
}
