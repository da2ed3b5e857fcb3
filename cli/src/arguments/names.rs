//! Things that the command line knows by name.

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};

/// Reads the name of one of these things, each with its name and its help.
pub fn one_of<T: Clone + Send + Sync + 'static, const N: usize>(
    all: [(&'static str, &'static str, T); N],
) -> impl TypedValueParser<Value = T> {
    let values = all.each_ref().map(|(name, help, _)| PossibleValue::new(*name).help(*help));
    PossibleValuesParser::new(values).try_map(move |name| {
        let found = all.iter().find(|(known, ..)| *known == name);
        found.map(|(.., thing)| thing.clone()).ok_or_else(|| format!("there is no {name:?}"))
    })
}
