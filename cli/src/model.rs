//! Models in files, and what commands need of them.

use crate::context::Context;
use crate::data::{Dataset, Values};
use crate::failure::{Failure, Place as _, Result};
use crate::output;
use crate::table::number;
use mfm_core::{Condition, Device, Flow, Shape, Tensor, memory};
use mfm_nn::file::Jumps;
use mfm_nn::file::write_model;
use mfm_nn::{Coordinates, InCoordinates, Model, ModelFile, ModelHeader, SavedModel};
use std::ops::Deref;
use std::path::Path;

/// The condition of a model, as commands take it.
#[derive(Clone, Copy, Debug, Default, PartialEq, clap::Args)]
pub struct ConditionArguments {
    /// The label, for a model that knows labels
    #[arg(long, value_name = "L", value_parser = crate::arguments::whole::<usize>, allow_negative_numbers = true)]
    pub label: Option<usize>,
    /// The guidance scale of the label [default: 1, not guided]: one of those that a transformer was trained for, or any for a model of labels that was
    /// trained without guidance, which is then asked twice, with the label and without. In few steps of such a map it is an extrapolation; best along an ODE
    #[arg(long, value_name = "SCALE", requires = "label", value_parser = crate::arguments::positive, allow_negative_numbers = true)]
    pub guidance: Option<f64>,
}

/// A model from a file, and which. It works in [coordinates](SavedModel::coordinates) of its own: what it is given goes through [`states`](Self::states) and
/// [`reward`](Self::reward), and what it gives through [`numbers`](Self::numbers).
#[derive(Debug)]
pub struct LoadedModel<T: Tensor> {
    /// The model, with what the file says about it.
    pub saved: SavedModel<T>,
    /// The file.
    pub source: String,
}

impl<T: Tensor> Deref for LoadedModel<T> {
    type Target = SavedModel<T>;

    fn deref(&self) -> &SavedModel<T> {
        &self.saved
    }
}

impl<T: Tensor> LoadedModel<T> {
    /// The model in a file, all of it checked.
    ///
    /// # Errors
    /// One sentence naming the file.
    pub fn load(path: &Path, device: &T::Device) -> Result<Self> {
        Ok(Self { saved: SavedModel::load(path, device)?, source: path.display().to_string() })
    }

    /// The model in the file `source`, which is read already.
    ///
    /// # Errors
    /// One sentence naming the file.
    pub fn of(file: &ModelFile<'_>, source: String, device: &T::Device) -> Result<Self> {
        Ok(Self { saved: SavedModel::of(file, device).at(&source)?, source })
    }

    /// The model as samplers take it, under a condition.
    ///
    /// # Errors
    /// If it does not know the label or the guidance scale.
    pub fn flow<'a>(&'a self, condition: &'a ConditionArguments) -> Result<Flow<'a, Model<T>>> {
        let ConditionArguments { label, guidance } = condition;
        let condition = Condition::new(label.as_ref().map(std::slice::from_ref), guidance.as_ref().map(std::slice::from_ref));
        self.saved.flow(condition).map_err(|error| Failure::input(format!("--{}", error.of(&self.source))))
    }

    /// Says so where draws by the model's map mean nothing; `instead` is what serves, where that is not to train its jumps.
    pub fn warn_of_jumps(&self, context: &Context<T>, instead: Option<&str>) {
        let (Some(fault), source) = (self.fault_of_jumps(), &self.source) else { return };
        let cure = match self.header.jumps {
            Jumps::LeftBehind => "make it again by mfm finetune --follow 1".to_owned(),
            Jumps::Trained | Jumps::Untrained => format!("distil a map from it by mfm train --teacher {source}"),
        };
        context.say(format!("warning: {source} {fault}; {}", instead.unwrap_or(&cure)));
    }

    /// The passes through the network of one evaluation: two where it is guided by itself, with the label and without.
    pub fn passes(&self, condition: &ConditionArguments) -> usize {
        if condition.guidance.is_some_and(|scale| scale != 1.0) && !self.header.takes_scale() { 2 } else { 1 }
    }

    /// States for this model from a data file, [n, dimension], in its coordinates.
    ///
    /// # Errors
    /// If the rows are of another dimension.
    pub fn states(&self, data: &Dataset, device: &T::Device) -> Result<T> {
        data.expect_dimension(self.dimension(), &self.source)?;
        Ok(device.from_slice(&data.entering(self.coordinates())?, shape(data.len(), data.dimension)?)?)
    }

    /// A reward of data as one of what the model gives.
    ///
    /// # Errors
    /// If a column is too far from zero for a reward, which takes its numbers in single precision.
    pub fn reward<'a, R>(&'a self, reward: &'a R) -> Result<InCoordinates<'a, &'a R>> {
        check_near_zero(self.coordinates(), "a reward").at(&self.source)?;
        Ok(self.coordinates().reward(reward))
    }

    /// Room for the numbers of so many samples.
    ///
    /// # Errors
    /// If there is none.
    pub fn room(&self, samples: usize) -> Result<Values> {
        let count = samples.saturating_mul(self.dimension());
        Ok(if self.gives_double() {
            Values::Double(memory::room("samples", count)?)
        } else {
            Values::Single(memory::room("samples", count)?)
        })
    }

    /// The numbers of samples in the units of the data, all of which must be finite.
    ///
    /// # Errors
    /// If the model gives NaN or infinity.
    pub fn numbers(&self, samples: &T) -> Result<Values> {
        let coordinates = self.coordinates();
        let rows = if coordinates.is_identity() {
            Values::Single(samples.to_vec()?)
        } else {
            let rows = coordinates.leave_rows(&samples.to_vec::<f64>()?)?;
            if self.gives_double() { Values::Double(rows) } else { Values::Single(rows.into_iter().map(|value| value as f32).collect()) }
        };
        match rows.first_not_finite() {
            None => Ok(rows),
            Some(place) => {
                let (row, column) = (place / self.dimension() + 1, place % self.dimension() + 1);
                Err(Failure::input(format!("{} gave a NaN or infinity in row {row}, column {column} of its samples", self.source)))
            }
        }
    }

    /// Whether its samples are given in double precision: single precision does not hold a column that is far from zero.
    fn gives_double(&self) -> bool {
        self.coordinates().far_from_zero().next().is_some()
    }
}

/// Checks that single precision, in which `what` takes its numbers, tells apart those of each column.
///
/// # Errors
/// One sentence naming the column.
pub fn check_near_zero(coordinates: &Coordinates, what: &str) -> Result<()> {
    let (mean, scale) = (coordinates.mean(), coordinates.scale());
    match coordinates.beyond_single() {
        None => Ok(()),
        Some(column) => Err(Failure::input(format!(
            "column {} of the data has the mean {} and the deviation {}, which is too far from zero for the single precision in which {what} takes it; subtract a \
             constant from the column",
            column + 1,
            number(mean[column], 6),
            number(scale[column], 3)
        ))),
    }
}

/// Writes a model file, whole or not at all.
///
/// # Errors
/// One sentence naming the path.
pub fn save<T: Tensor>(path: &Path, model: &Model<T>, header: &ModelHeader) -> Result<()> {
    let bytes = write_model(model, header, None).map_err(|error| Failure::Internal(format!("{}: {error}", path.display())))?;
    output::write_bytes(path, &bytes)
}

/// The shape [n, d].
///
/// # Errors
/// If that is more than can be addressed.
pub fn shape(n: usize, d: usize) -> Result<Shape> {
    Ok(Shape::new(&[n, d])?)
}
