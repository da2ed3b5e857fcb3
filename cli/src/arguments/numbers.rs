//! Numbers on the command line, each refused by what is wrong with it.

use std::str::FromStr;

/// A number of threads.
pub(super) fn threads(text: &str) -> Result<usize, String> {
    match at_least_one(text)? {
        count if count > 1024 => Err("at most 1024 threads can be used".into()),
        count => Ok(count),
    }
}

/// A whole number of at least one.
///
/// # Errors
/// What is wrong, for clap to report.
pub fn at_least_one(text: &str) -> Result<usize, String> {
    positive_whole(text)
}

/// A number of steps: at least one.
///
/// # Errors
/// What is wrong, for clap to report.
pub fn steps(text: &str) -> Result<u64, String> {
    positive_whole(text)
}

fn positive_whole<N: FromStr + Default + PartialEq>(text: &str) -> Result<N, String> {
    match text.parse() {
        Ok(number) if number == N::default() => Err("it must be at least 1".into()),
        Ok(number) => Ok(number),
        Err(_) => Err(no_whole_number(text, 1)),
    }
}

/// A whole number, which may be zero.
///
/// # Errors
/// What is wrong, for clap to report.
pub fn whole<N: FromStr>(text: &str) -> Result<N, String> {
    text.parse().map_err(|_| no_whole_number(text, 0))
}

fn no_whole_number(text: &str, least: usize) -> String {
    let is_large = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_large { "it is too large".into() } else { format!("it must be a whole number of at least {least}") }
}

/// A time between 0 and 1.
///
/// # Errors
/// What is wrong, for clap to report.
pub fn time(text: &str) -> Result<f64, String> {
    real(text, |number| (0.0..=1.0).contains(&number), "a time must lie between 0 and 1")
}

/// A share: at least 0, below 1.
///
/// # Errors
/// What is wrong, for clap to report.
pub fn share(text: &str) -> Result<f64, String> {
    real(text, |number| (0.0..1.0).contains(&number), "it must be at least 0 and below 1")
}

/// A part of the whole: between 0 and 1, both of which it may be.
///
/// # Errors
/// What is wrong, for clap to report.
pub fn part(text: &str) -> Result<f64, String> {
    real(text, |number| (0.0..=1.0).contains(&number), "it must lie between 0 and 1")
}

/// A number above zero.
///
/// # Errors
/// What is wrong, for clap to report.
pub fn positive(text: &str) -> Result<f64, String> {
    real(text, |number| number > 0.0 && number.is_finite(), "it must be positive and finite")
}

/// A number of at least zero.
///
/// # Errors
/// What is wrong, for clap to report.
pub fn not_negative(text: &str) -> Result<f64, String> {
    real(text, |number| number >= 0.0 && number.is_finite(), "it must be at least 0 and finite")
}

/// A number that `fits`, else `what` it must be.
fn real(text: &str, fits: fn(f64) -> bool, what: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(number) if fits(number) => Ok(number),
        Ok(_) => Err(what.into()),
        Err(_) => Err("it is not a number".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_said() {
        assert_eq!((whole::<u64>("0"), at_least_one("7"), steps("7")), (Ok(0), Ok(7), Ok(7)));
        for text in ["-1", "1.5", "", "x"] {
            assert_eq!(whole::<u64>(text).unwrap_err(), "it must be a whole number of at least 0", "{text:?}");
            assert_eq!(steps(text).unwrap_err(), "it must be a whole number of at least 1", "{text:?}");
        }
        assert_eq!(steps("0").unwrap_err(), "it must be at least 1");
        assert_eq!(whole::<u64>("99999999999999999999").unwrap_err(), "it is too large");
    }
}
