//! Rewards as the command line gives them.

use super::{Formula, Inverse, Operator};
use crate::failure::{Failure, Result};
use mfm_core::error::Number;
use mfm_nn::file::read;
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// How rewards are written on the command line.
pub const HELP: &str = "The reward r(x); samples aim at the model's density times exp r:
linear:H1,H2,...        hᵀx
target:C1,C2,...,SIGMA  −|x − c|²/(2 σ²)
observation:FILE.json   −|A x − y|²/(2 σ²), {\"a\": [[..], ..], \"y\": [..], \"sigma\": S}
quadratic:FILE.json     −½ xᵀPx + hᵀx + c, {\"curvature\": [[..], ..], \"slope\": [..]}
inpaint:MASK:IMAGE:SIGMA
                        −|A x − y|²/(2 σ²), A x the pixels outside a rectangle
                        TOP,LEFT,HEIGHT,WIDTH, or where the one row of a file, or
                        a picture, is above 0
blur:WIDTH,PADDING:IMAGE:SIGMA
                        the same, A x the image blurred by WIDTH pixels, PADDING
                        (zero or circular) beyond its edges; IMAGE is a file of y
                        (what is hidden is not read), or FILE@ROW or digits@ROW, a
                        clean image that is observed here, with the seed's noise
classes:DATA:W0,W1,...  log Σ wᵢ p(class i | x), by the classifier in DATA, a file.mfm
                        that mfm classifier wrote, or one trained on DATA: digits,
                        images with labels, or a table whose last column is the label";

/// A reward as the command line gives it.
#[derive(Clone, Debug, PartialEq)]
pub enum Specification {
    /// A closed form.
    Formula(Formula),
    /// A linear-Gaussian inverse problem on images.
    Inverse(Inverse),
    /// A mixture of classes.
    Classes {
        /// The classifier's file, or what it is trained on; `None` for the digits.
        data: Option<PathBuf>,
        /// wᵢ, at least 0, one for each class.
        weights: Vec<f64>,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Observation {
    a: Vec<Vec<f64>>,
    y: Vec<f64>,
    sigma: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Quadratic {
    curvature: Vec<Vec<f64>>,
    slope: Vec<f64>,
    #[serde(default)]
    offset: f64,
}

impl Specification {
    /// The reward that `text` describes; its file, if it names one, is read.
    ///
    /// # Errors
    /// One sentence naming the reward, or the file.
    pub fn parse(text: &str) -> Result<Self> {
        let Some((kind, rest)) = text.split_once(':') else {
            return Err(Failure::input(format!("--reward {text}: it must be KIND:WHAT, such as linear:1,2 (see --help)")));
        };
        let place = |what: String| Failure::input(format!("--reward {text}: {what}"));
        match kind {
            "linear" => Ok(Self::Formula(Formula::Linear { slope: numbers(rest).map_err(place)? })),
            "target" => {
                let mut centre = numbers(rest).map_err(place)?;
                match centre.pop() {
                    Some(sigma) if sigma > 0.0 && !centre.is_empty() => Ok(Self::Formula(Formula::Target { centre, sigma })),
                    Some(sigma) if !centre.is_empty() => {
                        Err(place(format!("the last number, sigma, is {}, but must be positive", Number(sigma))))
                    }
                    _ => Err(place("it must be target:C1,C2,...,SIGMA".into())),
                }
            }
            "observation" | "quadratic" => Self::from_json(kind, &read(Path::new(rest))?, rest),
            "inpaint" | "blur" => Inverse::parse(kind, rest).map(Self::Inverse).map_err(place),
            "classes" => {
                let (data, weights) = rest.rsplit_once(':').ok_or_else(|| place("it must be classes:DATA:W0,W1,...".into()))?;
                let weights = numbers(weights).map_err(place)?;
                if let Some(class) = weights.iter().position(|weight| *weight < 0.0) {
                    return Err(place(format!("the weight of class {class} is negative")));
                }
                if weights.iter().all(|weight| *weight == 0.0) {
                    return Err(place("no class has a positive weight".into()));
                }
                Ok(Self::Classes { data: (data != "digits").then(|| data.into()), weights })
            }
            _ => {
                let known = "linear, target, observation, quadratic, inpaint, blur and classes";
                Err(place(format!("there is no reward {kind:?}; there are {known}")))
            }
        }
    }

    /// The files that `text` may name, none of which is looked at.
    pub fn files(text: &str) -> Vec<&Path> {
        let Some((kind, rest)) = text.split_once(':') else { return Vec::new() };
        let files = match kind {
            "observation" | "quadratic" => vec![rest],
            "classes" => rest.rsplit_once(':').map_or(Vec::new(), |(data, _)| vec![data]),
            "inpaint" | "blur" => Inverse::files(rest),
            _ => Vec::new(),
        };
        files.into_iter().map(Path::new).collect()
    }

    /// The reward of this kind (observation or quadratic) in a file's bytes; `place` names the file.
    ///
    /// # Errors
    /// One sentence with the place.
    pub fn from_json(kind: &str, bytes: &[u8], place: &str) -> Result<Self> {
        let formula = match kind {
            "observation" => decode(bytes).and_then(observation),
            "quadratic" => decode(bytes).and_then(quadratic),
            _ => Err(format!("no reward {kind:?} is kept in files")),
        };
        formula.map(Self::Formula).map_err(|what| Failure::input(format!("{place}: {what}")))
    }
}

fn decode<'a, D: Deserialize<'a>>(bytes: &'a [u8]) -> Result<D, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "this is not text")?;
    serde_json::from_str(text).map_err(|error| error.to_string())
}

/// Finite numbers between commas.
fn numbers(text: &str) -> Result<Vec<f64>, String> {
    let number = |(i, cell): (usize, &str)| match cell.trim().parse::<f64>() {
        Ok(value) if value.is_finite() => Ok(value),
        Ok(value) => Err(format!("number {} is {value}", i + 1)),
        Err(_) => Err(format!("number {}, {:?}, is not a number", i + 1, cell.trim())),
    };
    text.split(',').enumerate().map(number).collect()
}

/// The rows of a matrix of `columns` columns, one after another.
fn matrix(rows: &[Vec<f64>], columns: usize, name: &str) -> Result<Vec<f64>, String> {
    if let Some(row) = rows.iter().position(|row| row.len() != columns) {
        let found = rows[row].len();
        return Err(format!("row {} of {name} has {found} numbers, but must have {columns}", row + 1));
    }
    Ok(rows.concat())
}

fn observation(Observation { a, y, sigma }: Observation) -> Result<Formula, String> {
    let columns = a.first().map_or(0, Vec::len);
    if columns == 0 {
        return Err("a must be a matrix with at least one number".into());
    }
    if a.len() != y.len() {
        return Err(format!("a has {} rows, but y has {} numbers", a.len(), y.len()));
    }
    if sigma <= 0.0 {
        return Err(format!("sigma is {}, but must be positive", Number(sigma)));
    }
    let operator = Operator::Dense { matrix: matrix(&a, columns, "a")?, columns };
    Ok(Formula::Observation { operator, observed: y, sigma })
}

fn quadratic(Quadratic { curvature, slope, offset }: Quadratic) -> Result<Formula, String> {
    let d = slope.len();
    if d == 0 || curvature.len() != d {
        return Err(format!("curvature has {} rows, but slope has {d} numbers", curvature.len()));
    }
    let values = matrix(&curvature, d, "curvature")?;
    if let Some(k) = (0..d * d).find(|k| values[*k] != values[k % d * d + k / d]) {
        return Err(format!("curvature is not symmetric in row {}, column {}", k / d + 1, k % d + 1));
    }
    Ok(Formula::Quadratic { curvature: values, slope, offset })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaint(text: &str) -> String {
        Specification::parse(text).unwrap_err().to_string()
    }

    #[test]
    fn forms_are_read() {
        let target = Specification::parse("target:1,-2,0.5").unwrap();
        assert_eq!(target, Specification::Formula(Formula::Target { centre: vec![1.0, -2.0], sigma: 0.5 }));
        let classes = Specification::parse("classes:digits:0,1").unwrap();
        assert_eq!(classes, Specification::Classes { data: None, weights: vec![0.0, 1.0] });
    }

    #[test]
    fn mistakes_are_named() {
        assert!(complaint("linear").contains("--reward linear: it must be KIND:WHAT"));
        assert!(complaint("linear:1,x").contains("number 2, \"x\", is not a number"));
        assert!(complaint("linear:1,nan").contains("number 2 is NaN"));
        assert!(complaint("target:1,2,0").contains("sigma, is 0, but must be positive"));
        assert!(complaint("target:1").contains("target:C1"));
        assert!(complaint("inpaint:1,2,3:a.png:0.1").contains("TOP,LEFT,HEIGHT,WIDTH, and not 3 numbers"));
        assert!(complaint("inpaint:1,2,3,4:a.png").contains("it must be inpaint:MASK:IMAGE:SIGMA"));
        assert!(complaint("inpaint:1,2,3,4:a.npy@0:0.1").contains("the row \"0\" of a.npy must be a number"));
        assert!(complaint("inpaint:1,2,3,4:digits:0.1").contains("digits@ROW"));
        assert!(complaint("blur:1:a.png:0.1").contains("it must be blur:WIDTH,PADDING:IMAGE:SIGMA"));
        assert!(complaint("blur:1,mirror:a.png:0.1").contains("the padding is \"mirror\""));
        assert!(complaint("blur:0,zero:a.png:0.1").contains("the width must be above 0"));
        assert!(complaint("blur:1,zero:a.png:-1").contains("sigma is \"-1\", but must be positive"));
        assert!(complaint("cubic:1").contains("no reward \"cubic\""));
        assert!(complaint("classes:digits:0,0").contains("no class has a positive weight"));
        assert!(complaint("observation:/nowhere/a.json").contains("cannot read /nowhere/a.json: there is no such file"));
    }

    #[test]
    fn files_are_checked() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("r.json");
        let of = |kind: &str, text: &str| {
            std::fs::write(&path, text).unwrap();
            Specification::parse(&format!("{kind}:{}", path.display())).map_err(|failure| failure.to_string())
        };
        assert!(of("observation", r#"{"a": [[1, 2]], "y": [3], "sigma": 0.1}"#).is_ok());
        assert!(of("observation", r#"{"a": [[1, 2], [1]], "y": [3, 4], "sigma": 0.1}"#).unwrap_err().contains("row 2 of a has 1 numbers"));
        assert!(of("observation", r#"{"a": [[1, 2]], "y": [3, 4], "sigma": 0.1}"#).unwrap_err().contains("a has 1 rows"));
        assert!(of("observation", r#"{"a": [[1, 2]], "y": [3], "sigma": 0}"#).unwrap_err().contains("sigma is 0"));
        assert!(of("observation", r#"{"a": [[1, 2]], "y": [3"#).unwrap_err().contains("line 1"));
        assert!(of("quadratic", r#"{"curvature": [[1, 0], [1, 1]], "slope": [0, 0]}"#).unwrap_err().contains("not symmetric"));
        assert!(of("quadratic", r#"{"curvature": [[1]], "slope": [0]}"#).is_ok());
    }
}
