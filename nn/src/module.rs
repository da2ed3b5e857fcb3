//! What has parameters: named tensors in a fixed order.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use mfm_core::{Error, Result, Tensor};

/// Something with named parameters, which can be replaced, also by those of another tensor type.
///
/// [`visit`](Self::visit) and [`rebuild`](Self::rebuild) meet the parameters in the same order, always. Constants of a module (the
/// frequencies of its features, the mean of the data) are no parameters: they are made anew on the device of the new ones.
/// For a map, [`Lift::lift`](mfm_core::Lift::lift) is `rebuild` without the names.
pub trait Module<T: Tensor>: Sized {
    /// The same module over `U`.
    type Over<U: Tensor>: Module<U>;

    /// Calls `f` with the name and the value of each parameter.
    fn visit(&self, f: &mut dyn FnMut(&str, &T));

    /// The same module with each parameter replaced by what `next` makes of its name and value.
    ///
    /// # Errors
    /// Those of `next`.
    fn rebuild<U: Tensor>(&self, next: &mut dyn FnMut(&str, &T) -> Result<U>) -> Result<Self::Over<U>>;

    /// The number of parameters, counted as single numbers.
    fn parameter_count(&self) -> usize {
        let mut count = 0;
        self.visit(&mut |_, tensor| count += tensor.shape().elements());
        count
    }

    /// The names and values, in order.
    fn parameters(&self) -> Vec<(String, T)> {
        let mut all = Vec::new();
        self.visit(&mut |name, tensor| all.push((name.to_string(), tensor.clone())));
        all
    }

    /// The same module with its parameters as the device works with them ([`Tensor::to_working`]).
    ///
    /// # Errors
    /// Whatever the device reports.
    fn to_working(&self) -> Result<Self::Over<T>> {
        self.rebuild(&mut |_, tensor| tensor.to_working())
    }

    /// The same module with other parameters, in order.
    ///
    /// # Errors
    /// [`Error::Length`] unless there is one for each, [`Error::Shape`] if one differs in shape from what it replaces.
    fn with_parameters<U: Tensor>(&self, parameters: &[U]) -> Result<Self::Over<U>> {
        let mut expected = 0;
        self.visit(&mut |_, _| expected += 1);
        if expected != parameters.len() {
            return Err(Error::Length { op: "module's parameters", expected, found: parameters.len() });
        }
        let mut rest = parameters.iter();
        self.rebuild(&mut |_, old| {
            let new = rest.next().ok_or(Error::Length { op: "module's parameters", expected, found: parameters.len() })?;
            if new.shape() != old.shape() {
                return Err(Error::Shape { op: "module's parameters", left: old.shape(), right: new.shape() });
            }
            Ok(new.clone())
        })
    }
}
