//! The help of the commands, each of which shows the options that apply to it.

use super::Arguments;
use clap::CommandFactory;

/// The options that every command takes, but which make no difference to this one.
fn idle(command: &str) -> &'static [&'static str] {
    match command {
        "info" | "export" => &["seed", "threads", "device", "precision", "graphs", "verbose"],
        // What a flow model does not have is drawn by the seed.
        "import" => &["threads", "device", "precision", "graphs", "verbose"],
        "device" => &["seed", "device", "precision", "graphs", "quiet", "verbose"],
        "completions" => &["seed", "threads", "device", "precision", "graphs", "json", "quiet", "verbose"],
        _ => &[],
    }
}

/// The command line. Of the options that every command takes, each shows those that make a difference to it.
pub fn command() -> clap::Command {
    let whole = Arguments::command();
    let everywhere: Vec<clap::Arg> = whole.get_arguments().filter(|argument| argument.is_global_set()).cloned().collect();
    // An option of its own takes the place of the one that is handed down.
    whole.mut_subcommands(|own| {
        let hidden = idle(own.get_name());
        let of_its_own = everywhere.iter().filter(|argument| hidden.contains(&argument.get_id().as_str()));
        let of_its_own: Vec<clap::Arg> = of_its_own.map(|argument| argument.clone().hide(true)).collect();
        own.args(of_its_own)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_rewards_keeps_its_lines() {
        for name in ["value", "steer", "search", "finetune"] {
            let mut whole = command().term_width(100);
            whole.build();
            let help = whole.find_subcommand_mut(name).map(|own| own.render_help().to_string()).unwrap();
            for line in crate::reward::HELP.lines() {
                assert!(help.contains(line), "{name}: {line}\n{help}");
            }
        }
    }

    #[test]
    fn what_makes_no_difference_is_not_shown() {
        let help = |name: &str| {
            let mut whole = command();
            whole.build();
            whole.find_subcommand_mut(name).unwrap().render_help().to_string()
        };
        for (name, shown, hidden) in [
            ("info", "--json", "--seed"),
            ("device", "--threads", "--precision"),
            ("import", "--seed", "--graphs"),
            ("completions", "<SHELL>", "--json"),
            ("sample", "--seed", "there is none"),
        ] {
            let help = help(name);
            assert!(help.contains(shown) && !help.contains(hidden), "{help}");
        }
        // Their own come first.
        let sample = help("sample");
        assert!(sample.find("--refine") < sample.find("--seed"), "{sample}");
    }
}
