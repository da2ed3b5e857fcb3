//! What clap complains of, as one sentence.

use clap::error::{ContextKind, ContextValue};

/// The first paragraph of clap's message, with what was probably meant.
pub(crate) fn sentence(error: &clap::Error) -> String {
    let text = first_paragraph(&error.render().to_string());
    meant(error).map_or_else(|| text.clone(), |name| format!("{text}; did you mean {name}?"))
}

/// The name that is most like the one that is not known.
fn meant(error: &clap::Error) -> Option<&str> {
    let kinds = [ContextKind::SuggestedSubcommand, ContextKind::SuggestedArg, ContextKind::SuggestedValue];
    match kinds.into_iter().find_map(|kind| error.get(kind))? {
        ContextValue::String(name) => Some(name),
        // In order of likeness.
        ContextValue::Strings(names) => names.last().map(String::as_str),
        _ => None,
    }
}

fn first_paragraph(message: &str) -> String {
    let lines = message.lines().map(str::trim).take_while(|line| !line.is_empty());
    let text = lines.collect::<Vec<_>>().join(" ");
    text.strip_prefix("error: ").unwrap_or(&text).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaint(line: &[&str]) -> String {
        sentence(&super::super::command().try_get_matches_from(line).unwrap_err())
    }

    #[test]
    fn one_sentence() {
        assert_eq!(
            first_paragraph("error: the following were not provided:\n  --out <M>\n\nUsage: x"),
            "the following were not provided: --out <M>"
        );
    }

    #[test]
    fn what_was_meant_is_asked() {
        assert!(complaint(&["mfm", "trian"]).ends_with("'trian'; did you mean train?"), "{}", complaint(&["mfm", "trian"]));
        assert!(complaint(&["mfm", "smaple"]).ends_with("; did you mean sample?"));
        assert!(complaint(&["mfm", "train", "--stepps", "1"]).contains("; did you mean --steps?"));
        assert!(complaint(&["mfm", "train", "d.csv", "-o", "m", "--network", "ditt"]).ends_with("; did you mean dit?"));
        assert!(!complaint(&["mfm", "xyzzy"]).contains("did you mean"));
    }
}
