//! `mfm info`: what is in a model file.

use crate::context::Context;
use crate::failure::{Place as _, Result};
use crate::model::LoadedModel;
use crate::table::{Table, count, number};
use mfm_core::Tensor;
use mfm_nn::file::{ClassifierHeader, Header, load};
use mfm_nn::{ClassifierConfig, ModelFile, Module, NetworkConfig};
use serde::Serialize;
use std::path::PathBuf;

/// The options of `mfm info`.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// The model file
    pub model: PathBuf,
}

#[derive(Debug, Serialize)]
struct TensorRow<'a> {
    name: &'a str,
    shape: Vec<usize>,
    bytes: usize,
    offset: usize,
}

#[derive(Debug, Serialize)]
struct Report<'a> {
    file: String,
    bytes: usize,
    network: String,
    dimension: usize,
    labels: usize,
    /// The guidance scale by which its labels move it already; none if it is not guided, or told the scale.
    #[serde(skip_serializing_if = "Option::is_none")]
    guided: Option<f64>,
    interpolant: &'a str,
    preconditioning: Option<f64>,
    /// Those of the model's coordinates; none if they are the data's own.
    #[serde(skip_serializing_if = "<[f64]>::is_empty")]
    mean: &'a [f64],
    #[serde(skip_serializing_if = "<[f64]>::is_empty")]
    scale: &'a [f64],
    parameters: usize,
    steps: u64,
    seed: u64,
    objective: &'a str,
    data: &'a str,
    library: &'a str,
    tensors: Vec<TensorRow<'a>>,
}

/// What is said of a classifier.
fn classifier<T: Tensor>(context: &Context<T>, arguments: &Arguments) -> Result<()> {
    let (classifier, header) = crate::classifier::load::<T>(&arguments.model, &context.device)?;
    let ClassifierConfig { data, width, depth, classes } = header.classifier;
    let names = header.classes.iter().enumerate().map(|(label, name)| format!("{label} {name}"));
    let mut facts = Table::new(["", ""]);
    facts.row(["file", &format!("{}, all checksums right", arguments.model.display())]);
    facts.row(["classifier", &format!("MLP, {depth} hidden layers of {width}")]);
    facts.row(["data", &format!("{data} numbers a sample")]);
    facts.row(["classes", &if header.classes.is_empty() { format!("0 to {}", classes - 1) } else { names.collect::<Vec<_>>().join(", ") }]);
    facts.row(["parameters", &count(classifier.parameter_count())]);
    facts.row(["trained", &format!("{} steps, seed {}", count(header.provenance.steps as usize), header.provenance.seed)]);
    facts.row(["trained on", &header.provenance.data]).row(["written by", &header.provenance.library]);
    context.print(facts.to_string().lines().skip(2).collect::<Vec<_>>().join("\n"))?;
    context.results(&header)
}

/// The first of many numbers; `--json` has them all.
fn list(numbers: &[f64]) -> String {
    const SHOWN: usize = 8;
    let shown: Vec<String> = numbers.iter().take(SHOWN).map(|value| number(*value, 6)).collect();
    shown.join(", ") + if numbers.len() > SHOWN { ", …" } else { "" }
}

/// Runs `mfm info`. That it succeeds means that all checksums are right and that the model can be loaded.
///
/// # Errors
/// One sentence for the user.
pub fn run<T: Tensor>(context: &Context<T>, arguments: &Arguments) -> Result<()> {
    let bytes = load(&arguments.model)?;
    if bytes.starts_with(&ClassifierHeader::MAGIC) {
        return classifier(context, arguments);
    }
    let source = arguments.model.display().to_string();
    let file = ModelFile::parse(&bytes).at(&source)?;
    let model = LoadedModel::<T>::of(&file, source, &context.device)?;
    let header = file.header();
    let network = match &header.model.network {
        NetworkConfig::Mlp(mlp) => format!("MLP, {} hidden layers of {}, {} frequencies", mlp.depth, mlp.width, mlp.frequencies),
        NetworkConfig::Dit(dit) => format!(
            "transformer, {} blocks of {} ({} of them encoder), {} heads, {} × {} images of {} channels in patches of {}",
            dit.depth, dit.hidden, dit.encoder, dit.heads, dit.side, dit.side, dit.channels, dit.patch
        ),
        other => format!("{other:?}"),
    };
    let tensors: Vec<TensorRow<'_>> = file
        .tensors()
        .iter()
        .map(|tensor| TensorRow {
            name: tensor.name,
            shape: tensor.shape.axes().to_vec(),
            bytes: tensor.bytes.len(),
            offset: tensor.offset,
        })
        .collect();
    let from = &header.provenance;
    let report = Report {
        file: model.source.clone(),
        bytes: bytes.len(),
        network,
        dimension: model.dimension(),
        labels: header.labels(),
        guided: header.guided_by,
        interpolant: &header.model.interpolant,
        preconditioning: header.model.preconditioning.map(|gaussian| gaussian.deviation),
        mean: header.coordinates.mean(),
        scale: header.coordinates.scale(),
        parameters: model.model.parameter_count(),
        steps: header.steps_made(),
        seed: from.seed,
        objective: &from.objective,
        data: &from.data,
        library: &from.library,
        tensors,
    };
    let preconditioning = match report.preconditioning {
        Some(deviation) => format!("Gaussian, deviation {deviation:.4}"),
        None => "none".into(),
    };
    let mut facts = Table::new(["", ""]);
    facts.row(["file", &format!("{}, {} bytes, all checksums right", report.file, count(report.bytes))]);
    facts.row(["network", &report.network]);
    facts.row(["data", &format!("{} numbers a sample", report.dimension)]);
    facts.row(["labels", &(if report.labels == 0 { "none".into() } else { format!("0 to {}", report.labels - 1) })]);
    if let Some(scale) = report.guided {
        facts.row(["guided", &format!("by the scale {}", number(scale, 3))]);
    }
    facts.row(["path", report.interpolant]).row(["preconditioning", &preconditioning]);
    if header.coordinates.is_identity() {
        facts.row(["coordinates", "the data's own"]);
    } else {
        facts.row(["coordinates", "standardised"]).row(["means", &list(report.mean)]).row(["deviations", &list(report.scale)]);
    }
    facts.row(["parameters", &count(report.parameters)]);
    let of = if header.training.is_some() { format!(" of {} (a checkpoint)", count(from.steps as usize)) } else { String::new() };
    facts.row(["trained", &format!("{}{of} steps, seed {}", count(report.steps as usize), report.seed)]);
    facts.row(["objective", report.objective]).row(["trained on", report.data]).row(["written by", report.library]);
    context.print(facts.to_string().lines().skip(2).collect::<Vec<_>>().join("\n"))?;

    let mut table = Table::new(["tensor", "shape", "bytes", "at byte"]);
    for (row, tensor) in report.tensors.iter().zip(file.tensors()) {
        table.row([row.name.to_owned(), tensor.shape.to_string(), count(row.bytes), count(row.offset)]);
    }
    context.print("")?;
    context.table(&table)?;
    context.results(&report)
}
