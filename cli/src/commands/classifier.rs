//! `mfm classifier`: a classifier for rewards, from labelled data.

use crate::arguments::{at_least_one, share};
use crate::classifier::{self, Settings};
use crate::context::Context;
use crate::data::{self, LabelColumn};
use crate::failure::{Failure, Result};
use crate::output;
use crate::table::{Table, count, number};
use mfm_core::Tensor;
use mfm_nn::Module;
use mfm_nn::file::{ClassifierHeader, LIBRARY, Provenance, write_classifier};
use serde::Serialize;
use std::path::PathBuf;

/// The options of `mfm classifier`.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// The data, with labels: a folder with a folder of images for each class, IDX images with their labels beside them, or a table
    #[arg(required_unless_present = "digits", conflicts_with = "digits")]
    pub data: Option<PathBuf>,
    /// Train on the built-in handwritten digits
    #[arg(long)]
    pub digits: bool,
    /// The column of a table that holds the labels: first, last, or a number counted from 1 [default: last]
    #[arg(long, value_name = "COLUMN")]
    pub label_column: Option<LabelColumn>,
    /// Learn from the columns of a table as they are. Otherwise they are standardised for training, and the file takes the data's units all the same
    #[arg(long)]
    pub raw: bool,
    /// The file to write
    #[arg(short, long, value_name = "FILE")]
    pub out: PathBuf,
    /// The share of the data on which the classifier is judged, and not trained
    #[arg(long, value_name = "SHARE", default_value_t = 0.1, value_parser = share, allow_negative_numbers = true)]
    pub held_out: f64,
    /// The width of the hidden layers
    #[arg(long, value_name = "N", default_value_t = Settings::default().width, value_parser = at_least_one, allow_negative_numbers = true)]
    pub width: usize,
    /// The number of hidden layers
    #[arg(long, value_name = "N", default_value_t = Settings::default().depth, value_parser = crate::arguments::whole::<usize>, allow_negative_numbers = true)]
    pub depth: usize,
    /// Training steps
    #[arg(long, value_name = "N", default_value_t = Settings::default().steps, value_parser = crate::arguments::steps, allow_negative_numbers = true)]
    pub steps: u64,
    /// Samples in a batch
    #[arg(long, value_name = "N", default_value_t = Settings::default().batch, value_parser = at_least_one, allow_negative_numbers = true)]
    pub batch: usize,
}

#[derive(Debug, Serialize)]
struct Report<'a> {
    classifier: String,
    data: &'a str,
    classes: &'a [String],
    samples: usize,
    held_out: usize,
    parameters: usize,
    steps: u64,
    accuracy: f64,
    held_out_accuracy: Option<f64>,
}

/// Runs `mfm classifier`.
///
/// # Errors
/// One sentence for the user.
pub fn run<T: Tensor>(context: &Context<T>, arguments: &Arguments) -> Result<()> {
    output::check(&arguments.out)?;
    let data = match (&arguments.data, arguments.label_column) {
        (None, None) => data::digits()?,
        (None, Some(_)) => return Err(Failure::input("--label-column: the digits bring their labels")),
        (Some(path), None) => data::load_labelled(path)?,
        (Some(path), Some(column)) => data::load(path, column)?,
    };
    let (train, held_out) = if arguments.held_out > 0.0 && data.len() > 1 {
        let (train, held_out) = data.split(arguments.held_out, &context.noise.fork(0));
        (train, Some(held_out))
    } else {
        (data, None)
    };
    if let Some(label) = held_out.as_ref().map(data::Dataset::label_count).filter(|count| *count > train.label_count()) {
        let what = format!("the label {} is among the held-out samples alone; try --held-out 0", label - 1);
        return Err(Failure::input(format!("{}: {what}", train.source)));
    }
    let &Arguments { width, depth, steps, batch, raw, .. } = arguments;
    let settings = Settings { width, depth, steps, batch, seed: context.seed, raw };
    let classifier = classifier::train(context, &train, &settings)?;
    let judged = classifier.to_working()?;
    let accuracy = classifier::accuracy(context, &judged, &train)?;
    let held_out_accuracy = held_out.as_ref().map(|held_out| classifier::accuracy(context, &judged, held_out)).transpose()?;
    let provenance = Provenance {
        steps,
        seed: context.seed,
        objective: "cross-entropy".into(),
        data: format!("{} samples of {}", train.len(), train.source),
        library: LIBRARY.into(),
    };
    let header = ClassifierHeader { classifier: classifier.config().clone(), classes: train.classes.clone(), provenance };
    let bytes =
        write_classifier(&classifier, &header).map_err(|error| Failure::Internal(format!("{}: {error}", arguments.out.display())))?;
    output::write_bytes(&arguments.out, &bytes)?;

    let report = Report {
        classifier: arguments.out.display().to_string(),
        data: &train.source,
        classes: &train.classes,
        samples: train.len(),
        held_out: held_out.as_ref().map_or(0, data::Dataset::len),
        parameters: classifier.parameter_count(),
        steps,
        accuracy,
        held_out_accuracy,
    };
    let percent = |share: f64| format!("{} %", number(100.0 * share, 4));
    let mut table = Table::new(["classifier", "samples", "classes", "parameters", "steps", "right", "held out", "right of those"]);
    table.row([
        report.classifier.clone(),
        count(report.samples),
        count(header.classifier.classes),
        count(report.parameters),
        count(steps as usize),
        percent(accuracy),
        count(report.held_out),
        held_out_accuracy.map(percent).unwrap_or_default(),
    ]);
    context.table(&table)?;
    context.results(&report)
}
