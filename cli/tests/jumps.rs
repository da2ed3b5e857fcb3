//! A model whose jumps mean nothing is told where its jumps are used, and only there.

mod common;

use common::{Folder, TRAIN, texts};

#[test]
fn jumps_that_mean_nothing() {
    let folder = Folder::with_model();
    folder.write("state.csv", b"0.5,0.5\n");
    let train: Vec<&str> = TRAIN.into_iter().map(|word| if word == "model.mfm" { "flow.mfm" } else { word }).collect();
    folder.succeeds(&[&train[..], &["--objective", "flow"]].concat());
    let tune = ["finetune", "model.mfm", "--reward", "linear:1,0", "--steps", "2", "--batch", "8", "--samples", "8"];
    folder.succeeds(&[&tune[..], &["-o", "tuned.mfm"]].concat());
    folder.succeeds(&[&tune[..], &["-o", "followed.mfm", "--follow", "1"]].concat());

    let said = |command: &str, model: &str, more: &[&str]| {
        let line = [&[command, model][..], more].concat();
        // Not if it is to be quiet.
        folder.succeeds(&line);
        let (_, err) = texts(&folder.run(&line));
        err.lines().find(|line| line.starts_with("warning: ")).unwrap_or_default().to_owned()
    };
    let (state, aim) = (["--state", "state.csv", "--time", "0.5", "--draws", "4"], ["--reward", "linear:1,0", "-n", "3", "--steps", "2"]);
    let valued = [&state[..], &["--reward", "linear:1,0"]].concat();
    let with = |estimator| [&aim[..], &["--estimator", estimator]].concat();
    let [dps, smc, unsteered, resampled, best] = ["dps", "smc", "unsteered", "resampled", "best-of-n"].map(with);
    let again = ["--reward", "linear:1,0", "--steps", "1", "--batch", "4", "--samples", "4", "-o", "again.mfm"];
    let by_jumps: [(&str, &[&str], &str); 9] = [
        ("sample", &["-n", "3"], "; use --ode"),
        ("sample", &["-n", "3", "--steps", "3"], "; use --ode"),
        ("sample", &["-n", "3", "--refine", "2"], "; use --ode"),
        ("posterior", &state, ""),
        ("value", &valued, ""),
        ("steer", &resampled, "; use mfm steer by --estimator dps or smc"),
        ("steer", &best, "; use mfm steer by --estimator dps or smc"),
        ("search", &aim, "; use mfm steer by --estimator dps or smc"),
        ("finetune", &again, ""),
    ];
    for (command, more, cure) in by_jumps {
        let flow = said(command, "flow.mfm", more);
        assert!(
            flow.starts_with("warning: flow.mfm was trained by velocities alone, as a flow model: draws by its map mean nothing"),
            "{flow}"
        );
        assert!(flow.ends_with(if cure.is_empty() { "; distil a map from it by mfm train --teacher flow.mfm" } else { cure }), "{flow}");
        let tuned = said(command, "tuned.mfm", more);
        assert!(tuned.starts_with("warning: tuned.mfm was fine-tuned in its drift alone: draws by its map do not follow it"), "{tuned}");
        assert!(tuned.ends_with(if cure.is_empty() { "; make it again by mfm finetune --follow 1" } else { cure }), "{tuned}");
        for model in ["model.mfm", "followed.mfm"] {
            assert_eq!(said(command, model, more), "", "{command} {model} {more:?}");
        }
    }
    let by_drift: [(&str, &[&str]); 5] = [
        ("sample", &["-n", "3", "--ode", "3"]),
        ("sample", &["-n", "3", "--sde", "3"]),
        ("steer", &dps),
        ("steer", &smc),
        ("steer", &unsteered),
    ];
    for (command, more) in by_drift {
        for model in ["flow.mfm", "tuned.mfm"] {
            assert_eq!(said(command, model, more), "", "{command} {model} {more:?}");
        }
    }
}
