//! A case: an operation with its operands, which can be run on any tensor.

use super::input::{Domain, Input, Layout};
use super::operation::Operation;
use mfm_core::tensor::Segment;
use mfm_core::{Device, Result, Shape, Tensor};

/// An operation and the operands that it is tried on.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    /// The operation.
    pub operation: Operation,
    /// Its operands.
    pub inputs: Vec<Input>,
}

impl Case {
    /// A case of operands with numbers from one domain.
    pub fn new(operation: Operation, domain: Domain, shapes: &[&[usize]]) -> Self {
        Self { operation, inputs: shapes.iter().map(|axes| Input::new(shape(axes), domain)).collect() }
    }

    /// The same case with another domain for one operand.
    #[must_use]
    pub fn with_domain(mut self, input: usize, domain: Domain) -> Self {
        self.inputs[input].domain = domain;
        self
    }

    /// The operands on a device.
    ///
    /// # Errors
    /// The device's.
    pub fn build<D: Device>(&self, device: &D, layout: Layout) -> Result<Vec<D::Tensor>> {
        self.inputs.iter().zip(1..).map(|(input, seed)| input.build(device, layout, seed)).collect()
    }

    /// A direction for each operand.
    ///
    /// # Errors
    /// The device's.
    pub fn directions<D: Device>(&self, device: &D, layout: Layout) -> Result<Vec<D::Tensor>> {
        let direction = |input: &Input| Input::new(input.shape, Domain::Small);
        self.inputs.iter().zip(101..).map(|(input, seed)| direction(input).build(device, layout, seed)).collect()
    }

    /// The operation on `inputs`.
    ///
    /// # Errors
    /// The operation's.
    pub fn run<T: Tensor>(&self, inputs: &[T]) -> Result<T> {
        self.operation.apply(&inputs.iter().collect::<Vec<_>>())
    }

    /// The number of elements of all operands together.
    pub fn elements(&self) -> usize {
        self.inputs.iter().map(|input| input.shape.elements()).sum()
    }

    /// What the case is, in one line.
    pub fn name(&self) -> String {
        let shapes: Vec<String> = self.inputs.iter().map(|input| input.shape.to_string()).collect();
        format!("{} of {}", self.operation.name(), shapes.join(", "))
    }

    /// Every operand that is differentiated by: all but a mask.
    pub fn all(&self) -> Vec<bool> {
        self.inputs.iter().map(|input| input.domain != Domain::Mask).collect()
    }

    /// Which operands are differentiated by: every choice for up to three of them, and a few for more, among them one from between the ends alone. A mask
    /// never is.
    pub fn choices(&self) -> Vec<Vec<bool>> {
        let n = self.inputs.len();
        let few = || vec![(1 << n) - 1, 1, 2, 1 << (n / 2), 1 << (n - 1), (1 << n) - 2];
        let bits: Vec<usize> = if n <= 3 { (1..1 << n).collect() } else { few() };
        let chosen = |bits: usize| (0..n).map(|i| bits >> i & 1 == 1 && self.inputs[i].domain != Domain::Mask).collect::<Vec<_>>();
        let mut choices: Vec<Vec<bool>> = bits.into_iter().map(chosen).filter(|choice| choice.contains(&true)).collect();
        choices.dedup();
        choices
    }
}

impl Segment for Case {
    fn run<T: Tensor>(&self, inputs: &[T]) -> Result<T> {
        self.operation.apply(&inputs.iter().collect::<Vec<_>>())
    }
}

/// A shape that is known to be one.
#[allow(clippy::expect_used)]
pub fn shape(axes: &[usize]) -> Shape {
    Shape::new(axes).expect("the tables hold shapes of rank six at most")
}
