//! `mfm import` and `mfm export`: transformers from and to safetensors files, under the reference model's parameter names.

use crate::arguments::at_least_one;
use crate::context::Context;
use crate::failure::{Failure, Place as _, Result};
use crate::model::{LoadedModel, save};
use crate::output;
use crate::table::count;
use clap::ValueEnum;
use mfm_core::{Shape, Tensor};
use mfm_nn::file::safetensors::{DitExtras, PREFIX, SafetensorsFile, write_dit};
use mfm_nn::file::{Jumps, LIBRARY, read};
use mfm_nn::{FileError, Model, ModelConfig, ModelHeader, Module, Network, Orientation};
use serde::Serialize;
use std::path::PathBuf;

/// The options of `mfm import`.
#[derive(Clone, Debug, clap::Args)]
pub struct Import {
    /// The safetensors file
    pub file: PathBuf,
    /// The model file to write
    #[arg(short, long, value_name = "MODEL")]
    pub out: PathBuf,
    /// What the names of the transformer's parameters begin with
    #[arg(long, value_name = "PREFIX", default_value = PREFIX)]
    pub prefix: String,
    /// The number of attention heads [default: that of the file, if mfm wrote it]
    #[arg(long, value_name = "N", value_parser = at_least_one, allow_negative_numbers = true)]
    pub heads: Option<usize>,
    /// The number of blocks of the encoder [default: that of the file, if mfm wrote it]
    #[arg(long, value_name = "N", value_parser = crate::arguments::whole::<usize>, allow_negative_numbers = true)]
    pub encoder_depth: Option<usize>,
    /// The guidance scales of the network, the first of which is 1, separated by commas
    #[arg(long, value_name = "SCALES", value_delimiter = ',')]
    pub guidance: Option<Vec<f64>>,
    /// Which end of the flow has time 0 inside the network
    #[arg(long, value_name = "END")]
    pub zero: Option<End>,
    /// The file holds a flow model (names like t_embedder and y_embedder, none of x_cond): a Meta Flow Map that starts from it is made
    #[arg(long)]
    pub flow_model: bool,
}

/// An end of the flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum End {
    /// Noise
    Noise,
    /// Data, as in the reference's checkpoints
    Data,
}

/// The options of `mfm export`.
#[derive(Clone, Debug, clap::Args)]
pub struct Export {
    /// The model file of a transformer without preconditioning
    pub model: PathBuf,
    /// The safetensors file to write
    #[arg(short, long, value_name = "FILE")]
    pub out: PathBuf,
    /// What the names of the parameters are to begin with
    #[arg(long, value_name = "PREFIX", default_value = PREFIX)]
    pub prefix: String,
}

/// What `--json` reports.
#[derive(Debug, Serialize)]
struct Report {
    /// The file that was read.
    source: String,
    /// The file that was written.
    file: String,
    parameters: usize,
}

impl Report {
    fn tell<T: Tensor>(&self, context: &Context<T>) -> Result<()> {
        context.say(format!("{}: {} parameters", self.file, count(self.parameters)));
        context.results(self)
    }
}

/// Runs `mfm import`.
///
/// # Errors
/// One sentence for the user.
pub fn import<T: Tensor>(context: &Context<T>, arguments: &Import) -> Result<()> {
    output::check(&arguments.out)?;
    let source = arguments.file.display().to_string();
    let bytes = read(&arguments.file)?;
    let file = SafetensorsFile::parse(&bytes).at(&source)?;
    let prefix = &arguments.prefix;
    if let Some(name) = file.outside(prefix).filter(|_| prefix == PREFIX) {
        return Err(Failure::input(format!(
            "{source}: the tensor {name} does not belong to the model; --prefix chooses a part of the file"
        )));
    }
    let own = file.extras();
    let need = |what: &str| Failure::input(format!("{source} does not say its {what}; give --{what}"));
    let extras = DitExtras {
        heads: arguments.heads.or(own.as_ref().map(|own| own.heads)).ok_or_else(|| need("heads"))?,
        encoder: arguments.encoder_depth.or(own.as_ref().map(|own| own.encoder)).ok_or_else(|| need("encoder-depth"))?,
        guidance: arguments.guidance.clone().or(own.as_ref().map(|own| own.guidance.clone())).unwrap_or_default(),
        orientation: match (arguments.zero, own) {
            (Some(End::Noise), _) => Orientation::NoiseAtZero,
            (Some(End::Data), _) => Orientation::DataAtZero,
            (None, Some(own)) => own.orientation,
            (None, None) => return Err(need("zero")),
        },
    };
    let config = file.config(prefix, &extras).at(&source)?;
    let network = if arguments.flow_model {
        file.to_dit_from_flow_model(&context.device, prefix, &config, &context.noise)
    } else {
        file.to_dit(&context.device, prefix, &config)
    };
    let item = Shape::new(&[config.channels, config.side, config.side])?;
    let mut header = ModelHeader::new(ModelConfig::dit(config), item);
    header.provenance.data = format!("imported from {source}");
    file.recall(&mut header).at(&source)?;
    let path = header.model.path().ok_or_else(|| FileError::Path { name: header.model.interpolant.clone() }).at(&source)?;
    let model = Model::plain(Network::Dit(network.at(&source)?), path);
    if arguments.flow_model {
        header.provenance.objective = "diagonal loss of the flow model".into();
        header.jumps = Jumps::Untrained;
    }
    header.provenance.library = LIBRARY.into();
    save(&arguments.out, &model, &header)?;
    Report { source, file: arguments.out.display().to_string(), parameters: model.parameter_count() }.tell(context)
}

/// Runs `mfm export`.
///
/// # Errors
/// One sentence for the user.
pub fn export<T: Tensor>(context: &Context<T>, arguments: &Export) -> Result<()> {
    output::check(&arguments.out)?;
    let model = LoadedModel::<T>::load(&arguments.model, &context.device)?;
    let (None, Network::Dit(network)) = (model.model.config().preconditioning, model.model.network()) else {
        return Err(Failure::input(format!("{}: only a transformer without preconditioning has the reference's form", model.source)));
    };
    if !model.coordinates().is_identity() {
        return Err(Failure::input(format!("{}: the reference's form has no place for its coordinates", model.source)));
    }
    let bytes = write_dit(network, &arguments.prefix, &model.header).map_err(|error| Failure::Internal(error.to_string()))?;
    output::write_bytes(&arguments.out, &bytes)?;
    Report { file: arguments.out.display().to_string(), parameters: network.parameter_count(), source: model.source }.tell(context)
}
